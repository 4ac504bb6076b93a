//! What is to be done, and why, in a form that a machine can compare and a person can read.

use super::{Bounds, Demand, NotIdle};
use crate::reasons::reasons;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::Unknown;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One tick's outcome: what is to be done, and everything that says why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub plan: Plan,
    /// The rule that bound: the first one that, were it otherwise, would have changed the plan.
    pub because: Reason,
    /// The rest that is worth knowing, such as further obstacles and oddities.
    pub notes: Vec<Note>,
    /// `None` where the queue or the group is unknown.
    pub demand: Option<Demand>,
    /// Workers needed for the demand, before any bound.
    pub need: Option<u32>,
    pub bounds: Option<Bounds>,
    /// The desired capacity before and, once the plan is carried out, after.
    pub desired_before: Option<u32>,
    pub desired: Option<u32>,
}

/// What to do, with no choices left in it. There is no way to spell "lower the desired capacity": a
/// worker goes by name or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Plan {
    Nothing,
    /// `SetDesiredCapacity`, always upwards.
    SetDesired {
        desired: u32,
    },
    /// Everything allows ending a worker; look whether an instance refresh is in progress, and
    /// decide again.
    LookForRefresh,
    /// `TerminateInstanceInAutoScalingGroup` with decrement.
    Terminate {
        instance: InstanceId,
    },
}

reasons! {
    /// The constraint that bound a decision.
    Reason {
        /// The demand asks for exactly this many.
        Need { jobs: u32, workers: u32 } => "{jobs} jobs want a worker: {workers} needed";
        Min { min: u32 } => "not fewer than the minimum of {min}";
        Max { need: u32, max: u32 } => "{need} needed, held at the maximum of {max}";
        Floor { floor: u32, until: UnixMs } => "somebody set a floor of {floor} until {until}";
        Paused { until: UnixMs } => "somebody paused scaling until {until}";
        GroupUnknown { source: Unknown } => "the group is unknown: {}", source.detail;
        BoundsConflict { min: u32, max: u32 } => "the configured and the group's bounds have no number in common (at least {min}, at most {max})";
        QueueUnknown { source: Unknown } => "the queue is unknown, so nothing is taken away: {}", source.detail;
        ActiveUnknown { detail: String } => "running jobs could not be counted, so nothing is taken away: {detail}";
        RegistryUnknown { source: Unknown } => "the worker registry is unknown, so nothing is taken away: {}", source.detail;
        SchemaUntested { version: u32 } => "pg-boss schema {version} is newer than this version knows, so nothing is taken away";
        OverrideUnreadable { detail: String } => "{detail}; nothing is taken away until it is corrected or removed";
        ClockSkew { seconds: i64 } => "the database's clock and ours are {seconds} s apart, so nothing is taken away";
        TerminateSuspended => "the group's Terminate process is suspended";
        JobsReady { ready: u32 } => "{ready} jobs are ready: an idle worker is about to take one";
        Unfulfilled { in_service: u32, desired: u32, needed: u32 } => "{in_service} of {desired} workers are in service and {needed} needed: none of them can be spared";
        Held { level: u32, unneeded_s: i64, hold_s: i64 } => "worker {level} is kept for a while: unneeded for {unneeded_s} of {hold_s} s";
        NoneIdle { why: BTreeMap<NotIdle, u32> } => "no worker is proven idle: {}", counts(why);
        IdleUnconfirmed { instance: InstanceId, idle_s: i64, confirm_s: u32 } => "{instance} looks idle for {idle_s} s; it is asked again after {confirm_s} s";
        RefreshUnlooked => "a worker may go, unless an instance refresh is in progress";
        RefreshInProgress => "an instance refresh is in progress";
        RefreshUnknown { source: Unknown } => "whether an instance refresh is in progress is unknown: {}", source.detail;
        Idle { instance: InstanceId, idle_s: i64, needed: u32 } => "{needed} needed, and {instance} is proven idle for {idle_s} s";
    }
}

reasons! {
    /// Something that did not bind, and that an operator would want to know.
    Note {
        /// A further obstacle to scaling in, behind the one that bound.
        Also { reason: Box<Reason> } => "also: {reason}";
        MemoryLost { detail: String } => "the memory of earlier ticks is lost ({detail}), so every worker counts as needed just now";
        ExternalChange { from: u32, to: u32 } => "somebody else changed the desired capacity from {from} to {to}";
        ExpiredActive { jobs: u32 } => "{jobs} running jobs are past their expiry; no worker is kept for them";
        ZombieActive { active: u32, running: u32 } => "{active} jobs are marked running, more than the {running} that all machines together could run";
        OrphanedPin { worker: fleet_protocol::ids::WorkerId, jobs: u32 } => "{jobs} jobs wait for worker {worker}, which is not in the group or is leaving";
        LaunchSuspended => "the group's Launch process is suspended: new workers will not come";
        FloorAboveMax { floor: u32, max: u32 } => "the floor of {floor} is above the maximum of {max}";
        Skew { seconds: i64 } => "the database's clock and ours are {seconds} s apart";
        AboveMax { desired: u32, max: u32 } => "the group has {desired}, more than the maximum of {max}; idle workers go first";
    }
}

fn counts(why: &BTreeMap<NotIdle, u32>) -> String {
    if why.is_empty() {
        return "none is in service".to_owned();
    }
    let mut parts = Vec::new();
    for (reason, count) in why {
        let words = match reason {
            NotIdle::Busy => "busy",
            NotIdle::Pinned => "wanted by a job of their own",
            NotIdle::Draining => "draining",
            NotIdle::NoHeartbeat => "without a fresh heartbeat",
            NotIdle::MayHaveTaken => "may have taken the job that started last",
            NotIdle::Protected => "protected from scale-in",
            NotIdle::Unhealthy => "unhealthy",
        };
        parts.push(format!("{count} {words}"));
    }
    parts.join(", ")
}
