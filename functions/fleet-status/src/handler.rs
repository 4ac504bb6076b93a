//! Answers what is asked for.

use crate::app::App;
use crate::routes::{ROUTES, To};
use crate::{capacity, job, openapi, page, read};
use fleet_core::status::{assemble, exposition};
use fleet_lambda::{Call, Event, Problem, Reply, Scope, answer, authorize};
use fleet_protocol::exposition::CONTENT_TYPE;
use serde_json::{Value, json};

/// Answers one invocation. A request is answered over HTTP in any case. As the function `Authorize`
/// of `template.yaml` it is asked whether requests to any function may go on.
///
/// # Errors
/// Only for an event that is not for this function.
pub(crate) async fn handle(app: &App, event: Event, request_id: &str) -> Result<Value, String> {
    let request = match event {
        Event::Http(request) => request,
        Event::Authorize(request) => return Ok(authorize(&app.gate, &request).await),
        other => return Err(other.unexpected()),
    };
    let respond = async |to: &To, call: &mut Call<'_>| respond(app, *to, call).await;
    Ok(answer(&ROUTES, &app.gate, &request, request_id, respond).await)
}

async fn respond(app: &App, to: To, call: &mut Call<'_>) -> Result<Reply, Problem> {
    match to {
        To::Page => Ok(page::reply()),
        // It asks nobody: it says that this function runs, not that the fleet is well.
        To::Health => {
            Ok(Reply::json(200, &json!({ "status": "ok", "version": app.config.version() })))
        }
        To::OpenApi => Ok(Reply::json(200, &openapi::document())),
        To::Status => {
            let operates = call.caller.as_ref().is_some_and(|it| it.scopes().allow(Scope::Operate));
            // The page offers a reader no changes.
            let role = if operates { "operator" } else { "reader" };
            Ok(Reply::json(200, &assemble(&read::read(app).await)).header("x-fleet-role", role))
        }
        To::Job => Ok(Reply::json(200, &job::passport(app, call).await?)),
        To::Metrics => {
            let page = exposition(&read::read(app).await, app.config.version());
            Ok(Reply::new(200, CONTENT_TYPE, page.into_text()))
        }
        To::SetCapacity => capacity::set(app, call).await,
    }
}
