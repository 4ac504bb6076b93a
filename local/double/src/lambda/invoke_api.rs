//! Lambda's own API: `POST /2015-03-31/functions/{name}/invocations` and
//! `GET /2016-08-19/account-settings`.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::function::InvokeError;
use crate::account::Account;
use crate::journal::Call;
use crate::services::header;

/// Answers one Invoke call.
pub(crate) async fn invoke(
    State(account): State<Arc<Account>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = header(&headers, "x-amz-invocation-type").unwrap_or("RequestResponse").to_owned();
    let response = run(&account, &name, &kind, &headers, body).await;
    account.journal.record(Call {
        seq: 0,
        at: account.clock.now(),
        service: "lambda".to_owned(),
        action: "Invoke".to_owned(),
        params: json!({ "FunctionName": name, "InvocationType": kind }),
        status: response.status().as_u16(),
        code: header(response.headers(), "x-amzn-errortype").map(str::to_owned),
    });
    response
}

/// How many invocations the account may have at a time.
pub(crate) async fn account_settings(State(account): State<Arc<Account>>) -> Json<Value> {
    let settings = account.with_surroundings(|it| it.account_settings());
    account.journal.record(Call {
        seq: 0,
        at: account.clock.now(),
        service: "lambda".to_owned(),
        action: "GetAccountSettings".to_owned(),
        params: json!({}),
        status: 200,
        code: None,
    });
    Json(settings)
}

async fn run(
    account: &Arc<Account>,
    name: &str,
    kind: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    // A name, a partial ARN and a full ARN all end in the name.
    let bare = name.rsplit(':').next().unwrap_or(name);
    let Some(function) = account.function(bare) else {
        let arn = format!("{}:function:{bare}", account.arn_prefix("lambda"));
        let message = format!("Function not found: {arn}");
        return error(
            404,
            "ResourceNotFoundException",
            json!({ "Type": "User", "Message": message }),
        );
    };
    if header(headers, "x-amz-log-type").is_some_and(|kind| kind == "Tail") {
        let message = "The double does not model LogType Tail: read the function's logs instead";
        return error(400, "InvalidParameterValueException", json!({ "message": message }));
    }
    let payload = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    if let Err(e) = serde_json::from_slice::<Value>(&payload) {
        let message = format!("Could not parse request body into json: {e}");
        return error(
            400,
            "InvalidRequestContentException",
            json!({ "Type": "User", "message": message }),
        );
    }
    match kind {
        "DryRun" => answer(204, None, Vec::new()),
        "Event" => {
            account.deliver(bare, payload.to_vec());
            answer(202, None, Vec::new())
        }
        "RequestResponse" => match function.invoke(&payload).await {
            Ok(response) => answer(200, None, response),
            Err(InvokeError::Function(failure)) => {
                answer(200, Some("Unhandled"), json!(failure).to_string().into_bytes())
            }
            Err(InvokeError::Throttled) => error(
                429,
                "TooManyRequestsException",
                json!({
                    "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                    "Type": "User",
                    "message": "Rate Exceeded.",
                }),
            ),
            Err(InvokeError::Stopped) => {
                error(500, "ServiceException", json!({ "Type": "Service", "Message": "stopped" }))
            }
        },
        other => error(
            400,
            "InvalidParameterValueException",
            json!({ "Type": "User", "message": format!("{other} is not an invocation type") }),
        ),
    }
}

fn answer(status: u16, failure: Option<&str>, body: Vec<u8>) -> Response {
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-amz-executed-version", "$LATEST");
    if let Some(failure) = failure {
        response = response.header("x-amz-function-error", failure);
    }
    response.body(Body::from(body)).unwrap_or_default()
}

fn error(status: u16, code: &str, body: Value) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-amzn-errortype", code)
        .body(Body::from(body.to_string()))
        .unwrap_or_default()
}
