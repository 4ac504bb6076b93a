//! How long a machine of this group takes from its launch to its first job, learned from the ones
//! that came.

use super::Policy;
use super::workers::Fleet;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Launches that are kept, and launches from which on they count.
const SAMPLES: usize = 16;
const ENOUGH: usize = 5;
/// Launches that are watched at a time.
const WATCHED: usize = 8;
/// What a boot time can be, in seconds. A launch that takes longer is not one of a boot.
const SHORTEST_S: u32 = 30;
const LONGEST_S: u32 = 600;

/// The launches under way and how long the last ones took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootMemory {
    /// Instances that boot, and when they were first seen to.
    #[serde(rename = "p", default)]
    booting: Vec<(InstanceId, UnixMs)>,
    /// Seconds of the last launches, oldest first.
    #[serde(rename = "s", default)]
    samples: Vec<u32>,
}

impl BootMemory {
    pub(super) fn is_empty(&self) -> bool {
        self.booting.is_empty() && self.samples.is_empty()
    }

    /// Takes note of who boots, and of who can take a job now.
    pub(super) fn observe(&mut self, fleet: &Fleet<'_>, now: UnixMs) {
        self.booting.retain(|(id, since)| {
            let took_s = now.since(*since) / 1000;
            let Some(work) = fleet.iter().find(|work| work.instance.id == *id) else {
                return false;
            };
            if work.takes_jobs || work.fresh_jobs > 0 {
                self.samples.push(u32::try_from(took_s).unwrap_or(0));
                return false;
            }
            !work.leaving && (0..i64::from(LONGEST_S)).contains(&took_s)
        });
        let beyond = self.samples.len().saturating_sub(SAMPLES);
        self.samples.drain(..beyond);
        for work in fleet.iter().filter(|work| work.instance.lifecycle.is_booting()) {
            let id = &work.instance.id;
            if self.booting.len() < WATCHED && !self.booting.iter().any(|(known, _)| known == id) {
                self.booting.push((id.clone(), now));
            }
        }
    }

    /// The time within which nine of ten launches were done; the setting until enough were seen.
    #[must_use]
    pub fn boot_s(&self, policy: &Policy) -> u32 {
        if self.samples.len() < ENOUGH {
            return policy.boot_s;
        }
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() * 9).div_ceil(10) - 1].clamp(SHORTEST_S, LONGEST_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_serves_until_enough_launches_were_seen_and_then_nine_of_ten_are_covered() {
        let policy = Policy { boot_s: 95, ..Policy::default() };
        let of = |samples: &[u32]| {
            BootMemory { samples: samples.to_vec(), ..BootMemory::default() }.boot_s(&policy)
        };
        assert_eq!(of(&[]), 95);
        assert_eq!(of(&[10, 10, 10, 10]), 95);
        assert_eq!(of(&[50, 60, 40, 70, 45]), 70);
        assert_eq!(of(&[50, 60, 40, 70, 45, 41, 42, 43, 44, 300]), 70, "one of ten may be slow");
        assert_eq!(of(&[1; 16]), SHORTEST_S);
        assert_eq!(of(&[5_000; 16]), LONGEST_S);
    }
}
