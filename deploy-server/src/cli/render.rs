//! Replies as text for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::Command;

/// A few lines that say what is or what was done.
pub(super) fn text(command: &Command, value: &Value) -> String {
    match command {
        Command::Status if value.get("health").is_some() => status(value),
        Command::Cleanup { .. } if value["output"].is_string() => {
            format!("{}\n{}", word(&value["message"]), word(&value["output"]).trim_end())
        }
        Command::RefreshSecrets | Command::PullSecrets(_) => names(value),
        _ => result(value),
    }
}

fn status(value: &Value) -> String {
    let health = &value["health"];
    let mut out = format!(
        "{}: worker {}, {} job(s), API {}",
        word(&health["status"]),
        word(&health["workerStatus"]),
        word(&health["activeWorkers"]),
        if health["apiHealthy"] == true { "healthy" } else { "not healthy" },
    );
    for service in value["services"].as_array().into_iter().flatten() {
        let (name, tag) = (word(&service["service"]), word(&service["imageTag"]));
        line(&mut out, &format!("  {name:<8}{tag}  {}", word(&service["state"])));
    }
    if health["terminating"] == true {
        line(&mut out, "  this host is terminating");
    }
    let deploy = &health["currentDeploy"];
    if deploy.is_object() {
        let (tag, step) = (word(&deploy["imageTag"]), word(&deploy["step"]));
        line(&mut out, &format!("  deploying {tag}: {step}"));
    } else if health["operation"].is_string() {
        line(&mut out, &format!("  in progress: {}", word(&health["operation"])));
    }
    if health["reason"].is_string() {
        line(&mut out, &format!("  {}", word(&health["reason"])));
    }
    let last = &value["lastDeploy"];
    if last.is_object() {
        let (status, at) = (word(&last["status"]), word(&last["finishedAt"]));
        line(&mut out, &format!("  last deploy: {} {status} at {at}", word(&last["imageTag"])));
        notes(&mut out, last);
    }
    out
}

fn result(value: &Value) -> String {
    let mut out = word(&value["message"]);
    if value["error"].is_string() {
        line(&mut out, &format!("  {}", word(&value["error"])));
    }
    if value["failedStep"].is_string() {
        let service =
            value["failedService"].as_str().map_or_else(String::new, |of| format!(" of {of}"));
        line(&mut out, &format!("  step {}{service}", word(&value["failedStep"])));
    }
    if value["caughtJobs"].as_u64().is_some_and(|jobs| jobs > 0) {
        line(&mut out, &format!("  {} job(s) were taken in the last instant", value["caughtJobs"]));
    }
    notes(&mut out, value);
    for entry in value["log"].as_array().into_iter().flatten() {
        line(&mut out, &format!("  | {}", word(entry)));
    }
    out
}

/// What did not come about and stopped nothing.
fn notes(out: &mut String, value: &Value) {
    for note in value["notes"].as_array().into_iter().flatten() {
        line(out, &format!("  note: {}", word(note)));
    }
}

fn names(value: &Value) -> String {
    let mut out =
        value["message"].as_str().unwrap_or("The environment file was written").to_owned();
    for list in ["changed", "added", "removed", "kept", "missing", "ending_in_backslash"] {
        let names: Vec<String> = value[list].as_array().into_iter().flatten().map(word).collect();
        if !names.is_empty() {
            line(&mut out, &format!("  {list}: {}", names.join(", ")));
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    write!(out, "\n{text}").expect("writing to a String cannot fail");
}

/// A value without quotes; `unknown` for what nobody knows.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, text};
    use serde_json::json;

    #[test]
    fn a_status_of_a_host_whose_worker_is_silent() {
        let value = json!({
            "health": {
                "status": "degraded", "workerStatus": "unknown", "activeWorkers": null,
                "apiHealthy": true, "reason": "nothing answers on port 3101"
            },
            "services": [{"service": "api", "imageTag": "v1", "state": "running"}],
            "lastDeploy": {"imageTag": "v1", "status": "deployed", "finishedAt": "2026-01-01T00:00:00Z"}
        });
        insta::assert_snapshot!(text(&Command::Status, &value), @r"
        degraded: worker unknown, unknown job(s), API healthy
          api     v1  running
          nothing answers on port 3101
          last deploy: v1 deployed at 2026-01-01T00:00:00Z
        ");
    }

    #[test]
    fn a_failed_deploy_says_where_and_shows_the_log() {
        let value = json!({
            "message": "Deploy failed, the previous containers run again: v2",
            "error": "the container went down: exit code 1",
            "failedStep": "start-services", "failedService": "ghosthands-api", "log": ["boom"],
            "notes": ["ghosthands-api.leftover-0123456789ab cannot be removed"]
        });
        let command = Command::Rollback { force: false, wait: true };
        insta::assert_snapshot!(text(&command, &value), @r"
        Deploy failed, the previous containers run again: v2
          the container went down: exit code 1
          step start-services of ghosthands-api
          note: ghosthands-api.leftover-0123456789ab cannot be removed
          | boom
        ");
    }
}
