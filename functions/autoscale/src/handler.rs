//! Decodes what came, makes one tick, encodes what it did.

use crate::app::App;
use crate::request::{self, ApiTick, Request, Trigger};
use crate::tick::{TickReport, clock, tick};
use fleet_clients::auth::{Caller, Refusal, Role};
use fleet_clients::reply::{self, Problem};
use fleet_clients::telemetry::Audit;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;

/// Answers one invocation. A scheduled tick answers with its record; a request is answered over
/// HTTP in any case.
///
/// # Errors
/// Only for an event that is not for this function.
pub(crate) async fn handle(app: &App, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let request_id = event.context.request_id;
    let unreadable =
        |error_message| Diagnostic { error_type: "UnreadableEvent".to_owned(), error_message };
    match request::read(event.payload).map_err(unreadable)? {
        Request::Scheduled => Ok(tick(app, Trigger::Schedule, &request_id).await.into_body()),
        Request::Api(None) => {
            Ok(Problem::new(404, "Not Found", "this function has no such route").into_response())
        }
        Request::Api(Some(request)) => Ok(answer(app, &request, &request_id).await),
    }
}

async fn answer(app: &App, request: &ApiTick, request_id: &str) -> Value {
    let checked = app.gate.check(request.authorization.as_deref(), Role::Operator).await;
    let who = match checked {
        Ok(caller) | Err(Refusal::Forbidden { caller, .. }) => Some(caller),
        Err(_) => None,
    };
    let answer = match checked {
        Ok(_) => api_tick(app, request_id).await,
        Err(refusal) => Err(refusal.into()),
    };
    audit(who, answer.as_ref().err(), request_id);
    answer.map_or_else(Problem::into_response, |body| reply::json(200, &body))
}

async fn api_tick(app: &App, request_id: &str) -> Result<Value, Problem> {
    match tick(app, Trigger::Api, request_id).await {
        TickReport::AlreadyRunning(_) => Err(Problem::new(
            409,
            "Already Running",
            "another tick of this group is running and reads the same state",
        )),
        ticked => Ok(ticked.into_body()),
    }
}

fn audit(who: Option<Caller>, problem: Option<&Problem>, request_id: &str) {
    let audit = Audit {
        at: clock(),
        who,
        what: "autoscale.tick",
        asked: Value::Null,
        status: problem.map_or(200, |problem| problem.status),
        detail: problem.map_or("one tick was run", |problem| &problem.detail).to_owned(),
        request_id,
    };
    audit.emit();
}
