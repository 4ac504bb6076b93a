//! Every AWS API call: which service and action, faults, the call itself, the journal, the answer
//! in its wire format.

pub(crate) mod autoscaling;
mod ec2;
mod run_command;
pub(crate) mod secrets;
pub(crate) mod ssm;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::account::Account;
use crate::error::ApiError;
use crate::faults::Fault;
use crate::journal::Call;
use crate::server::hang_up;
use crate::wire::form::Form;
use crate::wire::xml::{self, Xml};

const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const CLOUDWATCH_NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";
const SNS_NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// The services that answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    AutoScaling,
    Sts,
    Ssm,
    SecretsManager,
    Ec2,
    CloudWatch,
    Sns,
}

impl Service {
    const ALL: [Self; 7] = [
        Self::AutoScaling,
        Self::Sts,
        Self::Ssm,
        Self::SecretsManager,
        Self::Ec2,
        Self::CloudWatch,
        Self::Sns,
    ];

    /// The name in a signature's credential scope.
    fn name(self) -> &'static str {
        match self {
            Self::AutoScaling => "autoscaling",
            Self::Sts => "sts",
            Self::Ssm => "ssm",
            Self::SecretsManager => "secretsmanager",
            Self::Ec2 => "ec2",
            Self::CloudWatch => "monitoring",
            Self::Sns => "sns",
        }
    }

    /// The first half of `X-Amz-Target`; none for the Query services.
    fn target(self) -> Option<&'static str> {
        match self {
            Self::Ssm => Some("AmazonSSM"),
            Self::SecretsManager => Some("secretsmanager"),
            Self::AutoScaling | Self::Sts | Self::Ec2 | Self::CloudWatch | Self::Sns => None,
        }
    }

    fn namespace(self) -> &'static str {
        match self {
            Self::Sts => STS_NAMESPACE,
            Self::Ec2 => ec2::NAMESPACE,
            Self::CloudWatch => CLOUDWATCH_NAMESPACE,
            Self::Sns => SNS_NAMESPACE,
            _ => autoscaling::NAMESPACE,
        }
    }

    /// `Version` of the Query services.
    fn version(self) -> &'static str {
        match self {
            Self::Sts => "2011-06-15",
            Self::Ec2 => ec2::VERSION,
            Self::CloudWatch => "2010-08-01",
            Self::Sns => "2010-03-31",
            _ => autoscaling::VERSION,
        }
    }

    fn throttled(self) -> ApiError {
        if self == Self::Ec2 {
            return ApiError::new("RequestLimitExceeded", "Request limit exceeded.")
                .with_status(503);
        }
        let code = if self.target().is_some() { "ThrottlingException" } else { "Throttling" };
        ApiError::new(code, "Rate exceeded")
    }

    fn unknown_action(self, action: &str) -> ApiError {
        match self.target() {
            Some(_) => ApiError::new(
                "UnknownOperationException",
                format!("The double does not model the operation {action} of {}", self.name()),
            ),
            None => ApiError::new(
                "InvalidAction",
                format!("Could not find operation {action} for {}", self.name()),
            ),
        }
    }
}

/// The parameters of a call, in the format they came in.
enum Params {
    Query(Form),
    Json(Value),
}

/// A result in the format it goes out in.
enum Reply {
    Xml(Xml),
    Json(Value),
}

/// Answers one call of an AWS API, dated by the double's clock as AWS dates its answers by its own.
pub(crate) async fn handle(account: Arc<Account>, parts: Parts, body: Bytes) -> Response {
    let mut response = answer(Arc::clone(&account), parts, body).await;
    let date = account.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = date.parse() {
        response.headers_mut().insert(axum::http::header::DATE, date);
    }
    response
}

