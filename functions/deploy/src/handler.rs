//! Decodes what came, makes a pass or answers a request.

use crate::api;
use crate::app::App;
use crate::pass::pass;
use crate::record::{Invoked, foreign};
use crate::request::{self, Request};
use crate::survey::survey;
use fleet_clients::telemetry::emit_line;
use fleet_lambda::Event;
use serde_json::Value;

/// Answers one invocation.
///
/// # Errors
/// Only for an event that is not for this function. A pass that could not do everything answers all
/// the same: the next one comes within the minute.
pub(crate) async fn handle(app: &App, event: Event, request_id: &str) -> Result<Value, String> {
    if let Event::Http(request) = &event {
        return Ok(api::handle(app, request, request_id).await);
    }
    match request::read(&event, &app.config.document)? {
        Request::Pass { trigger, hint } => {
            let invoked = Invoked { trigger, request_id: request_id.to_owned() };
            Ok(pass(app, invoked, hint).await)
        }
        Request::Survey => Ok(survey(app, request_id).await),
        Request::Foreign { trigger, why } => {
            let line = foreign(trigger, &why, request_id);
            emit_line(&line);
            Ok(line)
        }
    }
}
