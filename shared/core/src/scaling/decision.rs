//! What is to be done, and why, in a form that a machine can compare and a person can read.

use super::{Bounds, Demand, LaunchFailure, NAMES, NotIdle, Unable, UnableWorker};
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
    /// How the levels came about. `None` where the queue or the group is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Levels>,
}

impl Decision {
    /// Whether the group does not follow its desired capacity, or its workers take no jobs.
    #[must_use]
    pub fn is_not_converging(&self) -> bool {
        self.notes.iter().any(|note| {
            matches!(
                note,
                Note::LaunchFailed { .. }
                    | Note::LaunchSuspended
                    | Note::UnableWorkers { .. }
                    | Note::NotPolling { .. }
            )
        }) || matches!(self.because, Reason::NotInstances { .. })
    }

    /// Whether the group follows and its workers take jobs; `None` where the queue or the group is
    /// unknown, and nothing else tells.
    #[must_use]
    pub(super) fn is_converging(&self) -> Option<bool> {
        if self.is_not_converging() { Some(false) } else { self.levels.map(|_| true) }
    }

    #[must_use]
    pub fn misses_wait_target(&self) -> bool {
        self.notes.iter().any(|note| matches!(note, Note::WaitTargetMissed { .. }))
    }

    /// Whether instances leave, or would, without a drain behind them.
    #[must_use]
    pub fn misses_a_drain(&self) -> bool {
        let not_told = |reason: &Reason| matches!(reason, Reason::DrainNotTold { .. });
        not_told(&self.because)
            || self.notes.iter().any(|note| match note {
                Note::HookMissing => true,
                Note::Also { reason } => not_told(reason),
                _ => false,
            })
    }

    /// Workers that have been unable to take a job for longer than the grace.
    #[must_use]
    pub fn unable_workers(&self) -> u32 {
        let workers = self.notes.iter().find_map(|note| match note {
            Note::UnableWorkers { workers } => Some(workers.len()),
            _ => None,
        });
        u32::try_from(workers.unwrap_or(0)).unwrap_or(u32::MAX)
    }
}

/// The levels of capacity that the rule compared, and what it would have wanted otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// The need inside the bounds.
    pub needed: u32,
    /// Machines beyond it that rises of the last hour ask for.
    pub spare: u32,
    /// Need and spare inside the bounds.
    pub wanted: u32,
    /// The highest level that a hold still keeps; `wanted` where there is none.
    pub kept: u32,
    /// Machines in service that are no capacity and are made up for.
    pub made_up: u32,
    /// How long a machine takes to boot, in seconds: learned, or the setting.
    pub boot_s: u32,
    /// The desired capacity that the decision would lead to without the spare, and without holds.
    pub without_spare: u32,
    pub without_hold: u32,
    /// The same without the stopped tier. `None` while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_stopped_tier: Option<u32>,
}

/// What to do, with no choices left in it. A worker goes by name or not at all: the one way to
/// lower the desired capacity gives back what was never launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ScalingAction {
    Nothing,
    /// `SetDesiredCapacity`, always upwards.
    SetDesired {
        desired: u32,
    },
    /// Everything allows that an instance leaves; look whether an instance refresh is in progress
    /// and whether the terminate hook is there, and decide again.
    LookForRefresh,
    /// `TerminateInstanceInAutoScalingGroup` with decrement, for each of these instances.
    Terminate {
        instance: InstanceId,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<InstanceId>,
    },
    /// `TerminateInstanceInAutoScalingGroup` without decrement: the group launches another.
    Replace {
        instance: InstanceId,
    },
    /// `SetDesiredCapacity`, downwards to no less than the instances that exist.
    GiveBack {
        desired: u32,
    },
    /// Idle instances go to the stopped tier: each leaves the group's capacity and is stopped.
    Stop {
        instances: Vec<InstanceId>,
    },
    /// Stopped instances that no hold keeps any more are terminated.
    EndStopped {
        instances: Vec<InstanceId>,
    },
}

impl ScalingAction {
    /// The instances that are to be terminated with decrement.
    pub fn terminated(&self) -> impl Iterator<Item = &InstanceId> {
        let (first, rest) = match self {
            ScalingAction::Terminate { instance, also } => (Some(instance), also.as_slice()),
            _ => (None, &[][..]),
        };
        first.into_iter().chain(rest)
    }