async fn answer(account: Arc<Account>, parts: Parts, body: Bytes) -> Response {
    let request_id = account.request_id();
    let target = header(&parts.headers, "x-amz-target");
    // Only the wire format of the refusal is at stake when the service is unknown.
    let assumed = if target.is_some() { Service::Ssm } else { Service::AutoScaling };
    let service = match signed_service(&parts.headers) {
        Ok(service) => service,
        Err(error) => return refuse(assumed, &error, &request_id),
    };
    let (action, params) = match read(service, target, &parts, &body) {
        Ok(read) => read,
        Err(error) => return refuse(service, &error, &request_id),
    };
    let logged = loggable(&params);
    let fault = account.faults.strike(&action);
    let result = match &fault {
        Some(Fault::Throttle) => Err(service.throttled()),
        Some(Fault::Fail { status, code, message }) => {
            Err(ApiError::new(code, message.clone()).with_status(*status))
        }
        Some(Fault::DropConnection) => {
            record(&account, service, &action, logged, 0, None);
            return hang_up();
        }
        Some(Fault::Delay { millis }) => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            perform(&account, service, &action, params)
        }
        Some(Fault::LoseReply) | None => perform(&account, service, &action, params),
    };
    let lost = fault == Some(Fault::LoseReply);
    let (status, code) = match &result {
        Ok(_) => (200, None),
        Err(error) => (error.status, Some(error.code.clone())),
    };
    record(&account, service, &action, logged, if lost { 0 } else { status }, code);
    match result {
        _ if lost => hang_up(),
        Ok(Reply::Xml(xml)) => {
            let namespace = service.namespace();
            let text = if service == Service::Ec2 {
                xml.ec2_answer(&action, namespace, &request_id)
            } else {
                xml.answer(&action, namespace, &request_id)
            };
            respond(200, "text/xml", text, &request_id)
        }
        Ok(Reply::Json(json)) => {
            respond(200, "application/x-amz-json-1.1", json.to_string(), &request_id)
        }
        Err(error) => refuse(service, &error, &request_id),
    }
}

fn perform(
    account: &Account,
    service: Service,
    action: &str,
    params: Params,
) -> Result<Reply, ApiError> {
    let answer = match (service, params) {
        (Service::AutoScaling, Params::Query(mut form)) => account
            .with_groups(|asg| autoscaling::call(action, &mut form, asg))
            .map(|answer| answer.map(Reply::Xml)),
        (Service::Ec2, Params::Query(mut form)) => {
            let has_template = |id: &str| account.with_surroundings(|it| it.has_template(id));
            account
                .with_groups(|asg| ec2::call(action, &mut form, asg, has_template))
                .map(|answer| answer.map(Reply::Xml))
        }
        (Service::CloudWatch, Params::Query(mut form)) => (action == "DescribeAlarms")
            .then(|| account.with_surroundings(|it| it.describe_alarms(&mut form)).map(Reply::Xml)),
        (Service::Sns, Params::Query(mut form)) => {
            (action == "ListSubscriptionsByTopic").then(|| {
                account.with_surroundings(|it| it.list_subscriptions(&mut form)).map(Reply::Xml)
            })
        }
        (Service::Sts, Params::Query(form)) => (action == "GetCallerIdentity").then(|| {
            form.finish()?;
            Ok(Reply::Xml(caller_identity(&account.config.account)))
        }),
        (Service::Ssm, Params::Json(body)) => account
            .with_parameters(|parameters, now| {
                let arn = account.arn_prefix("ssm");
                ssm::call(action, &body, parameters, &arn, now)
            })
            .or_else(|| run_command::call(action, &body, account))
            .map(|answer| answer.map(Reply::Json)),
        (Service::SecretsManager, Params::Json(body)) => account
            .with_secrets(|secrets, now| secrets::call(action, &body, secrets, now))
            .map(|answer| answer.map(Reply::Json)),
        _ => None,
    };
    answer.unwrap_or_else(|| Err(service.unknown_action(action)))
}

fn caller_identity(account: &str) -> Xml {
    let mut x = Xml::default();
    x.text("Arn", format!("arn:aws:iam::{account}:user/double"))
        .text("UserId", "AIDADOUBLE")
        .text("Account", account);
    x
}

