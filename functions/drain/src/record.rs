//! What a pass tells: one JSON line with everything it saw, decided and did, enough to decide
//! again.

use crate::request::Trigger;
use fleet_clients::config::DrainConfig;
use fleet_clients::telemetry::{PassCosts, emit_drain};
use fleet_core::drain::{Call, Decision, DrainMetrics, Hint, Inputs, Verdict};
use fleet_protocol::ids::GroupName;
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

    /// Prints the line of metrics.
    pub(crate) fn emit_metrics(&self) {
        let metrics = DrainMetrics::of(&self.inputs, &self.decision);
        let costs = PassCosts {
            event_age_ms: self.told.event_at.map(|at| millis(self.inputs.now.since(at))),
            aws_calls: u32::try_from(self.calls.len()).unwrap_or(u32::MAX),
            pass_ms: self.duration_ms,
        };
        emit_drain(&self.group, &metrics, &costs);
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
