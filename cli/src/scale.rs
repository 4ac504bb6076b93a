//! `ghfleet scale`: a floor under the capacity, and a pause of scaling, each until a moment.

use crate::connection::ConnectionArgs;
use crate::finish::{Failure, Finished};
use crate::minutes::Minutes;
use crate::show::{fact, wrapped};
use crate::status;
use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};

const PATH: &str = "/api/v1/admin/capacity";

/// Show the capacity and what overrides it; set or remove a floor or a pause.
///
/// A floor keeps at least so many workers; a pause stops every change of the
/// capacity. Both end by themselves, after 7 days at the latest. Nothing here
/// takes a worker away from its job.
///
/// Examples:
///   ghfleet scale
///   ghfleet scale --floor 5 --for 2h
///   ghfleet scale --floor 5 --until 2026-11-24T08:00:00Z
///   ghfleet scale --pause --for 30m
///   ghfleet scale --no-floor --no-pause
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, group(ArgGroup::new("set").multiple(true)))]
pub struct ScaleArgs {
    /// Keep at least so many workers.
    #[arg(long, value_name = "WORKERS", group = "set", requires = "expiry")]
    floor: Option<u32>,
    /// Remove the floor.
    #[arg(long, conflicts_with = "floor")]
    no_floor: bool,
    /// Change no capacity.
    #[arg(long, group = "set", requires = "expiry")]
    pause: bool,
    /// End the pause.
    #[arg(long, conflicts_with = "pause")]
    no_pause: bool,
    /// End what is set after this time, such as 90m, 2h or 1d.
    #[arg(long = "for", value_name = "TIME", group = "expiry", requires = "set")]
    #[arg(value_parser = Minutes::parse)]
    lasting: Option<Minutes>,
    /// End what is set at this moment, in RFC 3339.
    #[arg(long, value_name = "MOMENT", group = "expiry", requires = "set")]
    until: Option<String>,
    /// Print the API's answer as it came.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl ScaleArgs {
    /// # Errors
    /// The capacity could not be read or changed.
    pub fn run(&self) -> Result<Finished, Failure> {
        let api = self.connection.api()?;
        let wish = self.wish();
        let answer = match &wish {
            None => status::read(&api)?,
            Some(wish) => api.put(PATH, wish)?,
        };
        Ok(Finished::done(match wish {
            _ if self.json => answer.text + "\n",
            None => shown(&answer.body),
            Some(_) => listed(status::in_force(&answer.body)),
        }))
    }

    /// The request's body; nothing where nothing is to change.
    fn wish(&self) -> Option<Value> {
        let with_expiry = |mut wish: Value| {
            if let Some(Minutes(minutes)) = self.lasting {
                wish["for_minutes"] = json!(minutes);
            }
            if let Some(until) = &self.until {
                wish["expires_at"] = json!(until);
            }
            wish
        };
        let mut wish = Map::new();
        if let Some(workers) = self.floor {
            wish.insert("floor".to_owned(), with_expiry(json!({ "workers": workers })));
        } else if self.no_floor {
            wish.insert("floor".to_owned(), Value::Null);
        }
        if self.pause {
            wish.insert("paused".to_owned(), with_expiry(json!({})));
        } else if self.no_pause {
            wish.insert("paused".to_owned(), Value::Null);
        }
        (!wish.is_empty()).then_some(Value::Object(wish))
    }
}

fn shown(status: &Value) -> String {
    let text = status::capacity(status);
    if status["capacity"].is_object() {
        return text + &listed(status::overrides(status));
    }
    let unknown = status::unknown_sources(status);
    text + &fact("override", "unknown")
        + &unknown.iter().map(|line| wrapped("  ", line)).collect::<String>()
}

fn listed(overrides: Vec<String>) -> String {
    if overrides.is_empty() {
        return fact("override", "none");
    }
    overrides.iter().map(|line| fact("override", line)).collect()
}
