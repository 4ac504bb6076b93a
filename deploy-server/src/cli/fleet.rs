//! `--fleet`: one order of a rollout, as SSM runs it on every host.
//!
//! It tries again after 10, 20 and 30 seconds where that may help, looks what is in service after
//! all was done, and says so in one line of JSON that SSM's list of results has room for. That line
//! is the proof that a rollout waits for. A host that only puts the order off, because a job runs
//! or because it leaves the group, ends with exit code 0: it says nothing against the version, and
//! stops no other host.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Command, ask};
use crate::config::Strings;

/// The pauses before the second, third and fourth try.
const PAUSES: [u64; 3] = [10, 20, 30];
/// Other pauses, for tests: seconds, separated by commas.
const PAUSES_VARIABLE: &str = "GH_DEPLOY_RETRY_SECONDS";
/// SSM lists the first 2,500 characters of what a command printed.
const LINE: usize = 2000;
const WORDS: usize = 300;
const LINES: usize = 10;

/// Carries the order out and reports on it.
pub(super) async fn carry_out(command: &Command, socket: &Path, env: &Strings) -> (u8, Value) {
    let pauses = pauses(env.get(PAUSES_VARIABLE).map(String::as_str));
    let mut pauses = pauses.into_iter();
    let (code, answer) = loop {
        let (code, answer) = ask(command, socket).await;
        match pauses.next().filter(|_| may_help(command, code, &answer)) {
            Some(pause) => tokio::time::sleep(Duration::from_secs(pause)).await,
            None => break (code, answer),
        }
    };
    let status = match command {
        Command::Status => answer.clone(),
        _ => ask(&Command::Status, socket).await.1,
    };
    let result = result(command, code, &answer, &status);
    let put_off = matches!(result, "busy" | "refused" | "leaving");
    (if put_off { 0 } else { code }, report(command, result, &answer, &status))
}

fn pauses(text: Option<&str>) -> Vec<u64> {
    let given =
        text.and_then(|text| text.split(',').map(|part| part.trim().parse().ok()).collect());
    given.unwrap_or_else(|| PAUSES.to_vec())
}

/// Whether the same order may end differently in a moment: nothing was touched, or nobody answered.
/// A version that failed its proof is not tried twice, because each try interrupts the host.
fn may_help(command: &Command, code: u8, answer: &Value) -> bool {
    match command {
        Command::Deploy { .. } => matches!(code, 1 | 13 | 69) && !is_busy(answer),
        Command::RefreshSecrets | Command::Status => matches!(code, 1 | 69),
        _ => code == 69,
    }
}

fn is_busy(answer: &Value) -> bool {
    answer["failedStep"] == "drain-worker"
}

/// One word for what became of the order.
fn result(command: &Command, code: u8, answer: &Value, status: &Value) -> &'static str {
    let deploys = matches!(command, Command::Deploy { .. } | Command::Rollback { .. });
    let same = answer["previous"]["imageId"] == answer["imageId"] && answer["imageId"].is_string();
    match code {
        0 if deploys && same => "already_current",
        0 if deploys => "deployed",
        0 => "done",
        // What it found degraded it has told all the same.
        1 if matches!(command, Command::Status) => "done",
        10 => "rolled_back",
        11 => "down",
        12 if status["health"]["terminating"] == true => "leaving",
        12 => "refused",
        13 if is_busy(answer) => "busy",
        75 => "busy",
        69 => "unknown",
        _ => "failed",
    }
}

fn report(command: &Command, result: &str, answer: &Value, status: &Value) -> Value {
    let action = match command {
        Command::Deploy { .. } => "deploy",
        Command::Rollback { .. } => "rollback",
        Command::Drain { .. } => "drain",
        Command::Cleanup { .. } => "cleanup",
        Command::RefreshSecrets => "refresh-secrets",
        _ => "status",
    };
    let services: Vec<Value> =
        status["services"].as_array().into_iter().flatten().map(short).collect();
    let in_service = in_service(&services);
    let said = [&answer["error"], &answer["message"], &answer["health"]["reason"]];
    let said = said.into_iter().find_map(Value::as_str);
    // The digest is the deploy's own, so it says nothing about another version.
    let digest = answer["digest"].as_str().filter(|_| in_service == answer["imageTag"].as_str());
    let log: Vec<String> = answer["log"].as_array().into_iter().flatten().map(clipped).collect();
    let mut report = json!({
        "v": 1,
        "instanceId": status["instanceId"],
        "action": action,
        "result": result,
        "step": answer["failedStep"],
        "message": said.map(clip),
        "imageTag": in_service,
        "digest": digest,
        "before": answer["previous"]["imageTag"],
        "services": services,
        "log": log.iter().rev().take(LINES).rev().collect::<Vec<_>>(),
    });
    // The last lines say most, so the first ones go.
    while report.to_string().chars().count() > LINE {
        match report["log"].as_array_mut() {
            Some(log) if !log.is_empty() => drop(log.remove(0)),
            _ => break,
        }
    }
    report
}

