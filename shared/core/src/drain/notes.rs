//! What an operator would want to know beside what is done.

use super::policy::HEARTBEAT_AT_LEAST_S;
use super::{CallResult, Evidence, Group, Hook, Inputs, Note, Output};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::Reading;
use std::collections::BTreeSet;

/// Clocks further apart than this are worth a word.
const SKEW_MS: i64 = 30_000;

/// About the group, its hook and the sources.
pub(super) fn about_group(inputs: &Inputs, group: &Group) -> Vec<Note> {
    let seen = &inputs.seen;
    let mut notes = Vec::new();
    let skew = inputs.now.since(group.at);
    // A second look at the group is later on purpose.
    if seen.looks <= 1 && skew.saturating_abs() > SKEW_MS {
        notes.push(Note::Skew { seconds: skew / 1000 });
    }
    if let Some(Reading::Unknown(source)) = &seen.machines {
        notes.push(Note::MachinesUnknown { source: source.clone() });
    }
    if let Some(Reading::Unknown(source)) = &seen.activities {
        notes.push(Note::ActivitiesUnknown { source: source.clone() });
    }
    notes.extend(about_hook(inputs, group));
    for hint in &inputs.hints {
        if !group.members.iter().any(|member| member.id == hint.instance) {
            notes.push(Note::NotOurs { instance: hint.instance.clone() });
        }
    }
    notes
}

/// What is wrong with the hook, and with the group's part in it, which every pass sees.
pub(super) fn about_hook(inputs: &Inputs, group: &Group) -> Vec<Note> {
    let mut notes = Vec::new();
    let hook = inputs.seen.hook.as_ref();
    if let Some(Reading::Unknown(source)) = hook {
        notes.push(Note::HookUnknown { source: source.clone() });
    }
    let hook = hook.and_then(Reading::known);
    let drift = hook.map(|hook| drift(inputs, hook)).unwrap_or_default();
    notes.extend(drift.into_iter().map(|wrong| Note::HookDrift { wrong }));
    if !group.retains || hook.is_some_and(|hook| hook.default_result != "ABANDON") {
        let wrong = "an instance is ended when the hook runs out; set DefaultResult ABANDON and TerminateHookAbandon retain to keep it";
        notes.push(Note::HookDrift { wrong: wrong.to_owned() });
    }
    notes
}

/// What of the hook would end a machine with a job on it, sooner or later.
fn drift(inputs: &Inputs, hook: &Hook) -> Vec<String> {
    let policy = &inputs.policy;
    let needed = policy.job_limit_s.saturating_add(policy.give_up_after_s());
    let mut wrong = Vec::new();
    if !hook.terminating {
        wrong.push(
            "the hook is not one of terminating instances, so nothing waits for a drain".to_owned(),
        );
    }
    if hook.heartbeat_s < HEARTBEAT_AT_LEAST_S {
        wrong.push(format!(
            "the hook runs out after {} s without a heartbeat; {HEARTBEAT_AT_LEAST_S} s are needed to outlast lost ticks",
            hook.heartbeat_s
        ));
    }
    if hook.global_s < needed {
        wrong.push(format!(
            "the hook holds an instance for at most {} s, and the longest job takes {needed} s with all grace",
            hook.global_s
        ));
    }
    wrong
}

/// About one instance: how the calls for it went, and which jobs its host told of.
pub(super) fn about_instance(instance: &InstanceId, evidence: &Evidence) -> Vec<Note> {
    let mut notes = Vec::new();
    let instance = || instance.clone();
    match &evidence.held {
        Some(CallResult::NoAction) => notes.push(Note::NotHeld { instance: instance() }),
        Some(CallResult::Failed { detail }) => {
            notes.push(Note::HeartbeatFailed { instance: instance(), detail: detail.clone() });
        }
        _ => {}
    }
    if evidence.sent == Some(CallResult::NotManaged) {
        notes.push(Note::NotManaged { instance: instance() });
    }
    let commands = evidence.commands.as_ref().and_then(Reading::known);
    // A repeated answer tells of the same jobs again, so the most that one told counts.
    let (mut caught, mut stopped, mut unasked) = (0, 0, false);
    let mut beside: BTreeSet<&str> = BTreeSet::new();
    for command in commands.into_iter().flatten() {
        if let Output::Report(report) = &command.output {
            caught = caught.max(report.caught_jobs);
            stopped = stopped.max(report.stopped_jobs.unwrap_or(0));
            beside.extend(report.notes.iter().map(String::as_str));
            unasked |= command.order.stop && report.worker_stopped && report.stopped_jobs.is_none();
        }
    }
    if caught > 0 {
        notes.push(Note::Caught { instance: instance(), jobs: caught });
    }
    if stopped > 0 {
        notes.push(Note::Interrupted { instance: instance(), jobs: stopped });
    } else if unasked {
        notes.push(Note::StoppedUnasked { instance: instance() });
    }
    let said = |note: &str| Note::SaidBeside { instance: instance(), note: note.to_owned() };
    notes.extend(beside.into_iter().map(said));
    notes
}
