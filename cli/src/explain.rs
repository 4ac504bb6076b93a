//! `ghfleet explain`: why the fleet has the capacity that it has.

use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::show::{Screen, Tone, fact, number, word, wrapped};
use crate::status::{overrides, read, unknown_sources};
use clap::Args;
use serde_json::{Value, json};

const TICK: &str = "/api/v1/admin/autoscale/tick";

/// Say why the fleet has the capacity that it has: the last decisions, newest first.
///
/// Decisions that changed nothing for the same reason as the one before are not
/// kept. With --now a tick is made at once: it decides by the same rules as the
/// scheduled ones, acts on it as they do, and has notes on what else it found,
/// such as AWS's own words where a launch failed. What another WAIT_VALUE or
/// other bounds would have decided is answered by `ghfleet replay`.
///
/// Examples:
///   ghfleet explain
///   ghfleet explain --now
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ExplainArgs {
    /// Make a tick now and explain it; the token needs the scope tick.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl ExplainArgs {
    /// # Errors
    /// The status could not be read.
    pub fn run(&self) -> Result<Finished, Failure> {
        let api = self.connection.api()?;
        if self.now {
            return Ok(Finished::done(tick(&api.post(TICK, &json!({}), None)?.body)));
        }
        let status = read(&api)?.body;
        Ok(Finished::done(render(&Screen::of_stdout(), &status)))
    }
}

fn render(screen: &Screen, status: &Value) -> String {
    let mut text = fact("desired", &number(status, "/currentCapacity"));
    let decisions = status["decisions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some((newest, before)) = decisions.split_first() {
        text += &fact("because", &sentence(newest));
        if newest["failed"] == true {
            text += &screen.paint(Tone::Bad, &fact("", "AWS did not carry this out"));
        }
        for line in overrides(status) {
            text += &fact("override", &line);
        }
        if !before.is_empty() {
            text += "\nBefore that:\n";
        }
        text.extend(before.iter().map(|decision| wrapped("  ", &sentence(decision))));
    } else {
        text += &fact("because", "no decision is known yet");
    }
    let unknown = unknown_sources(status);
    if !unknown.is_empty() {
        text += &screen.paint(Tone::Bad, "\nNot known now:\n");
        text.extend(unknown.iter().map(|line| wrapped("  ", line)));
    }
    text
}

/// A tick's record in words.
fn tick(record: &Value) -> String {
    // A fleet whose scaling is switched off has no summary.
    let summary = word(record, "/summary").or_else(|| word(record, "/because"));
    let summary = summary.unwrap_or_else(|| "the tick was made and says nothing".to_owned());
    // Somebody else's tick counts what this one was to count.
    let name = if record["type"] == "joined" { "joined" } else { "decision" };
    let notes = record["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    fact(name, &summary) + &notes.map(|note| fact("note", note)).collect::<String>()
}

/// A decision in words.
pub(crate) fn sentence(decision: &Value) -> String {
    let text = |at: &str| word(decision, at).unwrap_or_else(|| "unknown".to_owned());
    let (from, to) = (number(decision, "/from"), number(decision, "/to"));
    let change = if from == to { format!("stays at {to}") } else { format!("{from} -> {to}") };
    let failed = if decision["failed"] == true { " (failed)" } else { "" };
    format!("{} {change}{failed}: {} [{}]", text("/at"), text("/because"), text("/rule"))
}
