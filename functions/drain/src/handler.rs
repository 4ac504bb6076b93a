//! Decodes what came, makes a pass, answers with its record.

use crate::app::App;
use crate::pass::pass;
use crate::record::{PassRequest, foreign};
use crate::request::{self, Request};
use fleet_clients::telemetry::emit_line;
use fleet_lambda::{Event, answer_without_routes};
use serde_json::Value;

/// Answers one invocation. An HTTP request is answered with 404: there is no route here.
///
/// # Errors
/// Only for an event that is not for this function. A pass that could not do everything answers all
/// the same: the next one comes within the minute, and Lambda's own repetition would add nothing to
/// it.
pub(crate) async fn handle(app: &App, event: Event, request_id: &str) -> Result<Value, String> {
    if let Event::Http(request) = &event {
        return Ok(answer_without_routes(request));
    }
    let scope = request::Scope { group: &app.config.group, document: &app.config.document };
    match request::read(&event, &scope)? {
        Request::Pass { trigger, hints, problem, event_at } => {
            let (dry_run, request_id) = (app.config.dry_run, request_id.to_owned());
            let told = PassRequest { trigger, hints, problem, event_at, request_id, dry_run };
            Ok(pass(app, told).await)
        }
        Request::Foreign { trigger, why } => {
            let line = foreign(trigger, &why, request_id);
            emit_line(&line);
            Ok(line)
        }
    }
}
