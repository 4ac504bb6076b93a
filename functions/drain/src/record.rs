//! What a pass tells: one JSON line with everything it saw, decided and did, enough to decide
//! again.

use crate::request::Trigger;
use fleet_clients::config::DrainConfig;
use fleet_clients::telemetry::DrainMetrics;
use fleet_core::drain::{Call, CallResult, Decision, Hint, Inputs, Note, Reason, Verdict};
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::Serialize;
use serde_json::{Value, json};

/// CloudWatch Logs took 262,144 bytes an event for long, and an agent on the way may still.
const LINE_BYTES: usize = 240_000;
/// Sentences of one kind in a record.
const SENTENCES: usize = 50;

/// What the pass was asked.
#[derive(Debug, Serialize)]
pub(crate) struct PassRequest {
    pub(crate) trigger: Trigger,
    #[serde(skip)]
    pub(crate) hints: Vec<Hint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    pub(crate) event_at: Option<UnixMs>,
    pub(crate) request_id: String,
    pub(crate) dry_run: bool,
}

/// The line of a pass.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "drain")]
pub(crate) struct PassRecord {
    at: String,
    #[serde(flatten)]
    told: PassRequest,
    /// What happened and why, in a sentence for each instance.
    summary: Vec<String>,
    notes: Vec<String>,
    decision: Decision,
    /// Every call that was made, in order.
    calls: Vec<Call>,
    duration_ms: u32,
    version: &'static str,
    config_hash: String,
    group: GroupName,
    inputs: Inputs,
}

impl PassRecord {
    pub(crate) fn new(
        told: PassRequest,
        config: &DrainConfig,
        inputs: Inputs,
        calls: Vec<Call>,
        decision: Decision,
        duration_ms: u32,
    ) -> PassRecord {
        let summary = match decision.verdicts.as_slice() {
            [] => vec!["nobody is leaving".to_owned()],
            verdicts => bounded(verdicts.iter().map(sentence), "instances"),
        };
        PassRecord {
            at: moment(inputs.clock()),
            summary,
            notes: bounded(decision.notes.iter().map(ToString::to_string), "notes"),
            told,
            decision,
            calls,
            duration_ms,
            version: config.version(),
            config_hash: config.hash().to_owned(),
            group: config.group.clone(),
            inputs,
        }
    }

    /// The record as it is printed. Where it is longer than a log event may be, its longest parts
    /// are left out, by name: the pass can then not be executed again from it.
    pub(crate) fn line(&self) -> Value {
        let mut value =
            serde_json::to_value(self).expect("records are plain values with string keys");
        let mut omitted = Vec::new();
        for part in ["inputs", "calls", "decision"] {
            let Value::Object(fields) = &mut value else { break };
            if serde_json::to_string(fields).map_or(0, |text| text.len()) <= LINE_BYTES {
                break;
            }
            fields.remove(part);
            omitted.push(part);
        }
        if !omitted.is_empty() {
            value["omitted"] = json!(omitted);
        }
        value
    }

    /// The record without its inputs: they hold nothing secret, but they are long.
    pub(crate) fn into_summary(self) -> Value {
        let mut value =
            serde_json::to_value(self).expect("records are plain values with string keys");
        if let Value::Object(fields) = &mut value {
            fields.remove("inputs");
        }
        value
    }

