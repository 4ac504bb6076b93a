//! How many machines beyond the need pay for themselves: as many as the need rose, within the time
//! that a new machine takes, in `100 - 100 / wait_value` of a hundred moments of the last hour.

use super::Policy;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// The moments that a rise is measured from are at least this far apart, and at least a twentieth
/// of the time that a rise is looked for.
const STEP_MS: i64 = 5_000;
/// One tick of ten seconds, after which a rise can be answered at all.
const TICK_MS: i64 = 10_000;
const HOUR_MS: i64 = 3_600_000;
/// The last hour is kept in twelfths, each with the rises seen in it.
const BUCKET_MS: i64 = HOUR_MS / 12;
/// Different rises kept of each twelfth; more are merged upwards, which keeps rather one machine
/// more than one less.
const RISES: usize = 8;
/// Moments whose rise is still being measured.
const OPEN: usize = 24;

/// What the spare is computed from. In JSON two arrays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpareMemory {
    /// Moments of the last provisioning time: when, the need then, the highest need since.
    #[serde(rename = "o", default)]
    open: Vec<(UnixMs, u32, u32)>,
    /// Twelfths of an hour since 1970, with rise and how often it was seen, rises ascending.
    #[serde(rename = "r", default)]
    rises: Vec<(i64, Vec<(u32, u32)>)>,
}

impl SpareMemory {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.rises.is_empty()
    }

    /// Takes note of the need at `now`. `provision_s`: how long a machine takes to come.
    pub fn observe(&mut self, need: u32, provision_s: u32, now: UnixMs) {
        let window_ms = i64::from(provision_s) * 1000 + TICK_MS;
        self.open.retain(|(at, ..)| (0..=2 * window_ms).contains(&now.since(*at)));
        for (_, _, peak) in &mut self.open {
            *peak = need.max(*peak);
        }
        let ended = self.open.partition_point(|(at, ..)| now.since(*at) >= window_ms);
        for (_, base, peak) in self.open.drain(..ended) {
            let bucket = now.0.div_euclid(BUCKET_MS);
            note(&mut self.rises, bucket, peak - base.min(peak));
        }
        if self.open.last().is_none_or(|(at, ..)| now.since(*at) >= STEP_MS.max(window_ms / 20)) {
            self.open.push((now, need, need));
            let beyond = self.open.len().saturating_sub(OPEN);
            self.open.drain(..beyond);
        }
        let oldest = (now.0 - HOUR_MS).div_euclid(BUCKET_MS);
        let newest = now.0.div_euclid(BUCKET_MS);
        self.rises.retain(|(bucket, _)| (oldest..=newest).contains(bucket));
    }

    /// The smallest number of spare machines that covers the share of rises that `wait_value` asks
    /// for; none for 0 and 1.
    #[must_use]
    pub fn spare(&self, policy: &Policy) -> u32 {
        if policy.wait_value <= 1 {
            return 0;
        }
        let percent = u64::from(100 - 100 / policy.wait_value);
        let mut counts: Vec<(u32, u64)> = self
            .rises
            .iter()
            .flat_map(|(_, rises)| rises.iter().map(|(rise, seen)| (*rise, u64::from(*seen))))
            .collect();
        counts.sort_unstable();
        let total: u64 = counts.iter().map(|(_, seen)| seen).sum();
        let mut covered = 0;
        for (rise, seen) in counts {
            covered += seen;
            if 100 * covered > percent * total {
                return rise;
            }
        }
        0
    }
}

fn note(rises: &mut Vec<(i64, Vec<(u32, u32)>)>, bucket: i64, rise: u32) {
    if rises.last().is_none_or(|(last, _)| *last != bucket) {
        rises.push((bucket, Vec::new()));
    }
    let Some((_, seen)) = rises.last_mut() else { return };
    match seen.binary_search_by_key(&rise, |(rise, _)| *rise) {
        Ok(at) => seen[at].1 = seen[at].1.saturating_add(1),
        Err(at) => seen.insert(at, (rise, 1)),
    }
    if seen.len() > RISES {
        // The two closest become the higher of them.
        let closest = (1..seen.len()).min_by_key(|at| seen[*at].0 - seen[at - 1].0);
        if let Some(at) = closest {
            let (_, count) = seen.remove(at - 1);
            seen[at - 1].1 = seen[at - 1].1.saturating_add(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(wait_value: u32) -> Policy {
        Policy { wait_value, ..Policy::default() }
    }

    /// An hour of ticks every ten seconds in which every fifth rises by two within the window.
    fn an_hour() -> SpareMemory {
        let mut memory = SpareMemory::default();
        for tick in 0..360_i64 {
            let need = if tick % 25 < 5 { 5 } else { 3 };
            memory.observe(need, 30, UnixMs(1_764_000_000_000 + tick * 10_000));
        }
        memory
    }

    #[test]
    fn as_many_are_spare_as_cover_the_share_of_rises_that_a_wait_is_worth() {
        let memory = an_hour();
        // Four ticks of twenty-five see the rise coming: 84 % of the moments saw none.
        assert_eq!(memory.spare(&policy(0)), 0);
        assert_eq!(memory.spare(&policy(1)), 0);
        assert_eq!(memory.spare(&policy(6)), 0, "84 % cover {} %", 100 - 100 / 6);
        assert_eq!(memory.spare(&policy(10)), 2);
        assert_eq!(SpareMemory::default().spare(&policy(10)), 0);
    }

    #[test]
    fn an_hour_later_it_is_forgotten_and_it_never_grows() {
        let mut memory = an_hour();
        for tick in 0..400_i64 {
            memory.observe(3, 30, UnixMs(1_764_003_600_000 + tick * 10_000));
        }
        assert_eq!(memory.spare(&policy(100)), 0);
        for tick in 0..4_000_i64 {
            let need = u32::try_from(tick * 7919 % 1000).unwrap();
            memory.observe(need, 95, UnixMs(1_764_007_600_000 + tick * 1_000));
        }
        let text = serde_json::to_string(&memory).unwrap();
        assert!(text.len() < 2_000, "{} bytes", text.len());
    }

    #[test]
    fn a_clock_that_goes_back_starts_anew() {
        let mut memory = an_hour();
        memory.observe(3, 30, UnixMs(0));
        assert_eq!(memory.spare(&policy(100)), 0);
    }
}
