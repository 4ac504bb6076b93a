//! `ghfleet rollouts`: those that there were, or one of them.

use super::commands::checked;
use super::follow::FollowArgs;
use super::words::{state_of, title};
use super::{newest, read};
use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::show::{word, wrapped};
use clap::Args;
use serde_json::Value;

/// List rollouts and other orders to hosts, newest first; or show one of them.
///
/// With an id the exit code says how that one stands: 0 succeeded, 75 still in
/// progress. SSM keeps them for 30 days.
///
/// Examples:
///   ghfleet rollouts
///   ghfleet rollouts 12345678-1234-1234-1234-1234567890ab
///   ghfleet rollouts 12345678-1234-1234-1234-1234567890ab --wait
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RolloutsArgs {
    /// One of them.
    id: Option<String>,
    /// How many are listed.
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "id")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=50))]
    limit: u32,
    /// Follow it to its end.
    #[arg(long, requires = "id")]
    wait: bool,
    #[command(flatten)]
    follow: FollowArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl RolloutsArgs {
    /// # Errors
    /// They could not be read.
    pub fn run(&self) -> Result<Finished, Failure> {
        let api = self.connection.api()?;
        let Some(id) = &self.id else {
            let answer = newest(&api, self.limit)?;
            let text = if self.follow.json { answer.text + "\n" } else { listed(&answer.body) };
            return Ok(Finished::done(text));
        };
        let id = checked(id)?;
        if self.wait {
            return self.follow.follow(&api, &id, "");
        }
        Ok(self.follow.ended(read(&api, &id)?))
    }
}

fn listed(list: &Value) -> String {
    let all = list["deployments"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return "There was none within 30 days.\n".to_owned();
    }
    all.iter().map(entry).collect()
}

/// One of them on two lines: an id alone fills half of one.
fn entry(one: &Value) -> String {
    let text = |at: &str| word(one, at).unwrap_or_else(|| "unknown".to_owned());
    let head = format!("{} {}: {}", text("/requested_at"), title(one), state_of(one));
    let reason = word(one, "/reason").map_or_else(String::new, |why| format!(": {why}"));
    let strategy = word(one, "/strategy").map_or_else(String::new, |it| format!(" {it}"));
    let more = format!("{}{strategy} by {}{reason}", text("/id"), text("/requested_by"));
    wrapped("", &head) + &wrapped("  ", &more)
}
