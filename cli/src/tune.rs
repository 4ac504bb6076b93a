//! Which `WAIT_VALUE` fits a site's own jobs: the front of waiting against money, and a
//! recommendation that is checked on the half of the history that it was not chosen on.

use crate::simulate::figures::{Figures, Prices};
use crate::simulate::world::{Conditions, Job};
use crate::simulate::{OurSettings, Rule, compare};
use serde::Serialize;
use std::fmt::Write;

/// The values that are tried.
pub const WAIT_VALUES: [u32; 12] = [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30];

/// What the operator wants.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// The cheapest setting in which 95 of 100 jobs wait at most this many seconds.
    WaitP95(f64),
    /// The shortest mean wait for at most this many dollars a month.
    DollarsPerMonth(f64),
}

/// One setting on one history.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    pub wait_value: u32,
    pub wait_mean_s: f64,
    pub wait_p95_s: f64,
    pub dollars_per_month: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Tuning {
    pub front: Vec<Point>,
    /// `None` where no setting meets the goal; the front shows what can be had.
    pub recommended: Option<u32>,
    /// What the setting chosen on each half does on the other one.
    pub checked: Vec<Check>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub chosen_on: &'static str,
    pub wait_value: u32,
    pub on_the_other_half: Point,
    pub meets_the_goal_there: bool,
}

impl Goal {
    fn meets(self, point: &Point) -> bool {
        match self {
            Goal::WaitP95(seconds) => point.wait_p95_s <= seconds,
            Goal::DollarsPerMonth(dollars) => point.dollars_per_month <= dollars,
        }
    }

    /// The best of those that meet the goal.
    fn choose(self, front: &[Point]) -> Option<u32> {
        let cost = |point: &Point| match self {
            Goal::WaitP95(_) => point.dollars_per_month,
            Goal::DollarsPerMonth(_) => point.wait_mean_s,
        };
        let fitting = front.iter().filter(|point| self.meets(point));
        fitting.min_by(|a, b| cost(a).total_cmp(&cost(b))).map(|point| point.wait_value)
    }
}

/// Plays the history and both its halves with every value.
pub fn tune(
    jobs: &[Job],
    ours: OurSettings,
    conditions: &Conditions,
    prices: Prices,
    goal: Goal,
) -> Tuning {
    let middle = jobs.len() / 2;
    let halves = [&jobs[..middle], &jobs[middle..]].map(from_zero);
    let [front, first, second] = std::thread::scope(|threads| {
        [jobs, &halves[0], &halves[1]]
            .map(|jobs| threads.spawn(move || self::front(jobs, ours, conditions, prices)))
            .map(|thread| thread.join().expect("a simulation does not panic"))
    });
    let check = |chosen_on, chosen: &[Point], other: &[Point]| {
        let wait_value = goal.choose(chosen)?;
        let there = other.iter().find(|point| point.wait_value == wait_value)?.clone();
        let meets_the_goal_there = goal.meets(&there);
        Some(Check { chosen_on, wait_value, on_the_other_half: there, meets_the_goal_there })
    };
    let checked =
        [check("the first half", &first, &second), check("the second half", &second, &first)];
    Tuning {
        recommended: goal.choose(&front),
        front,
        checked: checked.into_iter().flatten().collect(),
    }
}

fn from_zero(jobs: &[Job]) -> Vec<Job> {
    let start = jobs.first().map_or(0, |job| job.arrival);
    jobs.iter().map(|job| Job { arrival: job.arrival - start, ..*job }).collect()
}

fn front(jobs: &[Job], ours: OurSettings, conditions: &Conditions, prices: Prices) -> Vec<Point> {
    let days = jobs.last().map_or(0.0, |job| job.arrival as f64 / 86_400_000.0).max(1.0 / 24.0);
    let point = |wait_value| {
        let ours = OurSettings { wait_value, ..ours };
        let compared = compare(jobs, &[Rule::Ours], ours, conditions, |_| {});
        compared.figures(prices).first().map(|row: &Figures| Point {
            wait_value,
            wait_mean_s: row.wait_mean_s,
            wait_p95_s: row.wait_p95_s,
            dollars_per_month: row.dollars / days * 365.0 / 12.0,
        })
    };
    WAIT_VALUES.into_iter().filter_map(point).collect()
}

/// The front and the recommendation for people.
#[must_use]
pub fn render(tuning: &Tuning) -> String {
    let mut text = "WAIT_VALUE   mean wait         P95   dollars a month\n".to_owned();
    for point in &tuning.front {
        let mark =
            if tuning.recommended == Some(point.wait_value) { " <- recommended" } else { "" };
        writeln!(
            text,
            "{:>10}{:>10.1} s{:>10.0} s{:>18.2}{mark}",
            point.wait_value, point.wait_mean_s, point.wait_p95_s, point.dollars_per_month
        )
        .expect("writing to a string cannot fail");
    }
    if tuning.recommended.is_none() {
        text.push_str("No setting meets the goal; the table shows what can be had.\n");
    }
    for check in &tuning.checked {
        let Check { chosen_on, wait_value, on_the_other_half: there, .. } = check;
        let result = if check.meets_the_goal_there { "meets" } else { "misses" };
        writeln!(
            text,
            "Chosen on {chosen_on}: WAIT_VALUE={wait_value}; on the other half it {result} the goal \
             with a P95 of {:.0} s and {:.2} dollars a month.",
            there.wait_p95_s, there.dollars_per_month
        )
        .expect("as above");
    }
    text
}
