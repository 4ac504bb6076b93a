//! What is to be done, and why, in a form that a machine can compare and a person can read.

use super::{Bounds, Demand, NotIdle};
use crate::reasons::reasons;
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::Unknown;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;

/// What is to be done, and everything that says why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    #[serde(rename = "plan")]
    pub action: ScalingAction,
    /// The rule that bound: the first one that, were it otherwise, would have changed the action.
    pub because: Reason,
    /// The rest that is worth knowing, such as further obstacles and oddities.
    pub notes: Vec<Note>,
    /// `None` where the queue or the group is unknown.
    pub demand: Option<Demand>,
    /// Workers needed for the demand, before any bound.
    pub need: Option<u32>,
    pub bounds: Option<Bounds>,
    /// The desired capacity before and, once the action is carried out, after.
    pub desired_before: Option<u32>,
    pub desired: Option<u32>,
}

/// What to do, with no choices left in it. There is no way to spell "lower the desired capacity": a
/// worker goes by name or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ScalingAction {
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
        Need { jobs: u32, workers: u32 } => "{jobs} jobs need {workers} workers";
        Min { min: u32 } => "the minimum is {min} workers (AUTOSCALE_MIN or the group's MinSize)";
        Max { need: u32, max: u32 } => "{need} workers needed, limited to the maximum of {max} (AUTOSCALE_MAX or the group's MaxSize)";
        Floor { floor: u32, until: UnixMs } => "the tag ghosthands:floor keeps at least {floor} workers until {until}";
        Paused { until: UnixMs } => "the tag ghosthands:paused stops scaling until {until}";
        GroupUnknown { source: Unknown } => "the Auto Scaling group could not be described, so nothing is changed: {}", source.detail;
        BoundsConflict { min: u32, max: u32 } => "AUTOSCALE_MIN and AUTOSCALE_MAX contradict the group's MinSize and MaxSize (at least {min} and at most {max}), so nothing is changed";
        QueueUnknown { source: Unknown } => "the queue could not be read, so no instance is terminated: {}", source.detail;
        ActiveUnknown { detail: String } => "the active jobs could not be counted, so no instance is terminated: {detail}";
        RegistryUnknown { source: Unknown } => "gh_worker_registry could not be read, so no instance is terminated: {}", source.detail;
        RegistryPartlyRead { rows: u32 } => "gh_worker_registry has {rows} more rows of the last hour than are read, so no instance is terminated";
        BusyElsewhere { busy: u32, active: u32 } => "{busy} workers of the group have a job and pg-boss has {active} active jobs in their queues, so no instance is terminated: check that PGBOSS_SCHEMA, PGBOSS_QUEUE and DATABASE_URL are the ones that the workers use";
        SchemaUntested { version: u32 } => "pg-boss schema {version} is newer than this version was tested with, so no instance is terminated";
        OverrideUnreadable { detail: String } => "{detail}; no instance is terminated until the tag is corrected or removed";
        ClockSkew { seconds: i64 } => "the database's clock is {seconds} s ahead of the function's, so no instance is terminated";
        TerminateSuspended => "the group's Terminate process is suspended, so no instance is terminated";
        JobsReady { ready: u32 } => "{ready} jobs are ready and may be taken by an idle worker, so no instance is terminated";
        Unfulfilled { in_service: u32, desired: u32, needed: u32 } => "only {in_service} of {desired} desired instances are in service and {needed} are needed, so no instance is terminated";
        Held { level: u32, unneeded_s: i64, hold_s: i64 } => "instance {level} of the group has not been needed for {unneeded_s} s and is kept for {hold_s} s";
        NoneIdle { why: BTreeMap<NotIdle, u32> } => "no worker is proven idle: {}", counts(why);
        IdleUnconfirmed { instance: InstanceId, idle_s: i64, confirm_s: u32 } => "the worker of {instance} has been idle for {idle_s} s; a second reading after {confirm_s} s has to confirm it";
        RefreshUnlooked => "an idle instance can be terminated unless an instance refresh is in progress, which is looked up now";
        RefreshInProgress => "an instance refresh is in progress, so no instance is terminated";
        RefreshUnknown { source: Unknown } => "DescribeInstanceRefreshes gave no answer, so no instance is terminated: {}", source.detail;
        Idle { instance: InstanceId, idle_s: i64, needed: u32 } => "{needed} workers are needed, and the worker of {instance} has been idle for {idle_s} s";
    }
}

reasons! {
    /// Something that did not bind, and that an operator would want to know.
    Note {
        /// A further obstacle to scaling in, behind the one that bound.
        Also { reason: Box<Reason> } => "also: {reason}";
        MemoryLost { detail: String } => "the state parameter could not be used ({detail}), so all present capacity counts as needed now";
        ExternalChange { from: u32, to: u32 } => "something other than this function changed the desired capacity from {from} to {to}";
        ExpiredActive { jobs: u32 } => "{jobs} active jobs are past their expiry and do not count as demand";
        ZombieActive { active: u32, running: u32 } => "pg-boss has {active} active jobs, and the group's instances can run {running} of them; the rest do not count as demand";
        OrphanedPins { jobs: u32, workers: Vec<WorkerId>, more: u32 } => "{jobs} jobs wait in the queues of workers that are not in the group or are terminating: {}", listed(workers, *more);
        HeldByKey { jobs: u32 } => "{jobs} due jobs wait until another job of their key has ended, as the queue's policy or PGBOSS_GROUP_CONCURRENCY says, and do not count as demand";
        CountStopped { jobs: u32 } => "at least {jobs} jobs are waiting: more than these are not counted";
        WorkersOmitted { rows: u32 } => "gh_worker_registry has {rows} more rows of the last hour than are read";
        RowsUnreadable { rows: u32, examples: Vec<String> } => "{rows} rows hold no date between 2000 and 2100 and count as unknown: {}", listed_of(examples, *rows);
        LaunchSuspended => "the group's Launch process is suspended: it launches no instance until the process is resumed";
        FloorAboveMax { floor: u32, max: u32 } => "the tag ghosthands:floor asks for {floor} workers, above the maximum of {max}";
        Skew { seconds: i64 } => "the database's clock is {seconds} s ahead of the function's";
        AboveMax { desired: u32, max: u32 } => "the desired capacity of {desired} is above the maximum of {max}; idle instances are terminated first";
    }
}

/// `names`, and how many `more` there are.
fn listed<T: Display>(names: &[T], more: u32) -> String {
    let named: Vec<String> = names.iter().map(ToString::to_string).collect();
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// `names` of `all` that there are.
fn listed_of<T: Display>(names: &[T], all: u32) -> String {
    listed(names, all.saturating_sub(u32::try_from(names.len()).unwrap_or(u32::MAX)))
}

fn counts(why: &BTreeMap<NotIdle, u32>) -> String {
    if why.is_empty() {
        return "no instance is in service".to_owned();
    }
    let mut parts = Vec::new();
    for (reason, count) in why {
        let words = match reason {
            NotIdle::Busy => "busy",
            NotIdle::Pinned => "with jobs in their own queue",
            NotIdle::Draining => "draining",
            NotIdle::NoHeartbeat => "without a heartbeat in the last 90 s",
            NotIdle::MayHaveTaken => "may have taken the job that started last",
            NotIdle::Protected => "protected from scale-in",
            NotIdle::Unhealthy => "unhealthy",
        };
        parts.push(format!("{count} {words}"));
    }
    parts.join(", ")
}
