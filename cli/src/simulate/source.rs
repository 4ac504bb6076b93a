//! Where jobs come from: a CSV file, or a generator with a seed.

use super::world::{Job, Ms};
use std::path::Path;

/// The longest job that is read; a longer one is an error, not a job that never ends.
const LONGEST_S: f64 = 7.0 * 86_400.0;

/// Reads `arrival_s,duration_s`, one job a line, with a header or without.
///
/// # Errors
/// The file and line that cannot be read, and what a line looks like.
pub fn from_csv(path: &Path) -> Result<Vec<Job>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    parse_csv(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The same from text.
///
/// # Errors
/// The line that cannot be read, and what a line looks like.
pub fn parse_csv(text: &str) -> Result<Vec<Job>, String> {
    let mut jobs = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || (at == 0 && line.starts_with(|c: char| c.is_alphabetic())) {
            continue;
        }
        let numbers = line.split_once(',').and_then(|(arrival, duration)| {
            Some((arrival.trim().parse().ok()?, duration.trim().parse().ok()?))
        });
        let job = numbers.and_then(|(arrival, duration)| job(arrival, duration));
        jobs.push(job.ok_or_else(|| {
            format!(
                "line {} is {line:?}: write arrival_s,duration_s, two numbers of seconds that are \
                 not negative, with a duration of at most {LONGEST_S} s",
                at + 1
            )
        })?);
    }
    if jobs.is_empty() {
        return Err("it holds no job".to_owned());
    }
    jobs.sort_by_key(|job| job.arrival);
    Ok(jobs)
}

fn job(arrival: f64, duration: f64) -> Option<Job> {
    let fits = (0.0..1e9).contains(&arrival) && (0.0..=LONGEST_S).contains(&duration);
    fits.then(|| Job { arrival: ms(arrival), duration: ms(duration).max(1) })
}

/// Whole milliseconds of a number of seconds that is known to be small.
#[expect(clippy::cast_possible_truncation, reason = "checked to be below 1e9 s")]
fn ms(seconds: f64) -> Ms {
    (seconds * 1000.0).round() as Ms
}

/// A kind of load that can be made without a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Quiet nights, busy days, and bursts of ten to forty jobs.
    Bursty,
    /// Nine jobs running on average, at any hour.
    Steady,
    /// A job now and then.
    Quiet,
    /// Few jobs that take long.
    Long,
}

impl Shape {
    /// Jobs of `days` days by this seed: the same ones each time.
    #[must_use]
    pub fn jobs(self, days: u32, seed: u64) -> Vec<Job> {
        let mut random = fastrand::Rng::with_seed(seed);
        let end = f64::from(days) * 86_400.0;
        let mut jobs = Vec::new();
        let mut at = 0.0;
        loop {
            let hour = (at / 3600.0) % 24.0;
            let by_day = 0.15 + 0.85 * (std::f64::consts::PI * (hour - 3.0) / 24.0).sin().powi(2);
            let (gap, mean_s, burst) = match self {
                Shape::Bursty => (240.0 / by_day, 240.0, random.f64() < 0.02),
                Shape::Steady => (33.0, 300.0, false),
                Shape::Quiet => (1_200.0 / by_day, 240.0, false),
                Shape::Long => (1_000.0 / by_day, 1_500.0, false),
            };
            at += exponential(&mut random, gap);
            if at >= end {
                break;
            }
            let count = if burst { random.u32(10..=40) } else { 1 };
            for _ in 0..count {
                let duration = exponential(&mut random, mean_s).clamp(5.0, 1_800.0);
                jobs.extend(job(at, duration));
            }
        }
        jobs
    }
}

fn exponential(random: &mut fastrand::Rng, mean: f64) -> f64 {
    -mean * (1.0 - random.f64()).ln()
}
