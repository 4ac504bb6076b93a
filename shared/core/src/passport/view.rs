//! The answer to "what happened to my job": what `GET /api/v1/admin/jobs/{id}` returns. `None` is
//! always "not known, or not yet"; what is not known is in `missing`. Moments are RFC 3339.

use super::{JobState, Missing};
use fleet_protocol::ids::{InstanceId, WorkerId};
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobPassport {
    /// pg-boss's id.
    pub id: String,
    /// When it was read, by the database's clock.
    pub at: String,
    pub queue: String,
    /// The one worker that may take it, in a targeted queue.
    pub target: Option<WorkerId>,
    pub state: JobState,
    /// pg-boss has moved it to its archive.
    pub archived: bool,
    /// It is past its expiry while it is marked as running, or was when it failed.
    pub expired: Option<bool>,
    pub application: Option<ApplicationView>,
    pub enqueued_at: Option<String>,
    pub due_at: Option<String>,
    /// When its last attempt began.
    pub claimed_at: Option<String>,
    pub ended_at: Option<String>,
    pub retries: RetriesView,
    /// Null where it is not known since when it waits.
    pub wait: Option<Wait>,
    pub worker_id: Option<WorkerId>,
    pub machine: Option<MachineView>,
    pub version: Option<VersionView>,
    /// Of the last attempt.
    pub cost: Option<JobCost>,
    pub missing: Vec<Missing>,
}

/// What the application's own table says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApplicationView {
    pub id: String,
    pub status: String,
    pub worker_id: Option<WorkerId>,
    pub created_at: Option<String>,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RetriesView {
    /// That were begun.
    pub made: Option<u32>,
    pub limit: Option<u32>,
    pub delay_s: Option<u32>,
    pub backoff: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wait {
    pub from: String,
    pub from_is: WaitFrom,
    pub until: String,
    pub until_is: WaitUntil,
    pub ms: u64,
    /// One after the other; together they are `ms`.
    pub segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFrom {
    Due,
    /// pg-boss has overwritten when a retried job was due first.
    Enqueued,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitUntil {
    Claim,
    /// It ended without having been taken.
    End,
    Now,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Segment {
    pub kind: SegmentKind,
    pub from: String,
    pub ms: u64,
    /// Its end was read, and is no bound.
    pub exact: bool,
    pub because: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    Retry,
    Tick,
    Queue,
    Launch,
    Boot,
    Claim,
    /// It is not known which of these it was.
    Unsplit,
}

impl SegmentKind {
    /// What was waited for.
    pub(super) fn words(self, exact: bool) -> &'static str {
        match (self, exact) {
            (SegmentKind::Retry, _) => "earlier attempts, and until the last retry was due",
            (SegmentKind::Tick, true) => "for the tick that asked for its machine",
            (SegmentKind::Tick, false) => "for a tick, at most the time between two",
            (SegmentKind::Queue, true) => "behind other jobs",
            (SegmentKind::Queue, false) => "behind other jobs, until capacity was asked for",
            (SegmentKind::Launch, _) => "until Auto Scaling launched its machine",
            (SegmentKind::Boot, _) => "until its machine's worker registered",
            (SegmentKind::Claim, _) => "until its free worker took it",
            (SegmentKind::Unsplit, _) => "not told apart: see what is missing",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineView {
    pub instance_id: InstanceId,
    /// When its capacity was asked for.
    pub requested_at: Option<String>,
    pub launched_at: Option<String>,
    pub in_service_at: Option<String>,
    /// When its worker registered first.
    pub registered_at: Option<String>,
    /// Why it was launched, in AWS's own words.
    pub cause: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionView {
    pub image_tag: String,
    /// When its host said so.
    pub proven_at: String,
}

/// The share of its machine's price for the time of the last attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobCost {
    pub currency: &'static str,
    pub ms: u64,
    pub micros: u64,
}
