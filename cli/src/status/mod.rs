//! `ghfleet status`: how the fleet is, once or again and again.

mod facts;
mod instances;

pub(crate) use facts::{capacity, in_force};
pub use facts::{overrides, unknown_sources};
pub use instances::{member, worker_of};

use crate::api::{Answer, Api, ApiError};
use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::show::{Screen, Tone, wrapped};
use clap::Args;
use fleet_protocol::exit_code::ExitCode as Code;
use serde_json::Value;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

pub(crate) const PATH: &str = "/api/v1/admin/fleet-status";

/// Show queue, capacity, workers, versions, cost and every instance.
///
/// What a source did not tell is "unknown", and the source is named at the end.
///
/// Examples:
///   ghfleet status
///   ghfleet status --watch --interval 5
///   ghfleet status --json | jq .capacity.desired
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct StatusArgs {
    /// Print the API's answer as it came.
    #[arg(long)]
    json: bool,
    /// Show it again and again, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "watch")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The status of this stack.
///
/// # Errors
/// What came in place of one.
pub fn read(api: &Api) -> Result<Answer, ApiError> {
    let answer = api.get(PATH)?;
    if answer.body["asgName"].is_string() {
        return Ok(answer);
    }
    Err(ApiError::Unexpected(format!(
        "{PATH} answered with something that is no fleet's status: check that the url is the \
         stack's output PageUrl"
    )))
}

impl StatusArgs {
    /// # Errors
    /// The status could not be read.
    pub fn run(&self) -> Result<Finished, Failure> {
        let api = self.connection.api()?;
        let screen = Screen::of_stdout();
        if !self.watch {
            return Ok(Finished::done(self.look(&api, &screen)?));
        }
        let mut seen = false;
        loop {
            let shown = match self.look(&api, &screen) {
                Ok(text) => text,
                // What was there comes back, and whoever watches waits for that.
                Err(failure) if seen && failure.code == Code::Unavailable => {
                    writeln!(std::io::stderr(), "ghfleet: {}", failure.message).ok();
                    String::new()
                }
                Err(failure) => return Err(failure),
            };
            let clear = if screen.live && !shown.is_empty() { "\x1b[H\x1b[2J" } else { "" };
            if !screen.write(&format!("{clear}{shown}")) {
                return Ok(Finished::done(""));
            }
            seen = true;
            sleep(Duration::from_secs(self.interval));
        }
    }

    fn look(&self, api: &Api, screen: &Screen) -> Result<String, Failure> {
        let answer = read(api)?;
        Ok(if self.json { answer.text + "\n" } else { render(screen, &answer.body) })
    }
}

fn render(screen: &Screen, status: &Value) -> String {
    let mut text = facts::render(status);
    text.push_str(&instances::render(screen, status));
    let unknown = unknown_sources(status);
    if !unknown.is_empty() {
        text.push_str(&screen.paint(Tone::Bad, "\nNot known now:\n"));
        text.extend(unknown.iter().map(|line| wrapped("  ", line)));
    }
    text
}
