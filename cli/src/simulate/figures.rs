//! What a run is worth: waiting, machine-hours, money, and how well supply followed demand.

use super::world::{Conditions, Job, Ms, Run};
use fleet_core::status::HOURS;
use serde::Serialize;

/// Prices in US dollars.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    pub instance_hour: f64,
    /// One machine's volume for one hour, running or stopped.
    pub volume_hour: f64,
}

impl Default for Prices {
    /// A t3.large and 40 GB of gp3 in us-east-1, as the guide has them.
    fn default() -> Self {
        let list = fleet_core::status::Prices::default();
        let dollars = |micros: u32| f64::from(micros) / 1e6;
        let volume_hour = dollars(list.volume_month) / f64::from(HOURS);
        Prices { instance_hour: dollars(list.instance_hour), volume_hour }
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub policy: String,
    pub jobs: usize,
    pub wait_mean_s: f64,
    pub wait_p50_s: f64,
    pub wait_p95_s: f64,
    pub wait_p99_s: f64,
    /// Share of jobs that started within ten seconds, in percent.
    pub within_10_s: f64,
    pub instance_hours: f64,
    pub dollars: f64,
    pub launches: u64,
    pub wakes: u64,
    pub interrupted: u64,
    pub wasted_hours: f64,
    /// Machine-hours beyond the clairvoyant bound, as a share of it.
    pub regret: f64,
    pub elasticity: Elasticity,
}

/// The SPEC research group's elasticity metrics, in percent of time or of demand.
/// Herbst et al., "Ready for rain?", 2016; `reference/autoscaling.md` 5.1 has the formulas.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Elasticity {
    pub under_provisioned_percent: f64,
    pub over_provisioned_percent: f64,
    pub time_under_percent: f64,
    pub time_over_percent: f64,
}

/// The columns of the comparison.
pub const COLUMNS: [&str; 11] = [
    "policy", "mean", "P50", "P95", "P99", "≤10s", "hours", "dollars", "launches", "wakes",
    "inter.",
];

impl Figures {
    /// The texts of its line, one for each of [`COLUMNS`].
    #[must_use]
    pub fn cells(&self) -> [String; COLUMNS.len()] {
        [
            self.policy.clone(),
            format!("{:.1}s", self.wait_mean_s),
            format!("{:.0}s", self.wait_p50_s),
            format!("{:.0}s", self.wait_p95_s),
            format!("{:.0}s", self.wait_p99_s),
            format!("{:.1}%", self.within_10_s),
            format!("{:.0}", self.instance_hours),
            format!("{:.2}", self.dollars),
            self.launches.to_string(),
            self.wakes.to_string(),
            self.interrupted.to_string(),
        ]
    }

    #[must_use]
    pub fn of(policy: &str, run: &Run, clairvoyant_hours: f64, prices: Prices) -> Figures {
        let mut waits = run.waits.clone();
        waits.sort_unstable();
        let quantile = |per_mille: usize| {
            let at = (waits.len() * per_mille).div_ceil(1000).saturating_sub(1);
            waits.get(at).map_or(0.0, |&wait| seconds(wait))
        };
        let total: Ms = waits.iter().sum();
        let quick = waits.iter().filter(|&&wait| wait <= 10_000).count();
        let jobs = waits.len().max(1);
        let hours = hours(run.billed_ms);
        Figures {
            policy: policy.to_owned(),
            jobs: waits.len(),
            wait_mean_s: seconds(total) / share(jobs),
            wait_p50_s: quantile(500),
            wait_p95_s: quantile(950),
            wait_p99_s: quantile(990),
            within_10_s: 100.0 * share(quick) / share(jobs),
            instance_hours: hours,
            dollars: hours * prices.instance_hour + self::hours(run.volume_ms) * prices.volume_hour,
            launches: run.launches,
            wakes: run.wakes,
            interrupted: run.interrupted,
            wasted_hours: self::hours(run.wasted_ms),
            regret: if clairvoyant_hours > 0.0 { hours / clairvoyant_hours - 1.0 } else { 0.0 },
            elasticity: Elasticity::of(run),
        }
    }
}

impl Elasticity {
    fn of(run: &Run) -> Elasticity {
        let mut sums = Elasticity::default();
        let mut total = 0.0;
        for pair in run.steps.windows(2) {
            let [step, next] = pair else { continue };
            let time = seconds(next.at - step.at);
            let (demand, supply) = (f64::from(step.demand), f64::from(step.in_service));
            total += time;
            if demand > supply {
                sums.time_under_percent += time;
                sums.under_provisioned_percent += time * (demand - supply) / demand;
            } else if supply > demand {
                sums.time_over_percent += time;
                sums.over_provisioned_percent += time * (supply - demand) / demand.max(1.0);
            }
        }
        let percent = |sum: f64| if total > 0.0 { 100.0 * sum / total } else { 0.0 };
        Elasticity {
            under_provisioned_percent: percent(sums.under_provisioned_percent),
            over_provisioned_percent: percent(sums.over_provisioned_percent),
            time_under_percent: percent(sums.time_under_percent),
            time_over_percent: percent(sums.time_over_percent),
        }
    }
}

/// Machine-hours of somebody who knows every job beforehand, lets none wait, and keeps a machine
/// over a gap only where that is cheaper than a boot: for each level of concurrent jobs the busy
/// time, one boot, and each gap or a boot, whichever is shorter. The minimum runs always.
#[must_use]
pub fn clairvoyant_hours(jobs: &[Job], conditions: &Conditions) -> f64 {
    let boot = i64::midpoint(conditions.boot.0, conditions.boot.1);
    let mut edges: Vec<(Ms, i32)> = Vec::with_capacity(jobs.len() * 2);
    for job in jobs {
        edges.push((job.arrival, 1));
        edges.push((job.arrival + job.duration, -1));
    }
    // An end before a beginning of the same moment: the machine is free for it.
    edges.sort_unstable();
    let end = edges.last().map_or(0, |(at, _)| *at);
    let min = usize::try_from(conditions.min).unwrap_or(0);
    let mut level: usize = 0;
    // For each level, when it was left last, and when it was entered.
    let mut left: Vec<Option<Ms>> = Vec::new();
    let mut entered: Vec<Ms> = Vec::new();
    let mut total: i64 = i64::from(conditions.min) * end;
    for (at, change) in edges {
        if change > 0 {
            level += 1;
            if left.len() < level {
                left.push(None);
                entered.push(0);
            }
            entered[level - 1] = at;
            if level > min {
                total += left[level - 1].map_or(boot, |left| (at - left).min(boot));
            }
        } else {
            if level > min {
                total += at - entered[level - 1];
            }
            left[level - 1] = Some(at);
            level -= 1;
        }
    }
    hours(total)
}

fn seconds(ms: Ms) -> f64 {
    ms as f64 / 1000.0
}

fn hours(ms: Ms) -> f64 {
    seconds(ms) / 3600.0
}

fn share(count: usize) -> f64 {
    count as f64
}
