//! A rollout in words: how it stands, how each host does, what its end means and what is next.

use crate::show::{Tone, number, plain, word, wrapped};
use fleet_protocol::exit_code::ExitCode as Code;
use serde_json::Value;

/// Lines of a host's log that are shown.
const LOG: usize = 10;

/// What it is about.
pub(super) fn title(rollout: &Value) -> String {
    let text = |name: &str| rollout[name].as_str().map(plain).unwrap_or_default();
    format!("{} {}", text("kind"), text("image_tag")).trim().to_owned()
}

/// How it stands, in one sentence.
pub(super) fn standing(rollout: &Value) -> String {
    let mut parts = vec![counts(rollout)];
    if rollout["hosts_left"].is_u64() {
        parts.push(format!("hosts left: {}", number(rollout, "/hosts_left")));
    }
    if let Some(at) = word(rollout, "/last_limit_at") {
        parts.push(format!("the last job has its limit at {at}"));
    }
    let ended = |of: &str| rollout.pointer(&format!("/outcomes/new/{of}"))?.as_u64();
    if let (Some(completed), Some(failed)) = (ended("completed"), ended("failed")) {
        parts.push(format!("{failed} of {} jobs failed on it", completed + failed));
    }
    if let Some(name) = word(rollout, "/alarm/name") {
        parts.push(format!("stopped by CloudWatch alarm {name}"));
    }
    format!("{} {}: {}", title(rollout), state_of(rollout), parts.join("; "))
}

/// Whether it goes on only by a person's word.
pub(super) fn needs_decision(rollout: &Value) -> bool {
    rollout["needs_decision"] == true
}

fn counts(rollout: &Value) -> String {
    let counts = rollout["counts"].as_object().into_iter().flatten();
    let counts: Vec<String> =
        counts.map(|(state, count)| format!("{count} {}", spoken(state))).collect();
    if counts.is_empty() { "no host was asked yet".to_owned() } else { counts.join(", ") }
}

/// The state of a rollout or a host, without underscores.
pub(super) fn state_of(of: &Value) -> String {
    of["state"].as_str().map_or_else(|| "unknown".to_owned(), spoken)
}

fn spoken(state: &str) -> String {
    plain(&state.replace('_', " "))
}

pub(super) fn tone(of: &Value) -> Tone {
    match of["state"].as_str() {
        Some("succeeded" | "already_current") => Tone::Good,
        Some("pending" | "waiting" | "in_progress" | "not_started" | "terminated") => Tone::Plain,
        Some("busy" | "at_limit" | "cancelled" | "refused" | "rolled_back") => Tone::Warn,
        _ => Tone::Bad,
    }
}

/// What a host does or did, beside its state.
pub(super) fn doing(host: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(word(host, "/step"));
    if host["active_jobs"].as_u64().is_some_and(|jobs| jobs > 0) {
        parts.push(format!("running jobs: {}", number(host, "/active_jobs")));
    }
    parts.extend(word(host, "/limit_at").map(|at| format!("job limit at {at}")));
    parts.extend(word(host, "/message"));
    parts.extend(notes(host).map(|note| format!("note: {note}")));
    parts.join("; ")
}

/// What did not come about on a host and stopped nothing.
fn notes(host: &Value) -> impl Iterator<Item = String> {
    host["notes"].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain)
}

/// A host on one line.
pub(super) fn host_line(host: &Value) -> String {
    let id = word(host, "/instance_id").unwrap_or_else(|| "a host".to_owned());
    let doing = doing(host);
    let colon = if doing.is_empty() { "" } else { ": " };
    wrapped("  ", &format!("{id} {}{colon}{doing}", state_of(host)))
}

/// The end of it: how it stands, the hosts that matter with what they printed, and what is next.
pub(super) fn ending(rollout: &Value) -> String {
    let mut text = wrapped("", &standing(rollout));
    // Of an action each host's result is what was asked for; of a rollout those that lack it, or
    // have something to say.
    let action = !super::is_rollout(rollout);
    let told = |host: &&Value| action || !has_it(host) || notes(host).next().is_some();
    for host in hosts(rollout).filter(told) {
        text += &host_line(host);
        let log = host["log"].as_array().map(Vec::as_slice).unwrap_or_default();
        let last = log.iter().skip(log.len().saturating_sub(LOG)).filter_map(Value::as_str);
        text.extend(last.map(|line| wrapped("      ", &plain(line))));
    }
    text.extend(word(rollout, "/note").map(|note| wrapped("", &note)));
    text + &next(rollout)
}

