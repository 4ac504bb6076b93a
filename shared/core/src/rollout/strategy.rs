//! How fast a rollout goes: how many hosts may hold an unfinished order at a time, and how many of
//! them have to prove the version before the stable pointer moves.
//!
//! SSM's own rate control is not used for that: by some of AWS's pages it goes on as soon as a host
//! acknowledges a command, which says nothing about the version.

use super::Judging;
use fleet_protocol::rollout_order::Strategy;
use serde::{Deserialize, Serialize};

/// Hosts that prove a version before the stable pointer moves in a canary rollout: the first one
/// and the two after it.
const CANARIES: u32 = 3;

/// The share of the fleet, in percent, whose intake may be closed by a rollout at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(pub u32);

impl Default for Share {
    fn default() -> Self {
        Share(50)
    }
}

/// What the operator sets once for every rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub share: Share,
    /// The longest time that a job may take, in seconds: the drain's own setting.
    pub job_limit_s: u32,
    #[serde(default)]
    pub judging: Judging,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { share: Share::default(), job_limit_s: 4 * 3600, judging: Judging::default() }
    }
}

impl Share {
    /// The hosts that are this share of so many: at least one, and not all of several unless the
    /// share is the whole.
    #[must_use]
    pub fn of(self, hosts: u32) -> u32 {
        let share = u64::from(hosts) * u64::from(self.0.min(100)) / 100;
        let share = u32::try_from(share).unwrap_or(hosts);
        let most = if self.0 >= 100 { hosts } else { hosts.saturating_sub(1) };
        share.min(most).max(1)
    }
}

/// The most hosts that may hold an unfinished order, once `proven` of `hosts` have proven the
/// version. Before the first proof that is one, unless all at once is what was asked for.
#[must_use]
pub fn window(strategy: Strategy, hosts: u32, proven: u32, share: Share) -> u32 {
    match strategy {
        Strategy::AllAtOnce => hosts.max(1),
        Strategy::OneAtATime => 1,
        _ if proven == 0 => 1,
        // 2 after one proof, 4 after three, 8 after seven.
        Strategy::Canary => share.of(hosts).min(1 << (proven.saturating_add(1)).ilog2().min(16)),
        Strategy::HalfAtATime => share.of(hosts),
    }
}

/// How many of `hosts` have to prove the version before new instances boot to it.
#[must_use]
pub fn enough(strategy: Strategy, hosts: u32) -> u32 {
    match strategy {
        Strategy::Canary => hosts.min(CANARIES),
        Strategy::HalfAtATime => hosts.div_ceil(2),
        Strategy::OneAtATime | Strategy::AllAtOnce => hosts,
    }
    .max(1)
}

/// The choice in words.
#[must_use]
pub fn explain(strategy: Strategy, hosts: u32, share: Share) -> String {
    let most = share.of(hosts);
    let enough = enough(strategy, hosts);
    let rest = "each host swaps when its running job ends; the first failure sends every host back";
    match strategy {
        Strategy::Canary => format!(
            "one host of {hosts} first and alone, then 2, 4, …, at most {most} at a time; new instances boot to the version once {enough} hosts have proven it; {rest}"
        ),
        Strategy::HalfAtATime => format!(
            "one host of {hosts} first and alone, then at most {most} at a time; new instances boot to the version once {enough} hosts have proven it; {rest}"
        ),
        Strategy::OneAtATime => {
            format!("{hosts} hosts one after another; {rest}")
        }
        Strategy::AllAtOnce => format!("all {hosts} hosts at once, without a canary; {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host_is_alone_and_never_all_hosts_are_at_it() {
        let share = Share::default();
        for hosts in 2..=200 {
            for strategy in [Strategy::Canary, Strategy::OneAtATime, Strategy::HalfAtATime] {
                assert_eq!(window(strategy, hosts, 0, share), 1, "{strategy} of {hosts}");
                for proven in 1..hosts {
                    let window = window(strategy, hosts, proven, share);
                    assert!((1..hosts).contains(&window), "{strategy} of {hosts}");
                }
            }
            assert_eq!(window(Strategy::AllAtOnce, hosts, 0, share), hosts);
        }
        assert_eq!(window(Strategy::Canary, 1, 0, share), 1);
    }

    #[test]
    fn a_canary_is_followed_by_two_and_four_up_to_the_share() {
        let windows: Vec<u32> = [0, 1, 2, 3, 6, 7, 15, 40]
            .map(|proven| window(Strategy::Canary, 50, proven, Share(50)))
            .into();
        assert_eq!(windows, [1, 2, 2, 4, 4, 8, 16, 25]);
        assert_eq!(window(Strategy::Canary, 50, 40, Share(10)), 5);
    }

    #[test]
    fn a_share_is_at_least_one_host_and_all_only_where_that_was_said() {
        let of = |percent, hosts| Share(percent).of(hosts);
        assert_eq!([of(50, 1), of(50, 2), of(50, 3), of(50, 10)], [1, 1, 1, 5]);
        assert_eq!([of(0, 9), of(1, 9), of(99, 2), of(100, 2), of(900, 7)], [1, 1, 1, 2, 7]);
    }

    #[test]
    fn the_pointer_waits_for_as_many_hosts_as_the_strategy_says() {
        let enough = |hosts| Strategy::ALL.map(|strategy| enough(strategy, hosts));
        assert_eq!(enough(1), [1, 1, 1, 1]);
        assert_eq!(enough(10), [3, 10, 5, 10]);
    }
}