    /// Whether capacity becomes less by it, or one machine of it is exchanged.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        !matches!(
            self,
            ScalingAction::Nothing
                | ScalingAction::LookForRefresh
                | ScalingAction::SetDesired { .. }
        )
    }

    /// How many calls carry it out.
    #[must_use]
    pub fn calls(&self) -> u32 {
        let calls = match self {
            ScalingAction::Nothing | ScalingAction::LookForRefresh => 0,
            ScalingAction::SetDesired { .. }
            | ScalingAction::GiveBack { .. }
            | ScalingAction::Replace { .. } => 1,
            ScalingAction::Terminate { also, .. } => 1 + also.len(),
            ScalingAction::Stop { instances } | ScalingAction::EndStopped { instances } => {
                instances.len()
            }
        };
        u32::try_from(calls).unwrap_or(u32::MAX)
    }

    /// The desired capacity after it.
    pub(super) fn desired_after(&self, before: u32) -> u32 {
        let less = |count: usize| before.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        match self {
            ScalingAction::Nothing
            | ScalingAction::LookForRefresh
            | ScalingAction::Replace { .. }
            | ScalingAction::EndStopped { .. } => before,
            ScalingAction::SetDesired { desired } | ScalingAction::GiveBack { desired } => *desired,
            ScalingAction::Terminate { also, .. } => less(1 + also.len()),
            ScalingAction::Stop { instances } => less(instances.len()),
        }
    }
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
        NoScaleIn { window: String } => "AUTOSCALE_NO_SCALE_IN ({window}) forbids to terminate an instance now";
        NotInstances { detail: String } => "the group does not count its capacity in instances ({detail}), so nothing is changed; remove the weights, or use another group";
        BusyElsewhere { busy: u32, active: u32 } => "{busy} workers of the group have a job and pg-boss has {active} active jobs in this queue, so no instance is terminated; check that PGBOSS_SCHEMA, PGBOSS_QUEUE and DATABASE_URL are the ones that the workers use";
        DrainNotTold { instance: InstanceId, waited_s: i64 } => "{instance} has been terminating for {waited_s} s and its worker still takes jobs: no drain reached it, so no further instance is terminated; see the drain function's log";
        Idle {
            instance: InstanceId,
            idle_s: i64,
            needed: u32,
            #[serde(default)] also: u32,
            #[serde(default)] likely: u32,
        } => "{needed} workers are needed, and the worker of {instance} has been idle for {idle_s} s{}", others(*also, *likely);
        Replace { instance: InstanceId, unable: Unable, unable_s: i64 } => "the worker of {instance} has not been able to take a job for {unable_s} s ({unable}): the instance is drained and replaced";
        NeverLaunched {
            exist: u32,
            desired: u32,
            short_s: i64,
            needed: u32,
        } => "{needed} workers are needed, and the group has not launched {} of its {desired} desired instances for {short_s} s: these are given back", desired - exist;
        StoppedUnneeded { stopped: u32, prepared: u32 } => "{stopped} instances are stopped and {prepared} instances in all were needed within the stopped tier's hold";
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
        ZombieActive { active: u32, running: u32 } => "pg-boss has {active} active jobs and {running} of them can be on instances of the group; the rest run elsewhere or have lost their worker, and do not count as demand";
        OrphanedPins { jobs: u32, workers: Vec<WorkerId>, more: u32 } => "{jobs} jobs wait in the queues of workers that are not in the group or are terminating: {}", listed(workers, *more);
        HeldByKey { jobs: u32 } => "{jobs} due jobs wait until another job of their key has ended, as the queue's policy or PGBOSS_GROUP_CONCURRENCY says, and do not count as demand";
        CountStopped { jobs: u32 } => "at least {jobs} jobs are waiting: more than these are not counted";
        WorkersOmitted { rows: u32 } => "gh_worker_registry has {rows} more rows of the last hour than are read";
        RowsUnreadable { rows: u32, examples: Vec<String> } =>
            "{rows} rows hold no date between 2000 and 2100 and count as unknown: {}",
            listed(examples, beyond(*rows, examples.len()));
        LaunchSuspended => "the group's Launch process is suspended: it launches no instance until the process is resumed";
        FloorAboveMax { floor: u32, max: u32 } => "the tag ghosthands:floor asks for {floor} workers, above the maximum of {max}";
        Skew { seconds: i64 } => "the database's clock is {seconds} s ahead of the function's";
        LaunchFailed { cause: LaunchFailure, missing: u32, short_s: i64, message: String } => "{missing} desired instances have been missing for {short_s} s; {cause}: {message}";
        UnableWorkers { workers: Vec<UnableWorker> } => "workers in service that cannot take a job: {}", unable_workers(workers);
        NotPolling { ready: u32, waited_s: i64, idle: u32 } => "{ready} jobs are ready, the oldest for {waited_s} s, while {idle} workers say that they take jobs and have none";
        WaitTargetMissed { waited_s: i64, target_s: u32 } => "the oldest ready job has waited for {waited_s} s, longer than WAIT_TARGET_SECONDS={target_s}";
        HookMissing => "the group has no terminate hook of the drain function, so only instances whose worker is proven idle are terminated; create the hook named by DRAIN_HOOK";
        HookUnknown { source: Unknown } => "DescribeLifecycleHooks gave no answer, so only instances whose worker is proven idle are terminated: {}", source.detail;
        FloorWindow { window: String, min: u32 } => "AUTOSCALE_FLOORS ({window}) asks for at least {min} workers";
        AboveMax { desired: u32, max: u32 } => "the desired capacity of {desired} is above the maximum of {max}; idle instances are terminated first";
    }
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

fn others(also: u32, likely: u32) -> String {
    let also = match also {
        0 => return if likely == 0 { String::new() } else { ", by its own word".to_owned() },
        also => format!("; so are {also} others"),
    };
    if likely == 0 { also } else { format!("{also}, {likely} of all by their own word") }
}

fn unable_workers(workers: &[UnableWorker]) -> String {
    let named = workers.iter().take(NAMES).map(|one| format!("{} ({})", one.instance, one.why));
    let named: Vec<String> = named.collect();
    let all = u32::try_from(workers.len()).unwrap_or(u32::MAX);
    listed(&named, beyond(all, named.len()))
}

/// `names`, and how many `more` there are.
fn listed<T: Display>(names: &[T], more: u32) -> String {
    let named: Vec<String> = names.iter().map(ToString::to_string).collect();
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn beyond(all: u32, named: usize) -> u32 {
    all.saturating_sub(u32::try_from(named).unwrap_or(u32::MAX))
}
