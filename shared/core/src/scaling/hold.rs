//! For how long capacity that is no longer needed is kept, level by level.
//!
//! The first spare worker is likely to be needed again soon, the tenth is not: the `n`-th level
//! above the need is kept for `max(hold_min, run_hold / 2^(n-1))` after it was last needed.

use super::Policy;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// When each level of capacity was last needed. Levels are needed from the bottom up, so the
/// moments never grow with the level, and a staircase of `(highest level, moment)` holds them all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldMemory(Vec<(u32, UnixMs)>);

/// A level that is still kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub level: u32,
    /// For how long it has not been needed.
    pub unneeded_ms: i64,
    pub hold_ms: i64,
}

/// The lengths of holds at one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTimes {
    /// Of the first level above the need.
    run_hold_s: u32,
    min_s: u32,
    /// Of a stopped machine of any level; 0 without the stopped tier.
    stop_hold_s: u32,
}

impl HoldTimes {
    /// `boot_s`: how long a machine takes to boot.
    #[must_use]
    pub fn of(policy: &Policy, boot_s: u32) -> HoldTimes {
        let run_hold_s = policy.run_hold_s(boot_s);
        HoldTimes {
            run_hold_s,
            min_s: if run_hold_s == 0 { 0 } else { policy.hold_min_s },
            stop_hold_s: if policy.stopped_tier { policy.stop_hold_s(boot_s) } else { 0 },
        }
    }

    /// How long the `depth`-th level above what is needed is kept; depth counts from 1.
    fn hold_ms(self, depth: u32) -> i64 {
        let decayed = (i64::from(self.run_hold_s) * 1000) >> depth.saturating_sub(1).min(62);
        decayed.max(i64::from(self.min_s) * 1000)
    }

    fn longest_ms(self) -> i64 {
        self.hold_ms(1).max(i64::from(self.stop_hold_s) * 1000)
    }
}

impl HoldMemory {
    /// Every level up to `level` is needed at `now`.
    pub fn touch(&mut self, level: u32, now: UnixMs) {
        self.0.retain(|(top, _)| *top > level);
        if level > 0 {
            self.0.insert(0, (level, now));
        }
        // A clock that went back would break the staircase: nothing was needed later than now.
        for step in &mut self.0 {
            step.1 = step.1.min(now);
        }
    }

    fn last_needed(&self, level: u32) -> Option<UnixMs> {
        self.0.iter().find(|(top, _)| *top >= level).map(|(_, at)| *at)
    }

    /// The highest level above `out` and up to `level` that is still held. `need`: the levels that
    /// are needed, from which depths count.
    #[must_use]
    pub fn held(
        &self,
        times: HoldTimes,
        need: u32,
        out: u32,
        level: u32,
        now: UnixMs,
    ) -> Option<Held> {
        (out.saturating_add(1)..=level).rev().find_map(|level| {
            let unneeded_ms = now.since(self.last_needed(level)?).max(0);
            let hold_ms = times.hold_ms(level.saturating_sub(need));
            (unneeded_ms < hold_ms).then_some(Held { level, unneeded_ms, hold_ms })
        })
    }

    /// The highest level that is worth a stopped machine.
    #[must_use]
    pub fn prepared(&self, times: HoldTimes, now: UnixMs) -> u32 {
        let stop_hold_ms = i64::from(times.stop_hold_s) * 1000;
        let kept = self.0.iter().filter(|(_, at)| now.since(*at) < stop_hold_ms);
        kept.map(|(top, _)| *top).max().unwrap_or(0)
    }

    /// Forgets levels that no hold could reach any more, so that the memory stays small.
    pub fn prune(&mut self, times: HoldTimes, now: UnixMs) {
        self.0.retain(|(_, at)| now.since(*at) < times.longest_ms());
    }

    /// Merges the oldest steps until at most `steps` are left; a merged level counts as needed at
    /// the later moment, so capacity is kept rather a little longer than less.
    pub fn shorten(&mut self, steps: usize) {
        while self.0.len() > steps.max(1) {
            if let Some((top, _)) = self.0.pop()
                && let Some(last) = self.0.last_mut()
            {
                last.0 = top;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(wait_value: u32) -> HoldTimes {
        HoldTimes::of(&Policy { wait_value, hold_min_s: 60, ..Policy::default() }, 95)
    }

    /// Until when each level above the one that is needed is held, in seconds.
    fn released_after_s(memory: &HoldMemory, level: u32) -> i64 {
        (0..1000)
            .find(|s| memory.held(times(5), 1, level - 1, level, UnixMs(s * 1000)).is_none())
            .expect("every hold ends")
    }

    #[test]
    fn the_first_spare_level_is_held_for_the_break_even_and_deeper_ones_for_half_as_long_each() {
        let holds: Vec<i64> = (1..=6).map(|depth| times(5).hold_ms(depth) / 1000).collect();
        assert_eq!(holds, [570, 285, 142, 71, 60, 60]);
        assert_eq!(times(0).hold_ms(1), 0, "0 keeps to the seed's formula");
    }

    #[test]
    fn with_a_stopped_tier_a_level_runs_for_the_wake_time_and_is_stopped_for_hours() {
        let policy = Policy { stopped_tier: true, ..Policy::default() };
        let times = HoldTimes::of(&policy, 95);
        assert_eq!(times.hold_ms(1) / 1000, 210);
        assert_eq!(times.stop_hold_s, 8584, "policy.md, section 3");
        let mut memory = HoldMemory::default();
        memory.touch(7, UnixMs(0));
        memory.touch(3, UnixMs(1_000_000));
        memory.prune(times, UnixMs(8_583_000));
        assert_eq!(memory.prepared(times, UnixMs(8_583_000)), 7);
        assert_eq!(memory.prepared(times, UnixMs(8_584_000)), 3);
    }

    #[test]
    fn levels_are_released_from_the_top() {
        let mut memory = HoldMemory::default();
        memory.touch(5, UnixMs(0));
        assert_eq!([5, 4, 3, 2].map(|level| released_after_s(&memory, level)), [72, 143, 285, 570]);
        let held = memory.held(times(5), 1, 1, 5, UnixMs(100_000)).expect("4 is held");
        assert_eq!((held.level, held.hold_ms), (4, 142_500), "the highest that is still held");
    }

    #[test]
    fn a_need_in_between_renews_the_levels_below_it_only() {
        let mut memory = HoldMemory::default();
        memory.touch(4, UnixMs(0));
        memory.touch(2, UnixMs(100_000));
        assert_eq!(memory.last_needed(2), Some(UnixMs(100_000)));
        assert_eq!(memory.last_needed(3), Some(UnixMs(0)));
        assert_eq!(memory.last_needed(5), None);
        memory.prune(times(5), UnixMs(570_000));
        assert_eq!(memory.last_needed(3), None, "no hold reaches back to it");
    }

    #[test]
    fn a_clock_that_went_back_releases_nothing() {
        let mut memory = HoldMemory::default();
        memory.touch(3, UnixMs(1_000_000));
        let held = memory.held(times(5), 1, 1, 3, UnixMs(0)).expect("still held");
        assert_eq!(held.unneeded_ms, 0);
    }

    #[test]
    fn shortening_keeps_every_level() {
        let mut memory = HoldMemory::default();
        for (level, at) in [(9, 1), (7, 2), (5, 3), (3, 4)] {
            memory.touch(level, UnixMs(at));
        }
        memory.shorten(2);
        assert_eq!(memory.last_needed(9), Some(UnixMs(3)));
        assert_eq!(memory.last_needed(3), Some(UnixMs(4)));
    }
}
