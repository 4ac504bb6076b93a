//! What the functions say about themselves: log lines, decision records and metrics, each one JSON
//! line on stdout.
//!
//! Nothing here can fail its caller: a line that cannot be written is lost, and scaling goes on.

mod deploy;
mod drain;
mod metrics;
#[cfg(test)]
mod tests;

pub use deploy::DeployMetrics;
pub use drain::{PassCosts, emit_drain};
pub use metrics::emit_tick;

use crate::config::{Lookup, Problem};
use fleet_protocol::variable;
use serde::Serialize;
use std::error::Error;
use std::io::{self, Write};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

/// Starts logging; call it once, before anything else can fail.
///
/// The subscriber of the Lambda runtime itself would print no timestamp, and without one Lambda
/// takes every line for INFO whatever its level says. The level is `AWS_LAMBDA_LOG_LEVEL`, else
/// `RUST_LOG`, else INFO; one that cannot be used is reported with the rest of the configuration
/// and until then reads as INFO, so that the report itself is seen.
pub fn init(env: &impl Lookup) {
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        // Its complaint would go to stderr by a macro that panics where stderr is closed.
        .log_internal_errors(false);
    let filter = log_filter(env).unwrap_or_else(|_| usual());
    // TRACE shows what came over the wire, such as the event with the caller's token; nothing of
    // ours is told at that level.
    let subscriber =
        tracing_subscriber::registry().with(filter).with(LevelFilter::DEBUG).with(lines);
    // An error means that somebody, a test perhaps, already listens; then there is nothing left to
    // do.
    drop(tracing::subscriber::set_global_default(subscriber));
}

/// Which log lines are wanted.
pub(crate) fn log_filter(env: &impl Lookup) -> Result<Targets, Problem> {
    let set =
        |name| env.get(name).filter(|value| !variable::is_empty(value)).map(|value| (name, value));
    let Some((name, value)) = set("AWS_LAMBDA_LOG_LEVEL").or_else(|| set("RUST_LOG")) else {
        return Ok(usual());
    };
    // Lambda knows one level more than tracing does.
    let directives = if value == "FATAL" { "error" } else { value.as_str() };
    directives.parse().map_err(|error: tracing_subscriber::filter::ParseError| Problem {
        variable: name.to_owned(),
        wrong: format!("is {value:?} ({error})"),
        fix: "Set TRACE, DEBUG, INFO, WARN, ERROR or FATAL".to_owned(),
    })
}

fn usual() -> Targets {
    Targets::new().with_default(LevelFilter::INFO)
}

/// An error and all its causes on one line, outermost first: `Display` alone shows only the
/// outermost.
pub fn error_chain(error: &dyn Error) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        chain.push_str(": ");
        chain.push_str(&error.to_string());
        cause = error.source();
    }
    chain
}

/// Prints `record` as one JSON line on stdout, in a single write so that no other line lands in its
/// middle.
pub fn emit_line(record: &impl Serialize) {
    match serde_json::to_vec(record) {
        Ok(mut line) => {
            line.push(b'\n');
            // A closed stdout has nobody to tell about it.
            drop(io::stdout().lock().write_all(&line));
        }
        Err(error) => tracing::error!(%error, "a record could not be written as JSON"),
    }
}
