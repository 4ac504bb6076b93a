//! One way to reach AWS for all its services: address, credentials, TLS, retries and time limits;
//! and what may come of a call.
//!
//! Built by hand from settings, without aws-config: a function gets everything by environment, and
//! the default chain of profiles and metadata services would cost more start-up time than all the
//! rest. Nothing here reads a file or opens a connection.

use crate::config::{AwsConfig, Endpoints};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{HttpClient, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use fleet_protocol::reading::{Unknown, UnknownCause};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;

/// Every public endpoint of AWS proves itself by one of these, and reading five certificates takes
/// a tenth of the time that a system's whole store takes. <https://www.amazontrust.com/repository/>
const AMAZON_ROOTS: &str = concat!(
    include_str!("../roots/amazon-root-ca-1.pem"),
    include_str!("../roots/amazon-root-ca-2.pem"),
    include_str!("../roots/amazon-root-ca-3.pem"),
    include_str!("../roots/amazon-root-ca-4.pem"),
    include_str!("../roots/starfield-services-root-g2.pem"),
);

/// A tick has 10 seconds and at most three AWS calls one after another: describe, refresh, change.
/// Each gets 3, retries included.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1400);
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 4;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_millis(800);
/// An error's words are kept up to this length: AWS quotes whole policies, and proxies whole pages.
const DETAIL_CHARS: usize = 600;

/// What all clients share: connections, credentials and limits.
#[derive(Clone, Debug)]
pub struct Aws {
    pub(crate) sdk: SdkConfig,
}

impl Aws {
    #[must_use]
    pub fn new(config: &AwsConfig) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls_context(config))
            .build_https();
        // Each client would build a connector of its own to check it, roots and all; behind a
        // function they share the first one.
        let http =
            http_client_fn(move |settings, components| http.http_connector(settings, components));
        let credentials = credentials(config);
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(OPERATION_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF);
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(config.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .service_config(config.endpoints.clone())
            .http_client(http)
            .sleep_impl(TokioSleep::new())
            .timeout_config(timeouts)
            .retry_config(retries)
            .build();
        Self { sdk }
    }
}

/// Who we are for AWS.
pub(crate) fn credentials(config: &AwsConfig) -> Credentials {
    Credentials::new(
        config.access_key_id.expose_secret(),
        config.secret_access_key.expose_secret(),
        config.session_token.as_ref().map(|token| token.expose_secret().to_owned()),
        None,
        "environment",
    )
}

/// Whom to believe that it is AWS.
pub(crate) fn tls_context(config: &AwsConfig) -> TlsContext {
    let roots = config.ca_bundle_pem.as_deref().unwrap_or(AMAZON_ROOTS);
    TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(roots))
        .build()
        .expect("a trust store alone is always a valid TLS context")
}

impl LoadServiceConfig for Endpoints {
    /// The SDK's clients ask by AWS's own name of their service.
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let own = match key.service_id() {
            "Auto Scaling" => &self.auto_scaling,
            "SSM" => &self.ssm,
            "Secrets Manager" => &self.secrets_manager,
            _ => &None,
        };
        (key.env() == "AWS_ENDPOINT_URL").then(|| own.clone().or_else(|| self.all.clone()))?
    }
}

/// Why a call to AWS came to nothing, as a decision record keeps it. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct AwsError {
    /// What it means for the caller.
    pub kind: AwsErrorKind,
    /// The service's own code, such as `ValidationError`; `None` where no service answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For a person: the service's own code and words, or what happened on the way to it.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AwsErrorKind {
    /// Too many requests, after every retry that the time allowed.
    Throttled,
    /// The group is in the middle of another activity (`ScalingActivityInProgress`).
    ActivityInProgress,
    /// Another request holds the group's settings (`ResourceContention`).
    Contention,
    /// The request itself was refused: out of bounds, or nothing by that name (`ValidationError`).
    Invalid,
    /// The credentials are wrong, expired or not allowed to do this.
    Denied,
    /// The parameter, secret, document or command does not exist.
    Missing,
    /// The parameter to be created is there already (`ParameterAlreadyExists`).
    AlreadyExists,
    /// Systems Manager manages no such instance: its agent never registered, or the machine does
    /// not run (`InvalidInstanceId`).
    NotManaged,
    /// Auto Scaling has no active lifecycle action of that hook on the instance: completed, run
    /// out, another hook's, or not begun.
    NoLifecycleAction,
    /// No answer in time; a change may or may not have happened.
    TimedOut,
    /// No connection, or one that broke; a change may or may not have happened.
    Unreachable,
    /// An answer that this version cannot read.
    Unreadable,
    /// The service failed in another way.
    Failed,
}

