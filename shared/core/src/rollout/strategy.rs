//! How fast a rollout goes and when it stops, in the numbers that SSM's rate control takes.

use fleet_protocol::rollout_order::Strategy;
use serde::{Deserialize, Serialize};

/// One host's turn, retries included: a job's end is waited for, the image is pulled, and the new
/// container proves itself.
const TURN_S: u32 = 1200;
/// The least and the most that one command may take as a whole; SSM takes two days.
const WHOLE_S: (u32, u32) = (3600, 172_800);

/// What SSM is told. Numbers and not percentages: AWS rounds the two limits in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Hosts at a time. SSM begins with one and doubles up to this.
    pub max_concurrency: u32,
    /// The error after this many stops what has not begun.
    pub max_errors: u32,
    /// How long the command may take as a whole: SSM counts waiting hosts in.
    pub whole_s: u32,
}

impl Pace {
    /// The numbers for so many hosts. Never all of them at a time, unless there is one or all at
    /// once is what was asked for.
    pub fn of(strategy: Strategy, hosts: u32) -> Pace {
        let hosts = hosts.max(1);
        let half = hosts.div_ceil(2).min((hosts - 1).max(1));
        let (max_concurrency, max_errors) = match strategy {
            Strategy::Canary | Strategy::HalfAtATime => (half, 0),
            Strategy::OneAtATime => (1, 0),
            Strategy::AllAtOnce => (hosts, hosts),
        };
        let whole_s = waves(hosts, max_concurrency).saturating_mul(TURN_S);
        Pace { max_concurrency, max_errors, whole_s: whole_s.clamp(WHOLE_S.0, WHOLE_S.1) }
    }
}

/// The choice in words.
pub fn explain(strategy: Strategy, hosts: u32) -> String {
    let Pace { max_concurrency: most, .. } = Pace::of(strategy, hosts);
    match strategy {
        Strategy::Canary => format!(
            "one host first, then twice as many each time, at most {most} of {hosts} at a time; the first failure stops the rest"
        ),
        Strategy::HalfAtATime => format!(
            "at most {most} of {hosts} hosts at a time, the first one alone; the first failure stops the rest"
        ),
        Strategy::OneAtATime => {
            format!("{hosts} hosts one after another; the first failure stops the rest")
        }
        Strategy::AllAtOnce => {
            format!("all {hosts} hosts without a stop, whatever the others come to")
        }
    }
}

/// SSM's ramp: one host, two, four, … until the limit is reached.
fn waves(hosts: u32, limit: u32) -> u32 {
    let (mut left, mut wave, mut count) = (hosts, 1, 0);
    while left > 0 && wave < limit {
        left = left.saturating_sub(wave);
        wave = wave.saturating_mul(2).min(limit);
        count += 1;
    }
    count + left.div_ceil(limit.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(strategy: Strategy, hosts: u32) -> (u32, u32) {
        let pace = Pace::of(strategy, hosts);
        (pace.max_concurrency, pace.max_errors)
    }

    #[test]
    fn never_all_hosts_at_a_time_unless_that_was_asked_for() {
        for hosts in 2..=200 {
            for strategy in [Strategy::Canary, Strategy::OneAtATime, Strategy::HalfAtATime] {
                let (most, errors) = numbers(strategy, hosts);
                assert!((1..hosts).contains(&most), "{strategy} of {hosts}");
                assert_eq!(errors, 0);
            }
        }
        assert_eq!(numbers(Strategy::Canary, 1), (1, 0));
        assert_eq!(numbers(Strategy::Canary, 10), (5, 0));
        assert_eq!(numbers(Strategy::Canary, 3), (2, 0));
        assert_eq!(numbers(Strategy::Canary, 2), (1, 0));
        assert_eq!(numbers(Strategy::AllAtOnce, 10), (10, 10));
    }

    #[test]
    fn the_whole_command_outlasts_its_waves() {
        assert_eq!(waves(10, 5), 4);
        assert_eq!(waves(50, 1), 50);
        assert_eq!(waves(1, 1), 1);
        assert_eq!(Pace::of(Strategy::Canary, 10).whole_s, 4 * TURN_S);
        assert_eq!(Pace::of(Strategy::OneAtATime, 1).whole_s, 3600);
        assert_eq!(Pace::of(Strategy::OneAtATime, 1000).whole_s, 172_800);
    }
}