    pub(crate) fn metrics(&self) -> DrainMetrics {
        let Inputs { seen, memory, .. } = &self.inputs;
        let now = self.inputs.clock();
        let Decision { verdicts, notes, .. } = &self.decision;
        let in_state = |which: fn(&LifecycleState) -> bool| {
            count(verdicts.iter().filter(|v| which(&v.lifecycle)))
        };
        let known = matches!(seen.group, Some(Reading::Known(_)));
        // A pass that does not let go says the same again: jobs are counted by the one that does.
        let let_go = |id: &InstanceId| verdicts.iter().any(|v| v.released && v.instance == *id);
        let failed = seen.instances.values().flat_map(|evidence| {
            let once = [&evidence.held, &evidence.sent, &evidence.replaced].into_iter().flatten();
            once.chain(&evidence.completions)
        });
        let timeout = match &seen.hook {
            Some(Reading::Known(hook)) => Some(hook.heartbeat_s),
            _ => None,
        };
        let margin = |instance: &InstanceId| {
            let waits =
                |v: &Verdict| v.instance == *instance && v.lifecycle.waits_on_terminate_hook();
            let held = memory.held.get(instance).filter(|_| verdicts.iter().any(waits))?;
            Some(i64::from(timeout?) - now.since(*held) / 1000)
        };
        let any = |is: fn(&Note) -> bool| notes.iter().any(is);
        let drifts = any(|n| matches!(n, Note::HookDrift { .. } | Note::HookUnknown { .. }));
        let down = !known
            || any(|n| matches!(n, Note::MachinesUnknown { .. }))
            || verdicts.iter().any(|v| matches!(v.because, Reason::CommandsUnknown { .. }));
        let just_held = |v: &Verdict| matches!(v.because, Reason::JustHeld { .. });
        let unasked = seen.machines.is_none() && verdicts.iter().any(just_held);
        let left_alone = |n: &&Note| matches!(n, Note::WarmPool { .. } | Note::UnknownState { .. });
        DrainMetrics {
            at: now,
            group: self.group.clone(),
            waiting: known.then(|| in_state(LifecycleState::waits_on_terminate_hook)),
            retained: known.then(|| in_state(LifecycleState::is_retained)),
            oldest_wait_s: verdicts.iter().filter_map(|verdict| verdict.waited_s).max(),
            limit_left_s: verdicts.iter().filter_map(|verdict| verdict.left_s).min(),
            released: count(verdicts.iter().filter(|verdict| verdict.released)),
            gave_up: count(
                verdicts
                    .iter()
                    .filter(|v| v.released && matches!(v.because, Reason::GaveUp { .. })),
            ),
            paged: count(verdicts.iter().filter(|verdict| verdict.because.pages())),
            heartbeat_margin_s: seen
                .instances
                .keys()
                .filter_map(margin)
                .min()
                .map(|margin| u32::try_from(margin.max(0)).unwrap_or(0)),
            commands_sent: count(
                seen.instances.values().filter(|e| e.sent == Some(CallResult::Done)),
            ),
            jobs_caught: notes
                .iter()
                .map(|note| match note {
                    Note::Caught { instance, jobs } if let_go(instance) => *jobs,
                    _ => 0,
                })
                .sum(),
            jobs_interrupted: notes
                .iter()
                .map(|note| match note {
                    Note::Interrupted { instance, jobs } if let_go(instance) => *jobs,
                    _ => 0,
                })
                .sum(),
            hook_drift: (drifts || known && seen.hook.is_some()).then_some(drifts),
            source_down: (down || !unasked).then_some(down),
            left_alone: known.then(|| count(notes.iter().filter(left_alone))),
            action_failed: count(failed.filter(|done| matches!(done, CallResult::Failed { .. }))),
            event_age_ms: self.told.event_at.map(|at| millis(self.inputs.now.since(at))),
            aws_calls: count(self.calls.iter()),
            pass_ms: self.duration_ms,
        }
    }
}

/// The first sentences, and how many more there are.
fn bounded(sentences: impl ExactSizeIterator<Item = String>, of: &str) -> Vec<String> {
    let more = sentences.len().saturating_sub(SENTENCES);
    let mut first: Vec<String> = sentences.take(SENTENCES).collect();
    if more > 0 {
        first.push(format!("and {more} more {of}"));
    }
    first
}

fn sentence(verdict: &Verdict) -> String {
    let Verdict { instance, lifecycle, because, released, .. } = verdict;
    let gone = if *released { " and is let go" } else { "" };
    format!("{instance} is {lifecycle}{gone}: {because}")
}

/// The line of an event that is none of ours.
pub(crate) fn foreign(trigger: Trigger, why: &str, request_id: &str) -> Value {
    json!({ "type": "foreign_event", "trigger": trigger, "because": why, "request_id": request_id })
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn millis(ms: i64) -> u32 {
    u32::try_from(ms.max(0)).unwrap_or(u32::MAX)
}

fn moment(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| format!("{} ms", at.0), |at| at.to_string())
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