/// The service a request was signed for. The signature itself is not checked: there is no secret to
/// check it with.
fn signed_service(headers: &HeaderMap) -> Result<Service, ApiError> {
    let Some(authorization) = header(headers, "authorization") else {
        return Err(ApiError::new(
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        )
        .with_status(403));
    };
    let incomplete = || {
        ApiError::new(
            "IncompleteSignature",
            "Authorization header requires AWS4-HMAC-SHA256 with Credential=key/date/region/service/aws4_request, SignedHeaders and Signature.",
        )
    };
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(incomplete)?;
    let scope: Vec<&str> = rest
        .split(',')
        .find_map(|part| part.trim().strip_prefix("Credential="))
        .map(|credential| credential.split('/').collect())
        .unwrap_or_default();
    let [_, _, _, name, "aws4_request"] = scope.as_slice() else { return Err(incomplete()) };
    Service::ALL.into_iter().find(|s| s.name() == *name).ok_or_else(|| {
        ApiError::new("InvalidAction", format!("The double does not model the service {name}"))
    })
}

/// The action and its parameters.
fn read(
    service: Service,
    target: Option<&str>,
    parts: &Parts,
    body: &Bytes,
) -> Result<(String, Params), ApiError> {
    let Some(prefix) = service.target() else {
        let query = parts.uri.query().unwrap_or_default();
        let raw = if parts.method == Method::POST { body.as_ref() } else { query.as_bytes() };
        let mut form = Form::decode(raw);
        let action = form.text("Action").ok_or_else(|| {
            ApiError::new("MissingAction", "The request has no parameter Action").with_status(400)
        })?;
        let version = form.text("Version").unwrap_or_default();
        if version != service.version() {
            return Err(ApiError::new(
                "InvalidAction",
                format!("Could not find operation {action} for version {version}"),
            ));
        }
        return Ok((action, Params::Query(form)));
    };
    let action = target
        .and_then(|target| target.split_once('.'))
        .filter(|(service, _)| *service == prefix)
        .map(|(_, action)| action.to_owned())
        .ok_or_else(|| {
            ApiError::new(
                "UnknownOperationException",
                format!("X-Amz-Target must be {prefix}.Operation"),
            )
        })?;
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    let json = serde_json::from_slice(body).map_err(|e| {
        ApiError::new("SerializationException", format!("The body is not JSON: {e}"))
    })?;
    Ok((action, Params::Json(json)))
}

/// The parameters for the journal, without secret values.
fn loggable(params: &Params) -> Value {
    match params {
        Params::Query(form) => json!(form.entries()),
        Params::Json(body) => {
            let mut body = body.clone();
            for secret in ["SecretString", "SecretBinary"] {
                if let Some(value) = body.get_mut(secret) {
                    *value = json!("(hidden)");
                }
            }
            body
        }
    }
}

fn record(
    account: &Account,
    service: Service,
    action: &str,
    params: Value,
    status: u16,
    code: Option<String>,
) {
    account.journal.record(Call {
        seq: 0,
        at: account.clock.now(),
        service: service.name().to_owned(),
        action: action.to_owned(),
        params,
        status,
        code,
    });
}

fn refuse(service: Service, error: &ApiError, request_id: &str) -> Response {
    let ApiError { status, code, message } = error;
    match service.target() {
        None => {
            let text = if service == Service::Ec2 {
                xml::ec2_error(code, message, request_id)
            } else {
                xml::error(service.namespace(), *status, code, message, request_id)
            };
            respond(*status, "text/xml", text, request_id)
        }
        Some(_) => {
            // SSM writes `message`, Secrets Manager `Message`; SDKs read both.
            let key = if service == Service::Ssm { "message" } else { "Message" };
            let body = json!({ "__type": code, key: message });
            respond(*status, "application/x-amz-json-1.1", body.to_string(), request_id)
        }
    }
}

fn respond(status: u16, content_type: &str, body: String, request_id: &str) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .header("x-amzn-requestid", request_id)
        .body(Body::from(body))
        .unwrap_or_default()
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Reads a JSON 1.1 body; members the double does not know are refused.
fn decode<T: DeserializeOwned>(body: &Value) -> Result<T, ApiError> {
    T::deserialize(body).map_err(|e| {
        ApiError::new("ValidationException", format!("The double cannot take this request: {e}"))
    })
}

/// Seconds since the epoch as JSON 1.1 writes times.
fn epoch(at: Timestamp) -> Value {
    // Milliseconds are exact in a double-precision number until the year 287396.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit 53 bits")]
    let seconds = at.as_millisecond() as f64 / 1000.0;
    json!(seconds)
}
