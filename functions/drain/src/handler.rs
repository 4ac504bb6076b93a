//! Decodes what came, makes a pass, answers with its record.

use crate::app::App;
use crate::pass::pass;
use crate::record::{Told, foreign};
use crate::request::{self, Request};
use fleet_clients::telemetry::emit_line;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;

/// Answers one invocation.
///
/// # Errors
/// Only for an event that is not for this function. A pass that could not do everything answers all
/// the same: the next one comes within the minute, and Lambda's own repetition would add nothing to
/// it.
pub(crate) async fn handle(app: &App, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let request_id = event.context.request_id;
    let scope = request::Scope { group: &app.config.group, document: &app.config.document };
    match request::read(event.payload, &scope) {
        Ok(Request::Pass { trigger, hints, problem, event_at }) => {
            let dry_run = app.config.dry_run;
            let told = Told { trigger, hints, problem, event_at, request_id, dry_run };
            Ok(pass(app, told).await)
        }
        Ok(Request::Foreign { trigger, why }) => {
            let line = foreign(trigger, &why, &request_id);
            emit_line(&line);
            Ok(line)
        }
        Err(error_message) => {
            Err(Diagnostic { error_type: "UnreadableEvent".to_owned(), error_message })
        }
    }
}
