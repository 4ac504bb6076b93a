//! What the worker says about itself, and what may be concluded from it. See
//! `docs/WORKER-CONTRACT.md`.

use std::time::Duration;

use fleet_protocol::worker::{DRAIN_PATH, RESUME_PATH, STATUS_PATH, WorkerStatus};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use crate::probe::{self, Reply};
use crate::service::Place;

/// A worker answers within this time or counts as unreachable; well below every caller's own limit.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A reading, or why there is none. Unknown is never idle.
pub type Seen = Result<WorkerStatus, Unknown>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub String);

/// In one word, for people and for the predecessor's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    Idle,
    Busy,
    Draining,
    Stopped,
    Unknown,
}

/// Asks for a reading.
///
/// # Errors
/// Why the worker could not be asked, or what it answered instead.
pub async fn read(place: &Place) -> Seen {
    let reply = probe::get(place, STATUS_PATH, ANSWER_WITHIN).await;
    parse_status(&reply.map_err(|error| Unknown(error.to_string()))?)
}

/// Closes the worker's intake. Returns what it said at once; the proof is a later reading.
///
/// # Errors
/// When it does not answer, or not with a 2xx: then nothing was closed.
pub async fn close_intake(place: &Place) -> Result<(), Unknown> {
    order(place, DRAIN_PATH).await
}

/// Opens the worker's intake again, where the worker can.
///
/// # Errors
/// As for [`close_intake`]; a 404 means that it has no such thing.
pub async fn open_intake(place: &Place) -> Result<(), Unknown> {
    order(place, RESUME_PATH).await
}

async fn order(place: &Place, path: &'static str) -> Result<(), Unknown> {
    let reply = probe::post(place, path, Bytes::from_static(b"{}"), ANSWER_WITHIN)
        .await
        .map_err(|error| Unknown(error.to_string()))?;
    if (200..300).contains(&reply.status) {
        Ok(())
    } else {
        Err(Unknown(format!("the worker answers {} to POST {path}", reply.status)))
    }
}

/// Reads a status body. 200 and 503 carry one; anything else is no reading.
///
/// # Errors
/// Says what is wrong with the answer.
pub fn parse_status(reply: &Reply) -> Seen {
    if !matches!(reply.status, 200 | 503) {
        return Err(Unknown(format!("the worker answers {} to GET {STATUS_PATH}", reply.status)));
    }
    serde_json::from_slice(&reply.body)
        .map_err(|error| Unknown(format!("the worker's status cannot be read: {error}")))
}

impl WorkerState {
    pub const ALL: [Self; 5] =
        [Self::Idle, Self::Busy, Self::Draining, Self::Stopped, Self::Unknown];

    /// The word that replies have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }

    /// How a worker that answers is.
    #[must_use]
    pub fn of(status: &WorkerStatus) -> Self {
        if status.active_jobs > 0 {
            Self::Busy
        } else if status.is_draining || status.accepting == Some(false) {
            Self::Draining
        } else {
            Self::Idle
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reply, WorkerState, parse_status};
    use hyper::body::Bytes;

    fn seen(status: u16, body: &'static str) -> super::Seen {
        parse_status(&Reply { status, body: Bytes::from_static(body.as_bytes()) })
    }

    #[test]
    fn a_503_with_a_body_is_a_reading() {
        let reading = seen(503, r#"{"active_jobs":1,"is_draining":true}"#).unwrap();
        assert_eq!(WorkerState::of(&reading), WorkerState::Busy);
        assert!(!reading.is_drained());
    }

    #[test]
    fn every_state_has_the_name_that_replies_have() {
        for state in WorkerState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }

    #[test]
    fn no_jobs_while_draining_is_no_proof_from_a_worker_that_cannot_say_accepting() {
        let old = seen(200, r#"{"active_jobs":0,"is_draining":true}"#).unwrap();
        assert!(!old.is_drained());
        let new = seen(200, r#"{"active_jobs":0,"accepting":false}"#).unwrap();
        assert!(new.is_drained());
    }

    #[test]
    fn everything_else_is_unknown() {
        assert!(seen(404, r#"{"error":"not_found"}"#).is_err());
        assert!(seen(500, r#"{"active_jobs":0}"#).is_err());
        assert!(seen(200, r#"{"status":"idle"}"#).is_err());
        assert!(seen(200, r#"{"active_jobs":-1}"#).is_err());
        assert!(seen(200, "").is_err());
    }
}