fn short(service: &Value) -> Value {
    json!({
        "service": service["service"],
        "imageTag": service["imageTag"].as_str().map(clip),
        "state": service["state"],
    })
}

/// The version that every service runs; `None` where they differ, or one does not run.
fn in_service(services: &[Value]) -> Option<&str> {
    let running = services.iter().all(|service| service["state"] == "running");
    let tag = services.first()?["imageTag"].as_str()?;
    let same = services.iter().all(|service| service["imageTag"] == tag);
    (running && same && services.len() == crate::service::ServiceKind::ALL.len()).then_some(tag)
}

fn clipped(line: &Value) -> String {
    clip(line.as_str().unwrap_or_default())
}

fn clip(text: &str) -> String {
    text.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deploy() -> Command {
        Command::Deploy { tag: "v2".to_owned(), force: false, wait: true }
    }

    fn status(api: &str, worker: &str) -> Value {
        json!({ "instanceId": "i-1", "services": [
            { "service": "api", "imageTag": api, "state": "running", "imageId": "sha256:x" },
            { "service": "worker", "imageTag": worker, "state": "running" },
        ] })
    }

    #[test]
    fn the_line_says_what_is_in_service_and_fits() {
        let answer = json!({
            "imageTag": "v2", "imageId": "b", "digest": "sha256:d", "previous": { "imageTag": "v1", "imageId": "a" },
            "error": "x".repeat(5000), "log": vec!["ä".repeat(5000); 100], "failedStep": "start-services",
        });
        let report = report(&deploy(), "deployed", &answer, &status("v2", "v2"));
        assert!(report.to_string().chars().count() <= LINE);
        assert_eq!((&report["imageTag"], &report["digest"]), (&json!("v2"), &json!("sha256:d")));
        assert_eq!((&report["instanceId"], &report["before"]), (&json!("i-1"), &json!("v1")));
        assert!(!report["log"].as_array().unwrap().is_empty());
    }

    #[test]
    fn half_a_deploy_is_no_version() {
        let tag =
            |status: &Value| report(&deploy(), "deployed", &json!({}), status)["imageTag"].clone();
        assert_eq!(tag(&status("v2", "v1")), Value::Null);
        assert_eq!(tag(&json!({ "services": [] })), Value::Null);
        assert_eq!(tag(&Value::Null), Value::Null);
        let mut stopped = status("v2", "v2");
        stopped["services"][1]["state"] = json!("exited");
        assert_eq!(tag(&stopped), Value::Null);
    }

    #[test]
    fn only_what_may_end_differently_is_tried_again() {
        let again = |code, answer: Value| may_help(&deploy(), code, &answer);
        assert!(again(13, json!({ "failedStep": "pull-image" })));
        assert!(again(69, json!({})));
        assert!(
            !again(13, json!({ "failedStep": "drain-worker" })),
            "a job runs: the rollout comes back"
        );
        for code in [0, 10, 11, 12, 64, 75] {
            assert!(!again(code, json!({})), "{code}");
        }
        assert_eq!(pauses(None), [10, 20, 30]);
        assert_eq!(pauses(Some("0, 1")), [0, 1]);
        assert_eq!(pauses(Some("soon")), [10, 20, 30]);
    }

    #[test]
    fn one_word_for_every_end() {
        let word = |code, answer: Value, status: Value| result(&deploy(), code, &answer, &status);
        let leaving = json!({ "health": { "terminating": true } });
        assert_eq!(
            word(0, json!({ "imageId": "a", "previous": { "imageId": "a" } }), json!({})),
            "already_current"
        );
        assert_eq!(
            word(0, json!({ "imageId": "a", "previous": { "imageId": "b" } }), json!({})),
            "deployed"
        );
        assert_eq!(word(0, json!({ "imageId": "a", "previous": null }), json!({})), "deployed");
        assert_eq!(word(12, json!({}), leaving), "leaving");
        assert_eq!(word(12, json!({}), json!({})), "refused");
        assert_eq!(word(13, json!({ "failedStep": "drain-worker" }), json!({})), "busy");
        assert_eq!(word(13, json!({ "failedStep": "pull-image" }), json!({})), "failed");
        assert_eq!(word(69, json!({}), json!({})), "unknown");
        assert_eq!(result(&Command::Status, 1, &json!({}), &json!({})), "done");
    }
}
