//! What the site wants: the settings a decision depends on.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// Settings of the scaling policy. The configuration layer has validated them: `min <= max`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `AUTOSCALE_MIN` and `AUTOSCALE_MAX`; the group's own bounds narrow them further.
    pub min: u32,
    pub max: u32,
    /// `JOBS_PER_WORKER`: how many jobs one worker runs at a time.
    pub jobs_per_worker: NonZeroU32,
    /// `WAIT_VALUE`: how many instance-seconds one second of a job's waiting is worth. 0 keeps to
    /// the seed's formula: nothing is held.
    pub wait_value: u32,
    /// Seconds from a launch to the first job it can take.
    pub boot_s: u32,
    /// No level of capacity is given back before it was unneeded for this long, unless `wait_value`
    /// is 0.
    pub hold_min_s: u32,
    /// The two readings that prove a worker idle are at least this far apart.
    pub idle_confirm_s: u32,
}
