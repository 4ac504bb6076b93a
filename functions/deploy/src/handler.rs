//! Decodes what came, makes a pass or answers a request.

use crate::api;
use crate::app::App;
use crate::pass::pass;
use crate::record::{Invoked, foreign};
use crate::request::{self, Request};
use fleet_clients::telemetry::emit_line;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;

/// Answers one invocation.
///
/// # Errors
/// Only for an event that is not for this function. A pass that could not do everything answers all
/// the same: the next one comes within the minute.
pub(crate) async fn handle(app: &App, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let request_id = event.context.request_id;
    match request::read(event.payload, &app.config.document) {
        Ok(Request::Pass { trigger, hint }) => {
            Ok(pass(app, Invoked { trigger, request_id }, hint).await)
        }
        Ok(Request::Foreign { trigger, why }) => {
            let line = foreign(trigger, &why, &request_id);
            emit_line(&line);
            Ok(line)
        }
        Ok(Request::Api(http)) => Ok(api::answer(app, &http, &request_id).await),
        Err(error_message) => {
            Err(Diagnostic { error_type: "UnreadableEvent".to_owned(), error_message })
        }
    }
}
