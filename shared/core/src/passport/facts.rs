//! What was read of one job, each source by itself.

use crate::status::{Prices, Proof};
use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::Serialize;

/// Everything that a passport is made of.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// The database's clock when the job was read.
    pub now: UnixMs,
    pub site: PassportSite,
    pub job: QueueJob,
    /// The application's row of the job; `None` where it has none.
    pub application: Reading<Option<ApplicationJob>>,
    /// The registry's row of the worker that took it; `None` where it has none.
    pub worker: Reading<Option<RegisteredWorker>>,
    /// When that worker ended the job that it had before; `None` where it had none.
    pub job_before: Reading<Option<UnixMs>>,
    /// The activity that launched its machine; `None` where none is listed any more.
    pub launch: Reading<Option<MachineLaunch>>,
    /// The last word that its host gave about its version until the job ended.
    pub word: Reading<Option<Proof>>,
}

/// What the settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassportSite {
    pub environment: String,
    pub group: GroupName,
    /// Seconds between two ticks.
    pub tick_s: u32,
    pub prices: Prices,
    /// How long a host's word about its version counts.
    pub proof_life_s: u32,
}

/// The job's row in pg-boss. `None` is what the row does not have, or what this role may not read:
/// [`unreadable`](Self::unreadable) has the names of those columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueJob {
    pub id: String,
    pub queue: String,
    /// The one worker that may take it, in a targeted queue.
    pub target: Option<WorkerId>,
    pub state: JobState,
    pub created: Option<UnixMs>,
    /// When it may be taken. pg-boss overwrites it for each retry.
    pub start_after: Option<UnixMs>,
    /// When it was taken last.
    pub started: Option<UnixMs>,
    pub completed: Option<UnixMs>,
    /// Retries that were begun.
    pub retry_count: Option<u32>,
    pub retry_limit: Option<u32>,
    pub retry_delay_s: Option<u32>,
    pub retry_backoff: Option<bool>,
    pub expire_s: Option<u32>,
    /// It waits for other jobs to complete.
    pub blocked: bool,
    /// pg-boss has moved it to its archive.
    pub archived: bool,
    /// Columns that this role may not read.
    pub unreadable: Vec<String>,
}

/// pg-boss's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Created,
    Retry,
    Active,
    Completed,
    /// pg-boss 9 only; later versions call it failed.
    Expired,
    Cancelled,
    Failed,
    /// A word that this program does not know.
    Other,
}

impl JobState {
    #[must_use]
    pub fn read(word: &str) -> JobState {
        match word {
            "created" => JobState::Created,
            "retry" => JobState::Retry,
            "active" => JobState::Active,
            "completed" => JobState::Completed,
            "expired" => JobState::Expired,
            "cancelled" => JobState::Cancelled,
            "failed" => JobState::Failed,
            _ => JobState::Other,
        }
    }

    #[must_use]
    pub fn has_ended(self) -> bool {
        use JobState::{Cancelled, Completed, Expired, Failed};
        matches!(self, Completed | Expired | Cancelled | Failed)
    }
}

/// The row of the application's own table of jobs. pg-boss calls a job completed whose run failed;
/// the truth is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationJob {
    pub id: String,
    pub status: String,
    pub worker: Option<WorkerId>,
    pub created: Option<UnixMs>,
    pub started: Option<UnixMs>,
    pub completed: Option<UnixMs>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredWorker {
    pub worker: WorkerId,
    pub instance: Option<InstanceId>,
    /// When it registered first. Workers do not renew it.
    pub registered: Option<UnixMs>,
}

/// The scaling activity that launched an instance, by AWS's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineLaunch {
    pub instance: InstanceId,
    pub launched: UnixMs,
    /// When the instance was in service.
    pub in_service: Option<UnixMs>,
    /// AWS's own words, at most some hundred characters of them.
    pub cause: String,
}

impl QueueJob {
    /// Whether an attempt before the last one ended, or the last one did and another is due.
    pub(super) fn was_retried(&self) -> bool {
        // A retry is put off from the moment at which the attempt before it failed.
        let put_off = self.started.zip(self.start_after).is_some_and(|(at, due)| at < due);
        self.state == JobState::Retry || self.retry_count.is_some_and(|made| made > 0) || put_off
    }

    /// The moment since which it could be taken: not before there was one, wherever a past
    /// `startAfter` put it.
    pub(super) fn due(&self) -> Option<UnixMs> {
        let due = self.start_after?;
        Some(self.created.map_or(due, |created| due.max(created)))
    }

    /// When its last attempt began; `None` while it waits for one, or ended without it.
    pub(super) fn claimed(&self) -> Option<UnixMs> {
        let started = self.started?;
        let waits = matches!(self.state, JobState::Created | JobState::Retry);
        let before_this = self.start_after.is_some_and(|due| started < due);
        (!waits && !before_this).then_some(started)
    }

    /// `None` while it has not ended. A failed job that somebody retries keeps its old end.
    pub(super) fn ended(&self) -> Option<UnixMs> {
        self.completed.filter(|_| self.state.has_ended())
    }

    /// Whether its time was over: while it is marked as running, or when it failed.
    pub(super) fn expired(&self, now: UnixMs) -> Option<bool> {
        let until = match self.state {
            JobState::Active => now,
            JobState::Expired => return Some(true),
            JobState::Failed => self.ended()?,
            _ => return Some(false),
        };
        let Some(claimed) = self.claimed() else { return Some(false) };
        Some(until > claimed.plus_seconds(self.expire_s?))
    }
}
