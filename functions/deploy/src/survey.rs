//! Asks every host what it runs, so that what is known of it is never old: a host may be deployed
//! over its own HTTP, and it has no right to tell.

use crate::app::App;
use fleet_clients::telemetry::emit_line;
use serde_json::{Value, json};

/// Sends the question and waits for no answer: the status reads what the hosts said. It is asked
/// during a rollout too, whose own questions may leave out hosts that have proven the version.
/// Where it could not be sent, what hosts proved expires, and the status says so of each.
pub(crate) async fn survey(app: &App, request_id: &str) -> Value {
    let sent = if app.config.dry_run { None } else { Some(app.rollouts.survey().await) };
    let (summary, command) = match sent {
        None => ("a dry run asks no host".to_owned(), None),
        Some(Ok(id)) => ("every host was asked what it runs".to_owned(), Some(id)),
        Some(Err(error)) => (format!("no host was asked what it runs: {}", error.detail), None),
    };
    let line = json!({
        "type": "survey", "summary": summary, "command_id": command, "request_id": request_id,
        "group": app.config.group, "environment": app.config.environment,
        "dry_run": app.config.dry_run, "version": app.config.version(),
    });
    emit_line(&line);
    line
}
