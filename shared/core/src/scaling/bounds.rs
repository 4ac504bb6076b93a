//! Between how many and how many workers there may be.

use super::{Group, Overrides, Policy};
use serde::{Deserialize, Serialize};

/// The configured bounds, narrowed by the group's own and raised by a floor somebody set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub min: u32,
    pub max: u32,
    /// The part of `min` that a floor override asked for, if it is what binds.
    pub floor: Option<u32>,
}

impl Bounds {
    /// `None` where the configuration and the group have no number in common.
    #[must_use]
    pub fn of(policy: &Policy, group: &Group, overrides: &Overrides) -> Option<Bounds> {
        Bounds::within(policy.min, policy.max, group, overrides)
    }

    /// The same, by the two settings that matter for it.
    #[must_use]
    pub fn within(min: u32, max: u32, group: &Group, overrides: &Overrides) -> Option<Bounds> {
        let min = min.max(group.min);
        let max = max.min(group.max);
        if min > max {
            return None;
        }
        let floor = overrides.floor.map(|floor| floor.value.min(max)).filter(|floor| *floor > min);
        Some(Bounds { min: floor.unwrap_or(min), max, floor })
    }

    #[must_use]
    pub fn clamp(&self, workers: u32) -> u32 {
        workers.clamp(self.min, self.max)
    }
}
