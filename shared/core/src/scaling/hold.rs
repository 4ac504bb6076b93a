//! For how long capacity that is no longer needed is kept, level by level.
//!
//! The first spare worker is likely to be needed again soon, the tenth is not: level `k` is held
//! for `max(hold_min, boot * (1 + wait_value) / 2^(k - needed - 1))`, which is the ski-rental
//! break-even for the first spare level and decays with depth (`autoscaling.md` 6.2 with g = 1/2,
//! in integers).

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
    /// For how long it has not been needed.
    pub unneeded_ms: i64,
    pub hold_ms: i64,
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

    /// Whether `level`, which is above the `needed` ones, is still held.
    pub fn held(&self, policy: &Policy, needed: u32, level: u32, now: UnixMs) -> Option<Held> {
        let unneeded_ms = now.since(self.last_needed(level)?).max(0);
        let hold_ms = hold_ms(policy, level.saturating_sub(needed));
        (unneeded_ms < hold_ms).then_some(Held { unneeded_ms, hold_ms })
    }

    /// Forgets levels that no hold could reach any more, so that the memory stays small.
    pub fn prune(&mut self, policy: &Policy, now: UnixMs) {
        let longest = hold_ms(policy, 1);
        self.0.retain(|(_, at)| now.since(*at) < longest);
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

/// How long the `depth`-th level above what is needed is kept; depth counts from 1.
fn hold_ms(policy: &Policy, depth: u32) -> i64 {
    if policy.wait_value == 0 {
        return 0;
    }
    let first = i64::from(policy.boot_s) * (1 + i64::from(policy.wait_value)) * 1000;
    let decayed = first >> depth.saturating_sub(1).min(62);
    decayed.max(i64::from(policy.hold_min_s) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn policy(wait_value: u32) -> Policy {
        Policy {
            min: 1,
            max: 10,
            jobs_per_worker: NonZeroU32::MIN,
            wait_value,
            boot_s: 95,
            hold_min_s: 60,
            idle_confirm_s: 20,
        }
    }

    #[test]
    fn the_first_spare_level_is_held_for_the_break_even_and_deeper_ones_for_half_as_long_each() {
        let holds: Vec<i64> = (1..=6).map(|depth| hold_ms(&policy(5), depth) / 1000).collect();
        assert_eq!(holds, [570, 285, 142, 71, 60, 60]);
        assert_eq!(hold_ms(&policy(0), 1), 0, "0 keeps to the seed's formula");
    }

    #[test]
    fn levels_are_released_from_the_top() {
        let mut memory = HoldMemory::default();
        memory.touch(5, UnixMs(0));
        let released_after_s = |level: u32| {
            (0..1000)
                .find(|s| memory.held(&policy(5), 1, level, UnixMs(s * 1000)).is_none())
                .expect("every hold ends")
        };
        assert_eq!([5, 4, 3, 2].map(released_after_s), [72, 143, 285, 570]);
    }

    #[test]
    fn a_need_in_between_renews_the_levels_below_it_only() {
        let mut memory = HoldMemory::default();
        memory.touch(4, UnixMs(0));
        memory.touch(2, UnixMs(100_000));
        assert_eq!(memory.last_needed(2), Some(UnixMs(100_000)));
        assert_eq!(memory.last_needed(3), Some(UnixMs(0)));
        assert_eq!(memory.last_needed(5), None);
        memory.prune(&policy(5), UnixMs(570_000));
        assert_eq!(memory.last_needed(3), None, "no hold reaches back to it");
    }

    #[test]
    fn a_clock_that_went_back_releases_nothing() {
        let mut memory = HoldMemory::default();
        memory.touch(3, UnixMs(1_000_000));
        let held = memory.held(&policy(5), 1, 3, UnixMs(0)).expect("still held");
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
