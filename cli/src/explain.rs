//! `ghfleet explain`: why the fleet has the capacity that it has.

use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::show::{Screen, Tone, fact, number, word, wrapped};
use crate::status::{overrides, read, unknown_sources};
use clap::Args;
use serde_json::Value;

/// Say why the fleet has the capacity that it has: the last decisions, newest first.
///
/// Decisions that changed nothing for the same reason as the one before are not
/// kept. What another WAIT_VALUE or other bounds would have decided is answered
/// by `ghfleet replay`.
///
/// Examples:
///   ghfleet explain
///   ghfleet explain --profile production
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ExplainArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl ExplainArgs {
    /// # Errors
    /// The status could not be read.
    pub fn run(&self) -> Result<Finished, Failure> {
        let status = read(&self.connection.api()?)?.body;
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

/// A decision in words.
pub(crate) fn sentence(decision: &Value) -> String {
    let text = |at: &str| word(decision, at).unwrap_or_else(|| "unknown".to_owned());
    let (from, to) = (number(decision, "/from"), number(decision, "/to"));
    let change = if from == to { format!("stays at {to}") } else { format!("{from} -> {to}") };
    let failed = if decision["failed"] == true { " (failed)" } else { "" };
    format!("{} {change}{failed}: {} [{}]", text("/at"), text("/because"), text("/rule"))
}
