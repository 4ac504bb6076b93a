//! The decision record: one JSON line with everything a tick saw, decided and did, enough to
//! decide again.

use crate::act::ActionResult;
use crate::handler::Trigger;
use fleet_clients::config::AutoscaleConfig;
use fleet_clients::telemetry::{emit_line, emit_tick};
use fleet_core::scaling::{Decision, Inputs, Memory, ScalingMetrics};
use fleet_protocol::ids::GroupName;
use fleet_protocol::time::UnixMs;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// The line of a tick that decided.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "decision")]
pub(crate) struct DecisionRecord {
    at: String,
    #[serde(flatten)]
    request: TickRequest,
    /// What happened and why, in a sentence.
    summary: String,
    because: String,
    notes: Vec<String>,
    decision: Decision,
    #[serde(flatten)]
    effects: TickEffects,
    version: &'static str,
    config_hash: String,
    group: GroupName,
    inputs: Inputs,
}

/// One piece of the JSON text of a decision's inputs. The texts of all `of` lines with the same
/// `request_id`, one after the other, are the inputs.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "decision_inputs")]
struct InputsLine<'a> {
    request_id: &'a str,
    number: usize,
    of: usize,
    text: &'a str,
}

/// A line may be 256 KiB (an event of CloudWatch Logs, less its overhead of 26 bytes). The record
/// without its inputs is bounded by itself.
const LINE_BYTES: usize = 200 * 1024;
/// Of a text that is JSON already, escaping makes up to twice as much.
const PIECE_BYTES: usize = 96 * 1024;
/// Inputs of more lines than these are left out (`inputs_lines` is 0): only rows that were made to
/// be long come to so much.
const LINES: usize = 16;

/// What woke the tick.
#[derive(Debug, Serialize)]
pub(crate) struct TickRequest {
    pub(crate) trigger: Trigger,
    pub(crate) request_id: String,
    pub(crate) dry_run: bool,
}

/// What the tick did with its decision.
#[derive(Debug, Serialize)]
pub(crate) struct TickEffects {
    pub(crate) action: ActionResult,
    pub(crate) memory_write: ActionResult,
    pub(crate) ages: Ages,
    /// From the tick's beginning to its decision, and to its end.
    pub(crate) decision_ms: u32,
    pub(crate) duration_ms: u32,
}

/// How old each input was when the decision was made. `None` where it was unknown.
#[derive(Debug, Serialize)]
pub(crate) struct Ages {
    queue_ms: u32,
    group_ms: u32,
    /// Since the tick that left the memory.
    memory_ms: Option<i64>,
    /// The freshest and the oldest heartbeat, by the database's clock.
    newest_heartbeat_ms: Option<i64>,
    oldest_heartbeat_ms: Option<i64>,
}

impl Ages {
    /// `queue` and `group` are how long ago they answered.
    pub(crate) fn of(inputs: &Inputs, queue: Duration, group: Duration) -> Ages {
        let heartbeats = || {
            let queue = inputs.observation.queue.known();
            queue.into_iter().flat_map(|queue| {
                let rows = queue.workers.known().into_iter().flatten();
                rows.map(|row| queue.db_now.since(row.last_heartbeat))
            })
        };
        let memory_ms = match &inputs.memory {
            Memory::Kept(state) => Some(inputs.observation.now.since(state.at)),
            Memory::Lost { .. } => None,
        };
        Ages {
            memory_ms,
            newest_heartbeat_ms: heartbeats().min(),
            oldest_heartbeat_ms: heartbeats().max(),
            queue_ms: millis(queue),
            group_ms: millis(group),
        }
    }
}

impl DecisionRecord {
    pub(crate) fn new(
        request: TickRequest,
        config: &AutoscaleConfig,
        inputs: Inputs,
        decision: Decision,
        effects: TickEffects,
    ) -> DecisionRecord {
        DecisionRecord {
            at: inputs.observation.now.to_string(),
            summary: summary(&decision, &effects.action),
            because: decision.because.to_string(),
            notes: decision.notes.iter().map(ToString::to_string).collect(),
            request,
            decision,
            effects,
            version: config.version(),
            config_hash: config.hash().to_owned(),
            group: config.group.clone(),
            inputs,
        }
    }

