//! The commands that need no fleet: their arguments, and what each does with them.

use crate::simulate::figures::Prices;
use crate::simulate::source::{self, Shape};
use crate::simulate::world::{Conditions, Job};
use crate::simulate::{OurSettings, Rule, compare, picture, table};
use crate::{replay, tune};
use clap::{Args, ValueEnum};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Play jobs against scaling policies; compare waiting, hours and dollars.
///
/// Examples:
///   ghfleet simulate --csv jobs.csv
///   ghfleet simulate --generate bursty --policy ours --policy buildkite-600
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Simulate {
    #[command(flatten)]
    source: Source,
    /// Compare only these policies; may be given several times.
    #[arg(long = "policy", value_enum)]
    policies: Vec<Rule>,
    #[command(flatten)]
    setting: Setting,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// Write a page with a picture of each policy's run; it needs nothing but a browser.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Find the `WAIT_VALUE` for a goal, on your own history.
///
/// Plays the history with twelve values, prints waiting against money,
/// recommends one, and checks the choice of each half of the history on the
/// other half.
///
/// Examples:
///   ghfleet tune --csv jobs.csv --max-p95-seconds 60
///   ghfleet tune --csv jobs.csv --max-dollars-per-month 250
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, override_usage = "ghfleet tune <SOURCE> <GOAL> [OPTIONS]")]
pub struct Tune {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    goal: GoalArgs,
    #[command(flatten)]
    setting: Setting,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct GoalArgs {
    /// 95 of 100 jobs wait at most this long; the cheapest such setting is recommended.
    #[arg(long, value_name = "SECONDS")]
    max_p95_seconds: Option<f64>,
    /// Spend at most this much; the setting with the shortest mean wait is recommended.
    #[arg(long, value_name = "DOLLARS")]
    max_dollars_per_month: Option<f64>,
}

/// Decide recorded ticks again, and say where the outcome differs.
///
/// The file holds lines of the autoscale function's log. Without further
/// options any difference is another version of this program, or a fault; with
/// them you see what a setting would have changed.
///
/// Examples:
///   aws logs tail /ghosthands/staging/autoscale --format short \
///     --since 1d > ticks.log
///   ghfleet replay ticks.log
///   ghfleet replay ticks.log --set-wait-value 10
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Replay {
    /// The log, or - for standard input.
    file: PathBuf,
    /// Decide with this `WAIT_VALUE`.
    #[arg(long, value_name = "N")]
    set_wait_value: Option<u32>,
    /// Decide with this minimum.
    #[arg(long, value_name = "N")]
    set_min: Option<u32>,
    /// Decide with this maximum.
    #[arg(long, value_name = "N")]
    set_max: Option<u32>,
    /// Print one JSON document instead of sentences.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// A file with `arrival_s,duration_s`, one job a line.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Make a load up.
    #[arg(long, value_enum, value_name = "SHAPE")]
    generate: Option<Shape>,
}

#[derive(Debug, Args)]
struct Setting {
    /// Days of a generated load.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// Seed of a generated load and of boot times: the same seed gives the same figures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fewest machines.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    min: u32,
    /// Most machines.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    max: u32,
    /// Our `WAIT_VALUE`.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(0..=100))]
    wait_value: u32,
    /// Seconds between two of our ticks, the stack's TickSeconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=60))]
    tick_seconds: u32,
    /// No tick at an enqueued job, as where VALET does not ask for one.
    #[arg(long)]
    no_enqueue_tick: bool,
}

impl Source {
    fn jobs(&self, setting: &Setting) -> Result<Vec<Job>, String> {
        match (&self.csv, self.generate) {
            (Some(path), _) => source::from_csv(path),
            (None, Some(shape)) => Ok(shape.jobs(setting.days, setting.seed)),
            (None, None) => Err("name a source: --csv FILE or --generate SHAPE".to_owned()),
        }
    }
}

impl Setting {
    fn conditions(&self) -> Result<Conditions, String> {
        if self.min > self.max {
            return Err(format!("--min {} is more than --max {}", self.min, self.max));
        }
        let Setting { min, max, seed, .. } = *self;
        Ok(Conditions { min, max, seed, ..Conditions::default() })
    }

    fn ours(&self) -> OurSettings {
        OurSettings {
            wait_value: self.wait_value,
            tick_ms: i64::from(self.tick_seconds) * 1000,
            enqueue_ms: (!self.no_enqueue_tick).then_some(1_000),
        }
    }
}

impl Simulate {
    /// # Errors
    /// What is wrong with the arguments or with what they name.
    pub fn run(&self) -> Result<String, String> {
        let conditions = self.setting.conditions()?;
        let jobs = self.source.jobs(&self.setting)?;
        let all: Vec<Rule> = Rule::value_variants().to_vec();
        let rules = if self.policies.is_empty() { &all } else { &self.policies };
        let mut played = 0;
        let compared = compare(&jobs, rules, self.setting.ours(), &conditions, |rule| {
            played += 1;
            progress(played, rules.len(), rule);
        });
        let rows = compared.figures(Prices::default());
        if let Some(path) = &self.html {
            std::fs::write(path, picture::page(&jobs, &rows, &compared.runs))
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        }
        if self.json { json(&rows) } else { Ok(table::render(&rows)) }
    }
}

impl Tune {
    /// # Errors
    /// What is wrong with the arguments or with what they name.
    pub fn run(&self) -> Result<String, String> {
        let conditions = self.setting.conditions()?;
        let jobs = self.source.jobs(&self.setting)?;
        let goal = match (self.goal.max_p95_seconds, self.goal.max_dollars_per_month) {
            (Some(seconds), _) => tune::Goal::WaitP95(seconds),
            (None, Some(dollars)) => tune::Goal::DollarsPerMonth(dollars),
            (None, None) => {
                return Err("name a goal: --max-p95-seconds or --max-dollars-per-month".to_owned());
            }
        };
        let tuning = tune::tune(&jobs, self.setting.ours(), &conditions, Prices::default(), goal);
        if self.json { json(&tuning) } else { Ok(tune::render(&tuning)) }
    }
}

impl Replay {
    /// # Errors
    /// What is wrong with the arguments or with what they name.
    pub fn run(&self) -> Result<String, String> {
        let log = if self.file.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(&self.file)
        };
        let log =
            log.map_err(|error| format!("{} cannot be read: {error}", self.file.display()))?;
        let changes = replay::Changes {
            wait_value: self.set_wait_value,
            min: self.set_min,
            max: self.set_max,
        };
        let report = replay::replay(&log, changes);
        if report.records == 0 {
            return Err(format!(
                "{} holds no decision record with its inputs: give lines of the autoscale \
                 function's log, whose type is \"decision\"",
                self.file.display()
            ));
        }
        if self.json { json(&report) } else { Ok(replay::render(&report)) }
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| error.to_string())
}

/// Says on a terminal how far it is.
fn progress(played: usize, of: usize, rule: Rule) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let end = if played == of { "\r\x1b[K" } else { "" };
        write!(stderr, "\r\x1b[K{played} of {of} policies: {}{end}", rule.name()).ok();
    }
}