impl AwsErrorKind {
    /// Whether a change may have been made all the same: its answer was lost.
    #[must_use]
    pub fn may_have_acted(self) -> bool {
        matches!(self, AwsErrorKind::TimedOut | AwsErrorKind::Unreachable)
    }
}

impl AwsError {
    /// An error without an answer of the service.
    pub(crate) fn new(kind: AwsErrorKind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS) {
            detail.truncate(end);
            detail.push('…');
        }
        Self { kind, code: None, detail }
    }

    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.kind == AwsErrorKind::Throttled
    }

    /// Whether the same request may well succeed at the next tick, with nobody doing anything about
    /// it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use AwsErrorKind::{
            ActivityInProgress, AlreadyExists, Contention, Denied, Failed, Invalid, Missing,
            NoLifecycleAction, NotManaged, Throttled, TimedOut, Unreachable, Unreadable,
        };
        match self.kind {
            Throttled | ActivityInProgress | Contention | TimedOut | Unreachable | Failed => true,
            Invalid | Denied | Missing | AlreadyExists | NotManaged | NoLifecycleAction
            | Unreadable => false,
        }
    }
}

impl From<AwsError> for Unknown {
    fn from(error: AwsError) -> Self {
        let cause = match error.kind {
            AwsErrorKind::Missing => UnknownCause::Missing,
            AwsErrorKind::TimedOut => UnknownCause::TimedOut,
            AwsErrorKind::Unreachable => UnknownCause::Unreachable,
            AwsErrorKind::Unreadable => UnknownCause::Unreadable,
            AwsErrorKind::Throttled
            | AwsErrorKind::ActivityInProgress
            | AwsErrorKind::Contention
            | AwsErrorKind::Invalid
            | AwsErrorKind::Denied
            | AwsErrorKind::AlreadyExists
            | AwsErrorKind::NotManaged
            | AwsErrorKind::NoLifecycleAction
            | AwsErrorKind::Failed => UnknownCause::Failed,
        };
        Self { cause, detail: error.detail }
    }
}