    /// Prints the record: as one line, or where that would be too long for one event, with the
    /// inputs in lines of their own, as many as `inputs_lines` says.
    pub(crate) fn emit(&self) {
        let mut record = to_value(self);
        if record.to_string().len() <= LINE_BYTES {
            return emit_line(self);
        }
        let Value::Object(fields) = &mut record else { return };
        let text = fields.remove("inputs").unwrap_or_default().to_string();
        let pieces = pieces(&text, PIECE_BYTES);
        let of = if pieces.len() > LINES { 0 } else { pieces.len() };
        fields.insert("inputs_lines".to_owned(), of.into());
        emit_line(&record);
        for (index, text) in pieces.into_iter().take(of).enumerate() {
            let request_id = &self.request.request_id;
            emit_line(&InputsLine { request_id, number: index + 1, of, text });
        }
    }

    /// The record without its inputs: they hold nothing secret, but they are long.
    pub(crate) fn into_summary(self) -> Value {
        let mut value = to_value(&self);
        if let Value::Object(fields) = &mut value {
            fields.remove("inputs");
        }
        value
    }

    /// Prints the line of metrics.
    pub(crate) fn emit_metrics(&self) {
        let failed = self.effects.action.failed();
        let metrics = ScalingMetrics::of(&self.inputs.observation, &self.decision, failed);
        emit_tick(&self.group, &metrics, self.effects.decision_ms);
    }
}

/// `text` in pieces of at most `bytes`, cut between characters.
fn pieces(text: &str, bytes: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(bytes));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn summary(decision: &Decision, action: &ActionResult) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let (before, after) = (number(decision.desired_before), number(decision.desired));
    let because = &decision.because;
    match action {
        ActionResult::None => format!("the desired capacity stays at {before}: {because}"),
        ActionResult::Done => format!("desired capacity {before} -> {after}: {because}"),
        ActionResult::DryRun => {
            format!("dry run, desired capacity {before} -> {after} not carried out: {because}")
        }
        ActionResult::Partly { made, refused, unanswered, not_sent, detail, .. } => {
            let why = if detail.is_empty() { "the tick's time was over" } else { detail };
            format!(
                "desired capacity {before} -> {after}, of which {made} instances were terminated, {refused} refused, {unanswered} not answered and {not_sent} left to the next tick ({why}): {because}"
            )
        }
        ActionResult::Failed { kind, detail } if kind.may_have_acted() => {
            format!(
                "desired capacity {before} -> {after} was not answered by AWS ({detail}), and the next tick reads which of the two it is: {because}"
            )
        }
        ActionResult::Failed { detail, .. } => {
            format!(
                "the desired capacity stays at {before}, because AWS refused {before} -> {after} ({detail}): {because}"
            )
        }
    }
}

/// The line of a tick that found another one running.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "already_running")]
pub(crate) struct AlreadyRunning {
    at: String,
    trigger: Trigger,
}

impl AlreadyRunning {
    pub(crate) fn new(now: UnixMs, trigger: Trigger) -> AlreadyRunning {
        AlreadyRunning { at: now.to_string(), trigger }
    }
}

/// The line of a tick of a fleet whose scaling is switched off.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "disabled")]
pub(crate) struct Disabled {
    at: String,
    trigger: Trigger,
    because: &'static str,
}

impl Disabled {
    pub(crate) fn new(now: UnixMs, trigger: Trigger) -> Disabled {
        let because = "AUTOSCALE_ASG_ENABLED is false: nothing was read and nothing was changed";
        Disabled { at: now.to_string(), trigger, because }
    }
}

pub(crate) fn to_value(record: &impl Serialize) -> Value {
    serde_json::to_value(record).expect("records are plain values with string keys")
}

pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_text_again() {
        let text = "aä😀".repeat(1000);
        let cut = pieces(&text, 100);
        assert!(cut.iter().all(|piece| piece.len() <= 100));
        // A character of several bytes keeps a piece below the limit; the last one has the rest.
        assert!(cut[..cut.len() - 1].iter().all(|piece| piece.len() > 96));
        assert_eq!(cut.concat(), text);
        assert!(pieces("", 100).is_empty());
    }
}
