//! Decides recorded ticks again: with the recorded settings, where any difference is a fault or
//! another version of this program, or with other settings, to see what they would have changed.

use fleet_core::scaling::{Decision, Inputs, decide};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// How many differences are told in full.
const TOLD: usize = 10;

/// Settings to decide with instead of the recorded ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    pub wait_value: Option<u32>,
    pub min: Option<u32>,
    pub max: Option<u32>,
}

#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Decision records that were read.
    pub records: usize,
    /// Those that came out the same to the bit.
    pub same: usize,
    /// Lines that are no decision record with its inputs.
    pub other_lines: usize,
    /// Records whose inputs this version cannot read, with the reason of the first.
    pub unreadable: usize,
    pub unreadable_because: Option<String>,
    pub differences: Vec<Difference>,
    /// Differences beyond those that are listed.
    pub more_differences: usize,
}

#[derive(Debug, Serialize)]
pub struct Difference {
    pub line: usize,
    pub at: String,
    pub recorded: String,
    pub now: String,
}

impl Changes {
    fn apply(self, inputs: &mut Inputs) {
        let policy = &mut inputs.policy;
        policy.wait_value = self.wait_value.unwrap_or(policy.wait_value);
        policy.min = self.min.unwrap_or(policy.min);
        policy.max = self.max.unwrap_or(policy.max);
    }
}

/// Reads lines of the autoscale function's log, as CloudWatch or the function prints them.
#[must_use]
pub fn replay(log: &str, changes: Changes) -> Report {
    let mut report = Report::default();
    for (at, line) in log.lines().enumerate() {
        let Some(record) = record(line) else {
            report.other_lines += usize::from(!line.trim().is_empty());
            continue;
        };
        report.records += 1;
        let inputs = serde_json::from_value::<Inputs>(record["inputs"].clone());
        let mut inputs = match inputs {
            Ok(inputs) => inputs,
            Err(error) => {
                report.unreadable += 1;
                report.unreadable_because.get_or_insert_with(|| error.to_string());
                continue;
            }
        };
        changes.apply(&mut inputs);
        let decision = decide(&inputs).decision;
        let now = serde_json::to_value(&decision).unwrap_or(Value::Null);
        if now == record["decision"] {
            report.same += 1;
        } else if report.differences.len() == TOLD {
            report.more_differences += 1;
        } else {
            report.differences.push(Difference {
                line: at + 1,
                at: record["at"].as_str().unwrap_or("?").to_owned(),
                recorded: record["summary"].as_str().unwrap_or("?").to_owned(),
                now: sentence(&decision),
            });
        }
    }
    report
}

/// The record in a line: as the function prints it, behind the time and the stream that `aws logs
/// tail` puts there, or inside CloudWatch's `message`.
fn record(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line.get(line.find('{')?..)?.trim()).ok()?;
    let value = match value.get("message").and_then(Value::as_str) {
        Some(message) => serde_json::from_str(message).ok()?,
        None => value,
    };
    (value["type"] == "decision" && value["inputs"].is_object()).then_some(value)
}

fn sentence(decision: &Decision) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    format!(
        "{} -> {}: {}",
        number(decision.desired_before),
        number(decision.desired),
        decision.because
    )
}

/// The report for people.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = format!(
        "{} decisions read, {} the same to the bit, {} different.\n",
        report.records,
        report.same,
        report.differences.len() + report.more_differences
    );
    for Difference { line, at, recorded, now } in &report.differences {
        writeln!(text, "line {line}, {at}\n  recorded: {recorded}\n  now:      {now}")
            .expect("writing to a string cannot fail");
    }
    if report.more_differences > 0 {
        writeln!(text, "and {} more", report.more_differences).expect("as above");
    }
    if let Some(because) = &report.unreadable_because {
        writeln!(text, "{} records were not read: {because}", report.unreadable).expect("as above");
    }
    text
}
