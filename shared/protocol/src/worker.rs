//! What a worker says about itself to its host: the contract of `docs/WORKER-CONTRACT.md`.

use serde::{Deserialize, Serialize};

/// Where the worker says how it stands, 200 or 503.
pub const STATUS_PATH: &str = "/worker/status";
/// Where the worker says whether it is well: 200, or 503 beside a job or while it drains.
pub const HEALTH_PATH: &str = "/worker/health";
/// A POST there closes the worker's intake.
pub const DRAIN_PATH: &str = "/worker/drain";
/// A POST there opens it again.
pub const RESUME_PATH: &str = "/worker/resume";

/// The body of `GET /worker/status`. Fields that this version does not need are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Jobs in hand, counting one that is being claimed.
    pub active_jobs: u32,
    /// A drain was asked for.
    #[serde(default)]
    pub is_draining: bool,
    /// `Some(false)`: no job will be taken, and none is being claimed, until a resume. `None` from
    /// a worker that cannot say it; such a worker may go on fetching while it says that it drains.
    #[serde(default)]
    pub accepting: Option<bool>,
    #[serde(default)]
    pub worker_id: Option<String>,
    #[serde(default)]
    pub uptime_ms: Option<u64>,
    /// The deploy that made the worker's container: `GHOSTHANDS_DEPLOY_ID` of its environment.
    #[serde(default)]
    pub deploy_id: Option<String>,
}

impl WorkerStatus {
    /// The only proof of "drained": nothing runs, and nothing more will be taken.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.active_jobs == 0 && self.accepting == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::WorkerStatus;

    #[test]
    fn the_old_workers_words_are_enough_and_newer_ones_are_passed_over() {
        let old: WorkerStatus = serde_json::from_str(r#"{"active_jobs":1}"#).unwrap();
        assert_eq!((old.is_draining, old.accepting, old.is_drained()), (false, None, false));
        let newer = r#"{"active_jobs":0,"accepting":false,"paused_queues":["x"]}"#;
        assert!(serde_json::from_str::<WorkerStatus>(newer).unwrap().is_drained());
        for unreadable in
            [r#"{"accepting":false}"#, r#"{"active_jobs":-1}"#, r#"{"active_jobs":4294967296}"#]
        {
            serde_json::from_str::<WorkerStatus>(unreadable).expect_err(unreadable);
        }
    }
}
