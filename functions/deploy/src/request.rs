//! What woke the function: the schedule, SSM, or a person through the API.

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::eventbridge::EventBridgeEvent;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fleet_protocol::ids::CommandId;
use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    Schedule,
    /// One command on one instance.
    Invocation,
    /// One command on all its instances.
    Command,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Pass {
        trigger: Trigger,
        /// The command that an event named.
        hint: Option<CommandId>,
    },
    /// About another document or another order: nothing is even looked at.
    Foreign {
        trigger: Trigger,
        why: String,
    },
    Api(Box<Http>),
}

/// A request as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) limit: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Reads the event.
///
/// # Errors
/// What came, where it is no event of this function.
pub(crate) fn read(event: Value, document: &str) -> Result<Request, String> {
    if event.pointer("/requestContext/http").is_some() {
        return http(event).map(|http| Request::Api(Box::new(http)));
    }
    let event: EventBridgeEvent<Value> = serde_json::from_value(event).map_err(|error| {
        format!("neither an EventBridge event nor an API Gateway request of payload version 2.0: {error}")
    })?;
    let trigger = match (event.source.as_str(), event.detail_type.as_str()) {
        ("aws.events" | "aws.scheduler", "Scheduled Event") => {
            return Ok(Request::Pass { trigger: Trigger::Schedule, hint: None });
        }
        ("aws.ssm", "EC2 Command Invocation Status-change Notification") => Trigger::Invocation,
        ("aws.ssm", "EC2 Command Status-change Notification") => Trigger::Command,
        (source, detail_type) => {
            return Err(format!("{detail_type:?} from {source:?} is no event of this function"));
        }
    };
    let detail = |name: &str| event.detail.get(name).and_then(Value::as_str);
    if let Some(name) = detail("document-name").filter(|name| *name != document) {
        return Ok(Request::Foreign { trigger, why: format!("it is about the document {name}") });
    }
    if let Some(action) = action(&event.detail).filter(|action| action != "deploy") {
        return Ok(Request::Foreign { trigger, why: format!("it is about the order {action}") });
    }
    Ok(Request::Pass { trigger, hint: detail("command-id").map(CommandId::new) })
}

/// The order of a command, where the event tells it; AWS writes the parameters as an object or as
/// its text.
fn action(detail: &Value) -> Option<String> {
    let parameters = match detail.get("parameters")? {
        Value::String(text) => serde_json::from_str(text).ok()?,
        parameters => parameters.clone(),
    };
    parameters.get(fleet_protocol::document::ACTION)?.get(0)?.as_str().map(str::to_owned)
}

fn http(event: Value) -> Result<Http, String> {
    let request: ApiGatewayV2httpRequest = serde_json::from_value(event)
        .map_err(|error| format!("not an API Gateway request of payload version 2.0: {error}"))?;
    // What is not text is kept as what it looks like, so that it is refused and not taken for
    // missing.
    let header = |name: &str| {
        let value = request.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let body = request.body.clone().unwrap_or_default();
    let body = if request.is_base64_encoded {
        BASE64_STANDARD.decode(&body).map_err(|error| format!("its body is not base64: {error}"))?
    } else {
        body.into_bytes()
    };
    Ok(Http {
        method: request.request_context.http.method.as_str().to_owned(),
        path: request.request_context.http.path.clone().unwrap_or_default(),
        authorization: header("authorization"),
        idempotency_key: header("idempotency-key"),
        limit: request.query_string_parameters.first("limit").map(str::to_owned),
        body,
    })
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
