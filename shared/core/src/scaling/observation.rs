//! What one tick saw. Every source can be unknown, and an unknown source is never the same value as
//! an empty one.

use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Everything one decision depends on besides the policy and the memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The function's clock when the tick began.
    pub now: UnixMs,
    pub queue: Reading<QueueSnapshot>,
    pub group: Reading<Group>,
    /// Whether an instance refresh is in progress. Looked at only when a scale-in would follow,
    /// because it costs a call.
    pub refresh: Option<Reading<RefreshStatus>>,
    /// Whether the terminate hook of the drain function stands behind an instance that leaves.
    /// Looked at together with `refresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Reading<HookStatus>>,
    /// The group's last launches, newest first. Looked at only while the group has fewer instances
    /// than it is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launches: Option<Reading<Vec<Launch>>>,
}

/// One scaling activity that launched, or tried to launch, an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    pub started: UnixMs,
    /// `None` while it is under way.
    pub succeeded: Option<bool>,
    /// AWS's own words, at most some hundred characters of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The queue and the worker registry, read by one SQL statement, so that a job moving from ready to
/// active is counted once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSnapshot {
    /// The database's clock at the statement; all ages of database facts are against it.
    pub db_now: UnixMs,
    pub schema: Schema,
    pub general: QueueCounts,
    /// Due jobs of the general queue that cannot run yet, because the queue's policy or the workers
    /// limit how many jobs of their key run at a time. They are not in `general.ready`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_by_key: u32,
    /// `general/<worker>` queues that hold at least one unfinished job: every one of a worker in
    /// the registry, and some hundreds of others.
    pub targeted: Vec<TargetedQueue>,
    pub workers: Reading<Vec<WorkerRow>>,
    /// Jobs of workers outside the group whose rows are left out of `workers`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jobs_elsewhere: u32,
    #[serde(default, skip_serializing_if = "Omitted::is_nothing")]
    pub omitted: Omitted,
    #[serde(default, skip_serializing_if = "UnreadableRows::is_empty")]
    pub unreadable: UnreadableRows,
}

/// What a snapshot leaves out, so that no contents of the database make it unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// Counting the general queue's waiting jobs stopped at a limit: there are at least so many.
    #[serde(default)]
    pub waiting_jobs: bool,
    /// The same of the active jobs of some queue.
    #[serde(default)]
    pub active_jobs: bool,
    /// Queues of workers that the registry does not know, which were not looked into.
    #[serde(default)]
    pub queues: u32,
    /// Registry rows of the last hour that were not read.
    #[serde(default)]
    pub workers: u32,
}

impl Omitted {
    fn is_nothing(&self) -> bool {
        *self == Omitted::default()
    }
}

/// Rows with a date that is none (`infinity`, or outside the years 2000 to 2100). Each is unknown
/// by itself: a waiting job counts as ready if pg-boss would hand it out, an active one as running,
/// and a worker as one that has not reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableRows {
    pub rows: u32,
    /// Which column of which row, up to [`NAMES`] of them.
    pub examples: Vec<String>,
}

impl UnreadableRows {
    /// Adds `rows` of a kind; `named` are the ids of some of them, `what` says what cannot be read.
    pub fn add(&mut self, rows: u32, named: Vec<String>, what: impl FnOnce() -> String) {
        if rows == 0 {
            return;
        }
        self.rows = self.rows.saturating_add(rows);
        let what = what();
        let mut examples: Vec<String> =
            named.into_iter().map(|name| format!("{what} ({name})")).collect();
        if examples.is_empty() {
            examples.push(what);
        }
        examples.truncate(NAMES.saturating_sub(self.examples.len()));
        self.examples.append(&mut examples);
    }

    fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

/// Names in one sentence; the rest is a number.
pub const NAMES: usize = 10;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// pg-boss's schema version as its `version` table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub version: u32,
    /// Within the range this program was tested with (20 to 46). A newer one still has the columns
    /// that are read, but may mean something else by them.
    pub tested: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetedQueue {
    /// The part of the queue's name after the slash.
    pub worker: WorkerId,
    pub counts: QueueCounts,
}

/// Unfinished jobs of one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Created or waiting for a retry, and due: a worker could take it now, beside the ones that
    /// run.
    pub ready: u32,
    /// Becomes due within the look-ahead (one boot time).
    pub due_soon: u32,
    /// Becomes due after the look-ahead. `None` where it was not counted: a tick has no use for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<u32>,
    /// Milliseconds the oldest ready job has been due; 0 when none is ready.
    pub oldest_wait_ms: i64,
    pub active: Reading<ActiveCounts>,
}

/// Jobs that a worker has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveCounts {
    /// Inside their expiry and, where pg-boss keeps one, their heartbeat.
    pub live: u32,
    /// Past it, and not yet swept by pg-boss: nobody may be working on it, so nothing is kept alive
    /// for it.
    pub expired: u32,
    /// When the most recently started live job was taken.
    pub newest_start: Option<UnixMs>,
}

/// One row of `gh_worker_registry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRow {
    pub worker: WorkerId,
    /// The id its targeted queue is named by, where it differs from `worker`.
    pub target: Option<WorkerId>,
    pub instance: Option<InstanceId>,
    pub status: WorkerStatus,
    /// Whether `current_job_id` is set.
    pub has_job: bool,
    /// Jobs in hand, as a worker that keeps the contract writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// Whether it takes jobs, in the word of a worker that keeps the contract
    /// (`docs/WORKER-CONTRACT.md`). The old worker says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepting: Option<bool>,
    /// Since when it has had no job, in the word of a worker that keeps the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<UnixMs>,
    pub last_heartbeat: UnixMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    Active,
    Draining,
    Offline,
    /// A word this version does not know; never read as idle.
    Other,
}

/// The Auto Scaling group as `DescribeAutoScalingGroups` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: GroupName,
    pub min: u32,
    pub max: u32,
    pub desired: u32,
    pub instances: Vec<Instance>,
    /// Names of suspended processes, as AWS spells them (`Terminate`, `Launch`, …).
    pub suspended: Vec<String>,
    /// Only the tags whose key begins with `ghosthands:`.
    pub tags: Vec<Tag>,
    /// Why its capacity is not a number of instances: weights, or a desired capacity of vCPUs or
    /// memory. `None` for every other group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_instances: Option<String>,
    /// Instances of the stopped tier, which are not among `instances`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<InstanceId>,
}

impl Group {
    /// Instances that count as part of the desired capacity.
    #[must_use]
    pub fn instances_that_count(&self) -> u32 {
        let counted = self
            .instances
            .iter()
            .filter(|instance| instance.lifecycle.is_capacity() || instance.lifecycle.is_booting());
        u32::try_from(counted.count()).unwrap_or(u32::MAX)
    }

    /// Whether it is to have more instances than it has, so that its last launches tell why.
    #[must_use]
    pub fn has_missing_instances(&self) -> bool {
        self.instances_that_count() < self.desired
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub lifecycle: LifecycleState,
    pub healthy: bool,
    pub protected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshStatus {
    None,
    InProgress,
}

/// What stands behind an instance that leaves the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookStatus {
    /// The terminate hook that the drain function completes.
    Ours,
    /// No hook of that name for terminating instances.
    Missing,
}
