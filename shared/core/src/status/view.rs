//! The answer to "how is the fleet": what `GET /api/v1/admin/fleet-status` returns. `None` is
//! always "nobody knows", never "none".

use super::Cost;
use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::UnknownCause;
use fleet_protocol::stable::StablePointer;
use serde::Serialize;

/// The first six fields are those of the old `getFleetStatus()`, by their old names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub enabled: bool,
    #[serde(rename = "asgName")]
    pub group: GroupName,
    /// The desired capacity.
    #[serde(rename = "currentCapacity")]
    pub current_capacity: Option<u32>,
    /// Jobs that are ready, in the general queue and in the queues of single workers.
    #[serde(rename = "queueDepth")]
    pub queue_depth: Option<u32>,
    /// Workers that report and take work, with a job or without.
    #[serde(rename = "activeWorkers")]
    pub active_workers: Option<u32>,
    /// Of these, the ones without a job.
    #[serde(rename = "idleWorkers")]
    pub idle_workers: Option<u32>,

    /// When the sources were read. RFC 3339, as are all moments here.
    pub at: String,
    pub environment: String,
    /// The scaling function decides and changes nothing.
    pub dry_run: bool,
    pub queue: Option<Queue>,
    pub capacity: Option<Capacity>,
    pub instances: Option<Vec<InstanceView>>,
    /// How many more there are.
    pub instances_omitted: u32,
    /// The group's own first where not all of them are here.
    pub workers: Option<Vec<WorkerView>>,
    /// How many more rows there are. They are in the numbers above.
    pub workers_omitted: u32,
    pub versions: Versions,
    /// The last decisions that changed something or were bound by another rule than the one before,
    /// newest first.
    pub decisions: Option<Vec<DecisionView>>,
    /// The last hour, a row a minute, oldest first.
    pub series: Option<Series>,
    pub cost: Option<Cost>,
    /// Sources that did not answer. Their fields are null.
    pub unavailable: Vec<Unavailable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// The general queue's and the own queues of the group's workers together.
    pub ready: u32,
    /// Become due within the time that a new worker takes to boot.
    pub due_soon: u32,
    /// Become due later. Null where it was not counted.
    pub deferred: Option<u32>,
    /// Running. Null where counting them would cost too much.
    pub active: Option<u32>,
    /// Marked running, past their expiry.
    pub expired: Option<u32>,
    pub oldest_wait_s: u64,
    /// Unfinished jobs of queues of single workers, the first 200. Those of workers in the group
    /// are in the numbers above too.
    pub targeted: Vec<Targeted>,
    /// How many more such queues there are. They are in the numbers above.
    pub targeted_omitted: u32,
    pub schema_version: u32,
    /// The schema is one that this program was tested with.
    pub schema_tested: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Targeted {
    pub worker_id: WorkerId,
    pub ready: u32,
    pub active: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// What the scaling function keeps to: its settings, narrowed by the group's own bounds, raised
    /// by a floor. Null where the two have no number in common.
    pub min: Option<u32>,
    pub max: Option<u32>,
    pub configured: MinMax,
    pub own: MinMax,
    pub desired: u32,
    pub in_service: u32,
    pub pending: u32,
    /// On their way out.
    pub draining: u32,
    /// In any other state, such as standby.
    pub other: u32,
    pub floor: Option<Floor>,
    pub paused: Option<Paused>,
    /// Tags of ours that cannot be read, a sentence each.
    pub problems: Vec<String>,
    /// Processes of the group that somebody suspended.
    pub suspended: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MinMax {
    pub min: u32,
    pub max: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Floor {
    pub workers: u32,
    pub until: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paused {
    pub until: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceView {
    pub instance_id: InstanceId,
    /// As AWS spells it.
    pub lifecycle: LifecycleState,
    pub healthy: bool,
    pub protected: bool,
    /// The version that the host has proved to run, by a word that is not too old.
    pub version: Option<String>,
    /// When it did.
    pub proven_at: Option<String>,
    /// Why there is none.
    pub unproven: Option<String>,
    /// Another version than the stable one. Null where either is unknown.
    pub drift: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerView {
    pub worker_id: WorkerId,
    pub instance_id: Option<InstanceId>,
    pub state: WorkerState,
    pub job_id: Option<String>,
    pub heartbeat_at: String,
    pub registered_at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Idle,
    Busy,
    /// It takes no more work.
    Draining,
    /// It said that it ends.
    Offline,
    /// It has not reported for three heartbeats. What it does is unknown.
    Silent,
    /// It reports a state that this program does not know.
    Unknown,
}

impl WorkerState {
    pub(super) const ALL: [(WorkerState, &str); 6] = [
        (WorkerState::Idle, "idle"),
        (WorkerState::Busy, "busy"),
        (WorkerState::Draining, "draining"),
        (WorkerState::Offline, "offline"),
        (WorkerState::Silent, "silent"),
        (WorkerState::Unknown, "unknown"),
    ];
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// What hosts boot to. Null where it is unknown and before the first deployment.
    pub stable: Option<StablePointer>,
    /// Hosts that run another version, and hosts that have proved none. Null where the instances
    /// are unknown.
    pub drifted: Option<u32>,
    pub unknown: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecisionView {
    pub at: String,
    pub from: Option<u32>,
    pub to: Option<u32>,
    pub rule: String,
    pub because: String,
    /// It was decided, and AWS refused or did not answer.
    pub failed: bool,
}

/// Columns, because five names a minute are most of an hour's bytes. What was unknown in a minute
/// is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Series {
    /// The beginning of each minute, in seconds since 1970.
    pub at: Vec<i64>,
    pub ready: Vec<Option<u32>>,
    pub active: Vec<Option<u32>>,
    pub desired: Vec<Option<u32>>,
    pub in_service: Vec<Option<u32>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unavailable {
    pub source: Source,
    pub cause: UnknownCause,
    /// For a person: what was tried and what came back.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Group,
    Queue,
    /// The running jobs of the queue.
    ActiveJobs,
    /// The worker registry.
    Workers,
    /// What the scaling function remembers: decisions and the last hour.
    Memory,
    /// What hosts have proved to run.
    Versions,
    /// The version that hosts boot to.
    Stable,
}

impl Source {
    pub(super) const ALL: [(Source, &str); 7] = [
        (Source::Group, "group"),
        (Source::Queue, "queue"),
        (Source::ActiveJobs, "active_jobs"),
        (Source::Workers, "workers"),
        (Source::Memory, "memory"),
        (Source::Versions, "versions"),
        (Source::Stable, "stable"),
    ];
}
