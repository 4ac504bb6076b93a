//! AWS from the host: the instance role (or keys in the environment), one HTTPS client, four calls.
//!
//! Secrets Manager is called through its SDK; the registry token and the stable pointer are signed
//! requests over the same client (a second SDK for one call would be the largest crate of the
//! build). `aws-config` stays out: of its provider chain a host needs the environment and the
//! instance role.
//!
//! Settings, all optional: `AWS_REGION` or `AWS_DEFAULT_REGION` (else the instance's own),
//! `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` (else the instance
//! role), `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SECRETS_MANAGER`, `AWS_ENDPOINT_URL_ECR`,
//! `AWS_ENDPOINT_URL_SSM`, `AWS_EC2_METADATA_SERVICE_ENDPOINT`, `AWS_EC2_METADATA_DISABLED`.

mod credentials;
mod imds;
mod signed;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::region::Region;
use aws_types::sdk_config::SharedAsyncSleep;
use fleet_protocol::variable;

pub use imds::{Identity, Imds};

use self::credentials::HostCredentials;
use self::transport::Transport;
pub(crate) use transport::chain;

/// Why AWS could not be asked, or what it answered. No message holds a credential or a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A setting of this host is wrong.
    #[error("{name}: {problem}")]
    Setting {
        /// The environment variable.
        name: &'static str,
        /// What is wrong and what it should be.
        problem: String,
    },
    /// No answer came.
    #[error("{what} could not be reached: {reason}")]
    Unreachable {
        /// What was asked.
        what: String,
        /// Why, as the transport says.
        reason: String,
    },
    /// The answer was a refusal.
    #[error("{what} answered {status}: {reason}")]
    Refused {
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The service's own code, such as `ParameterNotFound`; `None` where it gave none.
        code: Option<String>,
        /// The error code and message of the service.
        reason: String,
    },
    /// The answer made no sense.
    #[error("the answer of {what} is unreadable: {reason}")]
    Unreadable {
        /// What was asked.
        what: String,
        /// Which part.
        reason: &'static str,
    },
}

impl Error {
    /// Whether the same question may be answered a moment later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Setting { .. } | Self::Unreadable { .. } => false,
        }
    }
}

/// The account as this host sees it. Cheap to clone; nothing is asked until a call needs it.
#[derive(Debug, Clone)]
pub struct Aws {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    region: Option<String>,
    endpoint: Option<String>,
    endpoint_secrets: Option<String>,
    endpoint_ecr: Option<String>,
    endpoint_ssm: Option<String>,
    credentials: HostCredentials,
    imds: Imds,
    transport: Transport,
}

impl Aws {
    /// Reads the settings from `env`; asks nobody.
    ///
    /// # Errors
    /// [`Error::Setting`] where a variable has no usable value.
    pub fn from_env(env: &BTreeMap<String, String>) -> Result<Self, Error> {
        let text = |name: &str| {
            let given = env.get(name).filter(|value| !variable::is_empty(value));
            given.map(|value| value.trim().to_owned())
        };
        let endpoint = |name: &'static str| text(name).map(|url| endpoint(name, url)).transpose();
        let transport = Transport::default();
        let imds = if text("AWS_EC2_METADATA_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        {
            Imds::disabled()
        } else {
            Imds::new(endpoint("AWS_EC2_METADATA_SERVICE_ENDPOINT")?, transport.clone())
        };
        let keys = match (text("AWS_ACCESS_KEY_ID"), text("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                Some(Credentials::new(id, secret, text("AWS_SESSION_TOKEN"), None, "environment"))
            }
            (None, None) => None,
            (Some(_), None) => return Err(half_a_key("AWS_SECRET_ACCESS_KEY")),
            (None, Some(_)) => return Err(half_a_key("AWS_ACCESS_KEY_ID")),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")),
                endpoint: endpoint("AWS_ENDPOINT_URL")?,
                endpoint_secrets: endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER")?,
                endpoint_ecr: endpoint("AWS_ENDPOINT_URL_ECR")?,
                endpoint_ssm: endpoint("AWS_ENDPOINT_URL_SSM")?,
                credentials: HostCredentials::new(keys, imds.clone()),
                imds,
                transport,
            }),
        })
    }

    /// The instance metadata service.
    #[must_use]
    pub fn imds(&self) -> &Imds {
        &self.inner.imds
    }

    async fn region(&self) -> Result<String, Error> {
        if let Some(region) = &self.inner.region {
            return Ok(region.clone());
        }
        match self.inner.imds.get("placement/region").await {
            Ok(Some(region)) => Ok(region),
            Ok(None) | Err(_) => Err(Error::Setting {
                name: "AWS_REGION",
                problem: "is not set and the instance metadata does not say it: set it, for example to us-east-1".to_owned(),
            }),
        }
    }

    /// A Secrets Manager client. Built per use: it is used at start and on a refresh, and an idle
    /// host need not hold it.
    ///
    /// # Errors
    /// [`Error::Setting`] where the region is unknown.
    pub async fn secrets_manager(&self) -> Result<aws_sdk_secretsmanager::Client, Error> {
        let inner = &self.inner;
        let mut config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region().await?))
            .http_client(inner.transport.http_client())
            .sleep_impl(SharedAsyncSleep::new(aws_smithy_async::rt::sleep::TokioSleep::new()))
            .credentials_provider(SharedCredentialsProvider::new(inner.credentials.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(2))
                    .operation_attempt_timeout(Duration::from_secs(4))
                    .operation_timeout(Duration::from_secs(8))
                    .build(),
            );
        config.set_endpoint_url(inner.endpoint_secrets.clone().or_else(|| inner.endpoint.clone()));
        Ok(aws_sdk_secretsmanager::Client::from_conf(config.build()))
    }
}

fn half_a_key(missing: &'static str) -> Error {
    Error::Setting {
        name: missing,
        problem: "is not set beside the other half of the access key: set both, or neither to use the instance role".to_owned(),
    }
}

fn endpoint(name: &'static str, url: String) -> Result<String, Error> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(Error::Setting {
            name,
            problem: "is not a URL: write it as https://host or http://host:port".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn wrong_settings_are_named() {
        for (pairs, name) in [
            (&[("AWS_ENDPOINT_URL", "localhost:1")][..], "AWS_ENDPOINT_URL"),
            (&[("AWS_ACCESS_KEY_ID", "AKIA")], "AWS_SECRET_ACCESS_KEY"),
            (&[("AWS_SECRET_ACCESS_KEY", "geheim")], "AWS_ACCESS_KEY_ID"),
        ] {
            let error = Aws::from_env(&env(pairs)).expect_err(name).to_string();
            assert!(error.starts_with(name), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn debug_hides_the_keys() {
        let aws = Aws::from_env(&env(&[
            ("AWS_ACCESS_KEY_ID", "AKIDX"),
            ("AWS_SECRET_ACCESS_KEY", "geheim"),
            ("AWS_SESSION_TOKEN", "sitzung"),
        ]))
        .expect("settings");
        let text = format!("{aws:?}");
        assert!(!text.contains("geheim") && !text.contains("sitzung"), "{text}");
    }
}