/// What `action` came to, from whatever the SDK says about it.
pub(crate) fn explain<E>(action: &str, error: SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    use AwsErrorKind::{Failed, TimedOut, Unreachable, Unreadable};
    match error {
        SdkError::ServiceError(answer) => match answer.err().code() {
            Some(code) => refused(action, code, answer.err().message()),
            // A proxy's page, or an answer cut short.
            None => AwsError::new(
                Unreadable,
                format!(
                    "{action} got HTTP status {} and an answer that cannot be read: {}",
                    answer.raw().status(),
                    causes(answer.err())
                ),
            ),
        },
        SdkError::TimeoutError(_) => AwsError::new(
            TimedOut,
            format!("{action} was not answered within {} s", OPERATION_TIMEOUT.as_secs()),
        ),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => AwsError::new(
            TimedOut,
            format!("{action} found no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        ),
        SdkError::DispatchFailure(failure) => {
            let why = failure.as_connector_error().map(|error| causes(error)).unwrap_or_default();
            AwsError::new(Unreachable, format!("{action} did not reach AWS: {why}"))
        }
        error @ SdkError::ResponseError(_) => AwsError::new(
            Unreadable,
            format!("{action} got an answer that cannot be read: {}", causes(&error)),
        ),
        other => AwsError::new(Failed, format!("{action} could not be sent: {}", causes(&other))),
    }
}

/// What a service's own code and words come to.
pub(crate) fn refused(action: &str, code: &str, message: Option<&str>) -> AwsError {
    let message = match code {
        // AWS quotes the canonical request here, and with it the session token.
        "SignatureDoesNotMatch" => "the secret access key does not fit the access key id",
        _ => message.unwrap_or("no message"),
    };
    let detail = format!("{action} was refused: {code}: {message}");
    AwsError { code: Some(code.to_owned()), ..AwsError::new(kind_of(code, message), detail) }
}

/// The codes of the Query protocol (Auto Scaling, EC2) and of the JSON protocol (SSM, Secrets
/// Manager), which spell the same things differently.
fn kind_of(code: &str, message: &str) -> AwsErrorKind {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "TooManyRequestsException"
        | "TooManyUpdates"
        | "SlowDown" => AwsErrorKind::Throttled,
        "ScalingActivityInProgress" => AwsErrorKind::ActivityInProgress,
        "ResourceContention" => AwsErrorKind::Contention,
        // Auto Scaling has no code of its own for this: the words are all it says. Nothing else
        // in the fleet is decided by a message.
        "ValidationError" if message.contains("No active Lifecycle Action") => {
            AwsErrorKind::NoLifecycleAction
        }
        "ValidationError"
        | "ValidationException"
        | "InvalidFilterKey"
        | "InvalidParameters"
        | "InvalidRequestException"
        | "InvalidParameterException" => AwsErrorKind::Invalid,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "AuthorizationError"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "SignatureDoesNotMatch"
        | "UnauthorizedOperation"
        | "UnrecognizedClientException" => AwsErrorKind::Denied,
        "InvalidCommandId"
        | "InvalidDocument"
        | "InvalidLaunchTemplateId.NotFound"
        | "InvalidLaunchTemplateId.VersionNotFound"
        | "InvocationDoesNotExist"
        | "NotFound"
        | "ParameterNotFound"
        | "ResourceNotFoundException" => AwsErrorKind::Missing,
        "ParameterAlreadyExists" => AwsErrorKind::AlreadyExists,
        "InvalidInstanceId" => AwsErrorKind::NotManaged,
        _ => AwsErrorKind::Failed,
    }
}

/// The causes of an SDK error without its own words, which say only that there are causes.
fn causes(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), crate::telemetry::error_chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    fn refused(code: &str, message: &str) -> AwsError {
        super::refused("SetDesiredCapacity", code, Some(message))
    }

    #[test]
    fn a_refusal_says_what_kind_it_is_and_quotes_the_service() {
        let error =
            refused("ValidationError", "New SetDesiredCapacity value 11 is above max value 10");
        assert_eq!(error.kind, AwsErrorKind::Invalid);
        assert!(!error.is_transient());
        assert_eq!(
            error.detail,
            "SetDesiredCapacity was refused: ValidationError: New SetDesiredCapacity value 11 is above max value 10"
        );
        assert!(refused("Throttling", "Rate exceeded").is_throttled());
        assert!(refused("ScalingActivityInProgress", "").is_transient());
        assert_eq!(refused("ExpiredToken", "").kind, AwsErrorKind::Denied);
        assert_eq!(refused("SomethingNew", "").kind, AwsErrorKind::Failed);
        let json = serde_json::to_value(refused("ResourceContention", "busy")).unwrap();
        assert_eq!(json["kind"], "contention");
        assert_eq!(json["code"], "ResourceContention");
    }

    #[test]
    fn what_a_refusal_means_is_decided_by_its_code() {
        for (code, kind) in [
            ("InvalidInstanceId", AwsErrorKind::NotManaged),
            ("InvalidCommandId", AwsErrorKind::Missing),
            ("ParameterAlreadyExists", AwsErrorKind::AlreadyExists),
            ("UnauthorizedOperation", AwsErrorKind::Denied),
        ] {
            assert_eq!(refused(code, "").kind, kind, "{code}");
        }
        // The words of one error in the message of another mean nothing.
        let other = refused("InternalServerError", "InvalidInstanceId: No active Lifecycle Action");
        assert_eq!((other.kind, other.is_transient()), (AwsErrorKind::Failed, true));
        let gone = "No active Lifecycle Action found with instance ID i-1";
        assert_eq!(refused("ValidationError", gone).kind, AwsErrorKind::NoLifecycleAction);
    }

    #[test]
    fn the_words_of_an_error_are_bounded() {
        let error = refused("AccessDenied", &"ä".repeat(100_000));
        assert_eq!(error.detail.chars().count(), DETAIL_CHARS + 1);
        assert_eq!(error.code.as_deref(), Some("AccessDenied"));
    }

    #[test]
    fn a_signature_that_does_not_match_is_not_quoted() {
        let message = "the canonical string should have been\n'x-amz-security-token:hunter2'";
        let error = refused("SignatureDoesNotMatch", message);
        assert_eq!(error.kind, AwsErrorKind::Denied);
        assert!(!error.detail.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_embedded_roots_are_five_valid_authorities() {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(AMAZON_ROOTS.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        assert_eq!(roots.len(), 5);
    }

    #[test]
    fn an_endpoint_of_its_own_comes_before_the_one_for_all() {
        let ask = |endpoints: &Endpoints, service| {
            let key = ServiceConfigKey::builder()
                .service_id(service)
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url")
                .build()
                .unwrap();
            endpoints.load_config(key)
        };
        let all = || Some("http://all".to_owned());
        let ssm =
            Endpoints { all: all(), ssm: Some("http://ssm".to_owned()), ..Endpoints::default() };
        assert_eq!(ask(&ssm, "SSM").as_deref(), Some("http://ssm"));
        assert_eq!(ask(&ssm, "Auto Scaling"), all());
        assert_eq!(ask(&ssm, "Secrets Manager"), all());
        assert_eq!(ask(&Endpoints::default(), "SSM"), None);
    }
}
