//! Decodes what came, asks, encodes the answer.

use crate::app::{App, clock};
use crate::request::{self, Request, Route};
use crate::{capacity, openapi, page, read};
use fleet_clients::auth::{Refusal, Role};
use fleet_clients::reply::{self, Problem};
use fleet_clients::telemetry::Audit;
use fleet_core::status::assemble;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::{Value, json};

/// Answers one invocation. A request is answered over HTTP in any case.
///
/// # Errors
/// Only for an event that is not for this function.
pub(crate) async fn handle(app: &App, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let request_id = event.context.request_id;
    let request = request::read(event.payload).map_err(|error_message| Diagnostic {
        error_type: "UnreadableEvent".to_owned(),
        error_message,
    })?;
    let answer = match request.route {
        None => Err(Problem::new(404, "Not Found", "there is no such route")),
        Some(Route::Page) => Ok(page::response()),
        // It asks nobody: it says that this function runs, not that the fleet is well.
        Some(Route::Health) => {
            Ok(reply::json(200, &json!({ "status": "ok", "version": app.config.version() })))
        }
        Some(Route::OpenApi) => {
            let known = app.gate.check(request.authorization.as_deref(), Role::Reader).await;
            known.map(|_| reply::json(200, &openapi::document())).map_err(Problem::from)
        }
        Some(Route::Status) => {
            match app.gate.check(request.authorization.as_deref(), Role::Reader).await {
                Ok(caller) => {
                    let mut answer = reply::json(200, &assemble(&read::read(app).await));
                    // The page offers a reader no changes.
                    answer["headers"]["x-fleet-role"] = json!(caller.role);
                    Ok(answer)
                }
                Err(refusal) => Err(refusal.into()),
            }
        }
        Some(Route::SetCapacity) => set_capacity(app, &request, &request_id).await,
    };
    Ok(answer.unwrap_or_else(Problem::into_response))
}

/// Sets and removes overrides, and leaves a line about it whatever comes of it.
async fn set_capacity(app: &App, request: &Request, request_id: &str) -> Result<Value, Problem> {
    let mut asked = Value::Null;
    let checked = app.gate.check(request.authorization.as_deref(), Role::Operator).await;
    let answer = match checked {
        Ok(_) => capacity::set(app, request.body.as_deref(), &mut asked).await,
        Err(refusal) => Err(refusal.into()),
    };
    let audit = Audit {
        at: clock(),
        who: match checked {
            Ok(caller) | Err(Refusal::Forbidden { caller, .. }) => Some(caller),
            Err(_) => None,
        },
        what: "capacity.set",
        asked,
        status: answer.as_ref().map_or_else(|problem| problem.status, |_| 200),
        detail: match &answer {
            Ok(overrides) => format!("in force now: {overrides}"),
            Err(problem) => problem.detail.clone(),
        },
        request_id,
    };
    audit.emit();
    answer.map(|overrides| reply::json(200, &overrides))
}
