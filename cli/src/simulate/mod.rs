//! Plays a queue's history, or a made-up one, against scaling policies and compares them.
//!
//! The product's own policy is the very function that the autoscale Lambda calls. The others are
//! written down from their published algorithms; each names its source.

pub mod figures;
pub mod first;
pub mod ours;
pub mod peers;
pub mod picture;
pub mod source;
pub mod table;
pub mod world;

use figures::{Figures, Prices, clairvoyant_hours};
use peers::{Buildkite, FlyAutoscaler, Formula, GithubRunner, Hpa, TargetTracking};
use world::{Conditions, Job, Policy, Run, play};

/// The policies that can be compared, by the name that the table and `--policy` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rule {
    /// This product's `decide`.
    Ours,
    /// This product's first version: one machine ended per minute, flat proof of idleness.
    First,
    /// The guide's formula: queued jobs only, set once a minute.
    Guide,
    /// Queued and running jobs, set once a minute.
    ReadyActive,
    /// KEDA through the Horizontal Pod Autoscaler.
    Keda,
    /// AWS target tracking on the backlog per instance.
    TargetTracking,
    #[value(name = "buildkite-300")]
    Buildkite300,
    #[value(name = "buildkite-600")]
    Buildkite600,
    #[value(name = "buildkite-900")]
    Buildkite900,
    /// Buildkite's rule with a pool of stopped machines.
    #[value(name = "buildkite-600-pool")]
    Buildkite600Pool,
    GithubRunner,
    FlyAutoscaler,
}

/// How this product's own policy is set in a run.
#[derive(Clone, Copy, Debug)]
pub struct OurSettings {
    pub wait_value: u32,
    pub tick_ms: i64,
    /// A tick for each enqueued job, after this long; `None` where VALET asks for none.
    pub enqueue_ms: Option<i64>,
}

impl Rule {
    /// The policy itself, at its beginning.
    #[must_use]
    pub fn policy(self, ours: OurSettings, conditions: &Conditions) -> Box<dyn Policy> {
        match self {
            Rule::Ours => Box::new(ours::Ours::new(ours, conditions)),
            Rule::First => Box::new(first::FirstVersion::default()),
            Rule::Guide => Box::new(Formula { counts_active: false }),
            Rule::ReadyActive => Box::new(Formula { counts_active: true }),
            Rule::Keda => Box::new(Hpa::default()),
            Rule::TargetTracking => Box::new(TargetTracking::default()),
            Rule::Buildkite300 => Box::new(Buildkite { idle: 300_000, pool: false }),
            Rule::Buildkite600 => Box::new(Buildkite { idle: 600_000, pool: false }),
            Rule::Buildkite900 => Box::new(Buildkite { idle: 900_000, pool: false }),
            Rule::Buildkite600Pool => Box::new(Buildkite { idle: 600_000, pool: true }),
            Rule::GithubRunner => Box::new(GithubRunner::default()),
            Rule::FlyAutoscaler => Box::new(FlyAutoscaler),
        }
    }

    /// The name as the table has it.
    pub fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Runs of several rules on the same jobs, in the order of `rules`.
#[derive(Debug)]
pub struct Compared {
    pub rules: Vec<Rule>,
    pub runs: Vec<Run>,
    /// Machine-hours of the clairvoyant bound.
    pub bound_hours: f64,
}

impl Compared {
    /// One line of figures per run.
    #[must_use]
    pub fn figures(&self, prices: Prices) -> Vec<Figures> {
        let runs = self.rules.iter().zip(&self.runs);
        runs.map(|(rule, run)| Figures::of(&rule.name(), run, self.bound_hours, prices)).collect()
    }
}

/// Plays the same jobs against each rule; `done` hears of each that is over.
pub fn compare(
    jobs: &[Job],
    rules: &[Rule],
    ours: OurSettings,
    conditions: &Conditions,
    mut done: impl FnMut(Rule),
) -> Compared {
    let runs = rules
        .iter()
        .map(|&rule| {
            let run = play(jobs, conditions, rule.policy(ours, conditions).as_mut());
            done(rule);
            run
        })
        .collect();
    Compared { rules: rules.to_vec(), runs, bound_hours: clairvoyant_hours(jobs, conditions) }
}
