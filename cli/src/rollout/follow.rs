//! Following a rollout to its end: drawn over on a terminal, a line for each change in a pipe.

use super::begin::{Begun, OUTAGE, patiently};
use super::{is_open, is_rollout, read, words};
use crate::api::{Answer, Api};
use crate::finish::{Failure, Finished};
use crate::minutes::Minutes;
use crate::show::{Cell, Screen, table, wrapped};
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
#[command(next_help_heading = "Waiting")]
pub struct WaitArgs {
    /// End as soon as the API has accepted it.
    #[arg(long, conflicts_with = "wait_at_most")]
    no_wait: bool,
    #[command(flatten)]
    follow: FollowArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Waiting")]
pub(super) struct FollowArgs {
    /// Wait no longer than this, such as 90m or 2h; it goes on all the same.
    #[arg(long, value_name = "TIME", value_parser = Minutes::parse)]
    wait_at_most: Option<Minutes>,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=300))]
    interval: u64,
    /// Print the API's last answer as it came, and no progress.
    #[arg(long)]
    pub(super) json: bool,
}

impl WaitArgs {
    /// Follows what was begun to its end, as far as that is wished.
    ///
    /// # Errors
    /// It could not be read any more.
    pub(super) fn finish(&self, api: &Api, begun: Begun) -> Result<Finished, Failure> {
        let Begun { id, text, answer } = begun;
        match (self.no_wait, self.follow.json) {
            (true, true) => Ok(Finished::done(answer + "\n")),
            (true, false) => {
                let next = format!("next: ghfleet rollouts {id} --wait\n");
                Ok(Finished::done(text + &next))
            }
            (false, _) => self.follow.follow(api, &id, &text),
        }
    }
}

impl FollowArgs {
    /// Shows `first`, and how the rollout of this id goes until it has ended.
    ///
    /// # Errors
    /// It could not be read any more.
    pub(super) fn follow(&self, api: &Api, id: &str, first: &str) -> Result<Finished, Failure> {
        let screen = Screen::of_stdout();
        // Whoever does not read any more still gets the exit code.
        let shows = !self.json && screen.write(first);
        let mut progress = Progress { screen, shows, drawn: 0, said: BTreeMap::new() };
        let begun = Instant::now();
        let pause = Duration::from_secs(self.interval);
        let most = self.wait_at_most.map(|most| Duration::from_secs(u64::from(most.0) * 60));
        loop {
            let answer = patiently(OUTAGE, || read(api, id))?;
            progress.show(&answer.body);
            let over = most.is_some_and(|most| begun.elapsed() + pause > most);
            if over || !is_open(&answer.body) || words::needs_decision(&answer.body) {
                return Ok(self.ended(answer));
            }
            sleep(pause);
        }
    }

    /// How it stands, as the last words.
    pub(super) fn ended(&self, answer: Answer) -> Finished {
        let code = words::verdict(&answer.body);
        let text = if self.json { answer.text + "\n" } else { words::ending(&answer.body) };
        Finished::with(text, code)
    }
}

/// What was shown so far.
#[derive(Debug)]
struct Progress {
    screen: Screen,
    shows: bool,
    /// Lines on the terminal that the next look draws over.
    drawn: usize,
    /// The line of each host, and of the whole.
    said: BTreeMap<String, String>,
}

impl Progress {
    fn show(&mut self, rollout: &Value) {
        if !self.shows {
            return;
        }
        let text = if self.screen.live { self.drawing(rollout) } else { self.changes(rollout) };
        self.shows = self.screen.write(&text);
    }

    fn drawing(&mut self, rollout: &Value) -> String {
        let text = block(&self.screen, rollout);
        let text = if is_open(rollout) { text } else { String::new() };
        let over = self.screen.over(self.drawn);
        self.drawn = text.lines().count();
        over + &text
    }

    fn changes(&mut self, rollout: &Value) -> String {
        let open = is_open(rollout);
        // The last words tell the end, and of its hosts those that are not as they should be.
        let told = |host: &&Value| open || (is_rollout(rollout) && words::has_it(host));
        let mut lines: Vec<(String, String)> = words::hosts(rollout)
            .filter(told)
            .map(|host| (host["instance_id"].to_string(), words::host_line(host)))
            .collect();
        if open {
            lines.push((String::new(), wrapped("", &words::standing(rollout))));
        }
        lines.retain(|(of, line)| self.said.get(of) != Some(line));
        self.said.extend(lines.iter().cloned());
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

/// The rollout on a terminal: hosts at work before those that are done, as many as there is room
/// for.
fn block(screen: &Screen, rollout: &Value) -> String {
    let head = wrapped("", &words::standing(rollout));
    let mut hosts: Vec<&Value> = words::hosts(rollout).collect();
    hosts.sort_by_key(|host| words::has_it(host));
    let room = screen.height().saturating_sub(head.lines().count() + 4).max(3);
    let rows: Vec<[Cell; 3]> = hosts.iter().take(room).map(|host| row(host)).collect();
    let mut text = head + &table(screen, ["HOST", "STATE", "WHAT"], [19, 15, 60], &rows);
    if hosts.len() > room {
        text += &format!("and {} hosts more\n", hosts.len() - room);
    }
    text + "Ctrl-C ends the waiting and not the rollout.\n"
}

fn row(host: &Value) -> [Cell; 3] {
    [
        Cell::new(host["instance_id"].as_str().unwrap_or_default()),
        Cell::toned(words::tone(host), words::state_of(host)),
        Cell::new(words::doing(host)),
    ]
}