/// The commands that go on from here, one a line, so that each can be copied.
fn next(rollout: &Value) -> String {
    let id = word(rollout, "/id").unwrap_or_default();
    let follow = format!("ghfleet rollouts {id} --wait");
    let back = format!("ghfleet rollback {id}");
    let again = format!("ghfleet deploy {}", word(rollout, "/image_tag").unwrap_or_default());
    let is_rollout = super::is_rollout(rollout);
    let commands = match rollout["state"].as_str() {
        Some("in_progress") if needs_decision(rollout) => {
            vec![format!("ghfleet continue {id}"), format!("ghfleet cancel {id}"), back]
        }
        Some("in_progress") if is_rollout => vec![follow, format!("ghfleet cancel {id}")],
        Some("in_progress") => vec![follow],
        Some("partial") if rollout["kind"] == "deploy" => vec![again, back],
        Some("succeeded" | "rolled_back") => vec![],
        _ if is_rollout => vec![back],
        _ => vec![],
    };
    let heads = ["next: ", "  or: "].into_iter();
    heads.zip(commands).map(|(head, command)| format!("{head}{command}\n")).collect()
}

/// The exit code that says how it stands. Only success is 0.
pub(super) fn verdict(rollout: &Value) -> Code {
    let any = |state: &str| hosts(rollout).any(|host| host["state"] == state);
    let mut lacking = hosts(rollout).filter(|host| !has_it(host)).peekable();
    match rollout["state"].as_str() {
        Some("succeeded") => Code::Done,
        Some("in_progress") => Code::StillBusy,
        Some("rolled_back") => Code::RolledBack,
        _ if any("failed_down") => Code::Down,
        Some("partial" | "failed")
            if lacking.peek().is_some()
                && lacking.all(|host| host["state"] == "busy" || host["state"] == "at_limit") =>
        {
            Code::StillBusy
        }
        _ => Code::Failed,
    }
}

pub(super) fn hosts(rollout: &Value) -> impl Iterator<Item = &Value> {
    rollout["hosts"].as_array().into_iter().flatten()
}

/// It proved what was asked for, or it is gone and does not count.
pub(super) fn has_it(host: &Value) -> bool {
    matches!(host["state"].as_str(), Some("succeeded" | "already_current" | "terminated"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_host_with_a_note_is_told_of_although_it_has_the_version() {
        let note = "ghosthands-worker.leftover-0123456789ab cannot be removed";
        let host = |id: &str, notes: &[&str]| json!({ "instance_id": id, "state": "succeeded", "notes": notes });
        let hosts = [host("i-1", &[]), host("i-2", &[note])];
        let rollout =
            json!({ "kind": "deploy", "image_tag": "v2", "state": "succeeded", "hosts": hosts });
        let text = ending(&rollout).replace('\n', " ");
        assert!(!text.contains("i-1") && text.contains("i-2 succeeded: note:"), "{text}");
        assert!(text.contains("ghosthands-worker.leftover-0123456789ab"), "{text}");
    }

    #[test]
    fn only_success_is_zero() {
        let of = |state: &str, hosts: &[&str]| {
            let hosts: Vec<Value> = hosts.iter().map(|state| json!({ "state": state })).collect();
            verdict(&json!({ "state": state, "hosts": hosts }))
        };
        assert_eq!(of("succeeded", &["succeeded", "already_current"]), Code::Done);
        assert_eq!(of("in_progress", &["waiting"]), Code::StillBusy);
        assert_eq!(of("rolled_back", &["rolled_back"]), Code::RolledBack);
        assert_eq!(of("failed", &["rolled_back", "failed_down"]), Code::Down);
        assert_eq!(of("partial", &["succeeded", "busy"]), Code::StillBusy);
        assert_eq!(of("failed", &["at_limit", "terminated"]), Code::StillBusy);
        assert_eq!(of("partial", &["busy", "unreachable"]), Code::Failed);
        assert_eq!(of("failed", &[]), Code::Failed);
        assert_eq!(of("cancelled", &["busy"]), Code::Failed);
        assert_eq!(of("evaporated", &["succeeded"]), Code::Failed);
    }
}
