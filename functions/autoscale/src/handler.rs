//! Decodes what came, makes one tick, encodes what it did.

use crate::app::App;
use crate::request::{self, ApiTick, Request, Trigger};
use crate::tick::{Ticked, tick};
use fleet_clients::auth::Access;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::{Value, json};

/// Answers one invocation. A scheduled tick answers with its record; a request is answered over HTTP in any case.
///
/// # Errors
/// Only for an event that is not for this function.
pub(crate) async fn handle(app: &App, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let request_id = event.context.request_id;
    let unreadable =
        |error_message| Diagnostic { error_type: "UnreadableEvent".to_owned(), error_message };
    match request::read(event.payload).map_err(unreadable)? {
        Request::Scheduled => Ok(tick(app, Trigger::Schedule, &request_id).await.into_body()),
        Request::Api(None) => Ok(problem(404, "Not Found", "there is no such route")),
        Request::Api(Some(request)) => Ok(answer(app, &request, &request_id).await),
    }
}

async fn answer(app: &App, request: &ApiTick, request_id: &str) -> Value {
    match app.gate.check(request.authorization.as_deref()).await {
        Access::Operator => {}
        Access::Missing => {
            return problem(
                401,
                "Unauthorized",
                "send the operator token as Authorization: Bearer …",
            );
        }
        Access::Wrong => {
            return problem(401, "Unauthorized", "the token is not the operator token");
        }
        Access::Unavailable => {
            return problem(
                503,
                "Service Unavailable",
                "the operator token could not be looked up; try again",
            );
        }
    }
    match tick(app, Trigger::Api, request_id).await {
        Ticked::AlreadyRunning(_) => problem(
            409,
            "Already Running",
            "another tick is running; it sees what this one would have seen",
        ),
        ticked => response(200, "application/json", &ticked.into_body()),
    }
}

/// Problem details as RFC 9457 has them.
fn problem(status: u16, title: &str, detail: &str) -> Value {
    let body = json!({ "type": "about:blank", "title": title, "status": status, "detail": detail });
    response(status, "application/problem+json", &body)
}

/// A response of payload version 2.0.
fn response(status: u16, content_type: &str, body: &Value) -> Value {
    let mut headers = json!({ "content-type": content_type, "cache-control": "no-store" });
    if status == 401 {
        headers["www-authenticate"] = json!("Bearer");
    }
    json!({ "statusCode": status, "headers": headers, "body": body.to_string(), "isBase64Encoded": false })
}
