//! What the site wants: the settings a decision depends on.

use super::windows::{FloorWindow, Window};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// Settings of the scaling policy. The configuration layer has validated them: `min <= max`. A
/// record of an earlier version lacks some, and then has their defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// `AUTOSCALE_MIN` and `AUTOSCALE_MAX`; the group's own bounds narrow them further.
    pub min: u32,
    pub max: u32,
    /// `JOBS_PER_WORKER`: how many jobs one worker runs at a time.
    pub jobs_per_worker: NonZeroU32,
    /// `WAIT_VALUE`: how many instance-seconds one second of a job's waiting is worth. 0 keeps to
    /// the seed's formula: nothing is held and nothing is spare; 1 holds and has no spare.
    pub wait_value: u32,
    /// Seconds from a launch to the first job it can take, until enough launches were measured.
    pub boot_s: u32,
    /// No level of capacity is given back before it was unneeded for this long, unless `wait_value`
    /// is 0.
    pub hold_min_s: u32,
    /// The two readings that prove a worker idle are at least this far apart.
    pub idle_confirm_s: u32,
    /// `AUTOSCALE_MAX_IN_PERCENT`: the share of the desired capacity that may be asked to leave in
    /// one tick; at least one instance.
    pub max_in_percent: u32,
    /// `WAIT_TARGET_SECONDS`: a job that waits for longer is somebody's page.
    pub wait_target_s: u32,
    /// The longest time that a job may take, as the drain function's `DRAIN_JOB_LIMIT_SECONDS`.
    pub job_limit_s: u32,
    /// `AUTOSCALE_FLOORS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<FloorWindow>,
    /// `AUTOSCALE_NO_SCALE_IN`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_scale_in: Vec<Window>,
    /// Capacity that is not needed is stopped for some hours before it is ended.
    pub stopped_tier: bool,
    /// Seconds from the start of a stopped instance to the first job it can take.
    pub wake_s: u32,
    /// What a stopped instance costs, per mille of a running one: its volume.
    pub stopped_per_mille: NonZeroU32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            min: 1,
            max: 10,
            jobs_per_worker: NonZeroU32::MIN,
            wait_value: 6,
            boot_s: 95,
            hold_min_s: 30,
            idle_confirm_s: 20,
            max_in_percent: 100,
            wait_target_s: 180,
            job_limit_s: 14_400,
            floors: Vec::new(),
            no_scale_in: Vec::new(),
            stopped_tier: false,
            wake_s: 30,
            stopped_per_mille: NonZeroU32::MIN.saturating_add(52),
        }
    }
}

impl Policy {
    /// How long a machine takes to come once it is asked for: the wake of a stopped one where there
    /// are any, else a boot of `boot_s`.
    pub(super) fn provision_s(&self, boot_s: u32) -> u32 {
        if self.stopped_tier { self.wake_s } else { boot_s }
    }

    /// For how long the first level of capacity that is not needed is kept running, in seconds: the
    /// break-even of ski rental between waiting for a new machine and paying for an idle one.
    pub(super) fn run_hold_s(&self, boot_s: u32) -> u32 {
        match self.wait_value {
            0 => 0,
            value => self.provision_s(boot_s).saturating_mul(1 + value),
        }
    }

    /// For how long a level is kept as a stopped machine after it was last needed, in seconds.
    pub(super) fn stop_hold_s(&self, boot_s: u32) -> u32 {
        let saved = boot_s.saturating_sub(self.wake_s).saturating_mul(1 + self.wait_value);
        saved.saturating_mul(1000) / self.stopped_per_mille
    }
}
