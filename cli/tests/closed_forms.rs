//! The simulator against what can be computed by hand.

use ghfleet::simulate::figures::{Figures, Prices, clairvoyant_hours};
use ghfleet::simulate::peers::{Buildkite, Formula};
use ghfleet::simulate::world::{Conditions, Job, Run, play};

const HOUR: i64 = 3_600_000;

fn jobs(arrivals: impl IntoIterator<Item = i64>, duration: i64) -> Vec<Job> {
    arrivals.into_iter().map(|arrival| Job { arrival, duration }).collect()
}

fn figures(jobs: &[Job], run: &Run, conditions: &Conditions) -> Figures {
    Figures::of("", run, clairvoyant_hours(jobs, conditions), Prices::default())
}

fn near(value: f64, expected: f64, within: f64) {
    assert!((value - expected).abs() <= within, "{value} is not {expected} ± {within}");
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a few months")]
fn whole(ms: f64) -> i64 {
    ms as i64
}

/// Arrivals once an hour, each at another moment of the worker's two seconds.
fn hourly(count: i64) -> impl Iterator<Item = i64> {
    let mut random = fastrand::Rng::with_seed(7);
    (1..=count).map(move |n| n * HOUR + random.i64(0..60_000))
}

#[test]
fn a_job_an_hour_waits_half_a_poll_and_one_machine_runs_all_the_time() {
    let jobs = jobs(hourly(2_000), 60_000);
    let conditions = Conditions::default();
    let run = play(&jobs, &conditions, &mut Buildkite { idle: 600_000, pool: false });
    let figures = figures(&jobs, &run, &conditions);
    near(figures.wait_mean_s, 1.0, 0.05);
    near(figures.instance_hours, 2_000.0, 2.0);
    assert_eq!((figures.launches, figures.interrupted), (1, 0));
}

#[test]
fn the_second_of_two_jobs_waits_for_half_a_tick_and_a_boot() {
    let jobs = jobs(hourly(2_000).flat_map(|at| [at, at]), 300_000);
    let conditions = Conditions::default();
    let run = play(&jobs, &conditions, &mut Buildkite { idle: 600_000, pool: false });
    let figures = figures(&jobs, &run, &conditions);
    // The first waits 1 s; the second half of the 10 s between ticks, and 92.5 s of boot.
    near(figures.wait_mean_s, (1.0 + 5.0 + 92.5) / 2.0, 0.5);
    // The second is launched after half a tick; the first is idle first, and ends itself 600 s
    // after its job, which it took after 1 s.
    let both = (1.0 + 300.0 + 600.0 + 5.0 - 5.0) / 3600.0;
    near(figures.instance_hours, 2_000.0 * (1.0 + both), 2.0);
}

#[test]
fn a_fixed_fleet_is_the_m_m_5_queue() {
    // Rho 0.72: Erlang's C formula gives a mean wait of 87.9 s; polls add about a second.
    let mut random = fastrand::Rng::with_seed(11);
    let mut exponential = |mean: f64| -mean * (1.0 - random.f64()).ln();
    let service = 300_000.0;
    let mut at = 0.0;
    let jobs: Vec<Job> = (0..200_000)
        .map(|_| {
            at += exponential(service / 5.0 / 0.72);
            Job { arrival: whole(at), duration: whole(exponential(service)) + 1 }
        })
        .collect();
    let conditions = Conditions { min: 5, max: 5, boot: (0, 0), ..Conditions::default() };
    let run = play(&jobs, &conditions, &mut Buildkite { idle: 600_000, pool: false });
    let expected = erlang_c(5, 5.0 * 0.72) * service / 1000.0 / (5.0 * (1.0 - 0.72));
    near(figures(&jobs, &run, &conditions).wait_mean_s, expected + 1.0, 0.06 * expected);
}

/// The probability that a customer of an M/M/c queue with this load has to wait.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..servers {
        term *= load / f64::from(n);
        sum += term;
    }
    let last = term * load / f64::from(servers) / (1.0 - load / f64::from(servers));
    last / (sum + last)
}

#[test]
fn every_job_is_done_once_and_the_guides_formula_interrupts_running_ones() {
    let jobs = jobs((0..50).map(|n| n * 20_000), 900_000);
    let conditions = Conditions::default();
    let run = play(&jobs, &conditions, &mut Formula { counts_active: false });
    assert_eq!(run.waits.len(), 50);
    assert!(run.interrupted > 0, "the queue is empty while all run, and it ends them");
    let run = play(&jobs, &conditions, &mut Buildkite { idle: 300_000, pool: false });
    assert_eq!(run.interrupted, 0);
}

#[test]
fn the_clairvoyant_keeps_a_machine_over_a_short_gap_and_boots_after_a_long_one() {
    let conditions = Conditions { min: 0, ..Conditions::default() };
    let busy = 2.0 * 100.0;
    let short = jobs([0, 150_000], 100_000);
    near(clairvoyant_hours(&short, &conditions) * 3600.0, busy + 92.5 + 50.0, 0.1);
    let long = jobs([0, HOUR], 100_000);
    near(clairvoyant_hours(&long, &conditions) * 3600.0, busy + 2.0 * 92.5, 0.1);
}

#[test]
fn the_same_seed_plays_the_same_run() {
    let jobs = jobs((0..500).map(|n| n * 37_000), 240_000);
    let conditions = Conditions::default();
    let once = play(&jobs, &conditions, &mut Buildkite { idle: 300_000, pool: true });
    let again = play(&jobs, &conditions, &mut Buildkite { idle: 300_000, pool: true });
    assert_eq!((once.waits, once.steps), (again.waits, again.steps));
}
