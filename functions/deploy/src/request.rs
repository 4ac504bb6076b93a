//! What woke the function where it was not a person: its schedules, or SSM.

use fleet_lambda::{Event, is_schedule};
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
    /// The schedule that asks every host what it runs.
    Survey,
    /// About another document or another order: nothing is even looked at.
    Foreign { trigger: Trigger, why: String },
}

/// Reads the event.
///
/// # Errors
/// What came, where it is no event of this function.
pub(crate) fn read(delivered: &Event, document: &str) -> Result<Request, String> {
    let Event::Bus(event) = delivered else { return Err(delivered.unexpected()) };
    let trigger = match (event.source.as_str(), event.detail_type.as_str()) {
        _ if is_schedule(event) => {
            return Ok(Request::Pass { trigger: Trigger::Schedule, hint: None });
        }
        // The template writes this event itself, as the input of its second schedule.
        ("ghosthands.schedule", "Survey") => return Ok(Request::Survey),
        ("aws.ssm", "EC2 Command Invocation Status-change Notification") => Trigger::Invocation,
        ("aws.ssm", "EC2 Command Status-change Notification") => Trigger::Command,
        _ => return Err(delivered.unexpected()),
    };
    let detail = |name: &str| event.detail.get(name).and_then(Value::as_str);
    if let Some(name) = detail("document-name").filter(|name| *name != document) {
        return Ok(Request::Foreign { trigger, why: format!("it is about the document {name}") });
    }
    let rollouts = ["deploy", "status", "take-back"];
    if let Some(action) =
        action(&event.detail).filter(|action| !rollouts.contains(&action.as_str()))
    {
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

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
