//! The terminating marker: this machine is going away, and no worker of it takes another job.

use serde::{Deserialize, Serialize};

use super::{StateDir, StateError};

const FILE: &str = "terminating.json";
/// A worker that cannot open its intake again waits for its restart; see the reconciler.
pub const UNDRAIN: &str = "undrain.json";
/// A drain was asked for and not taken back; see `unasked_drain`.
const DRAIN_ASKED: &str = "drain-asked.json";
const STOPPED: &str = "stopped-by-drain.json";

/// The container that a drain stopped, because it could not say that it takes no more work or
/// because its time was up.
#[derive(Serialize, Deserialize)]
struct Stopped {
    container: String,
    #[serde(default)]
    cost: Cost,
}

/// Jobs that did not outlast their worker. Whoever asks next is told of them too: the host stops
/// workers without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// An old worker took them between its last idle answer and its end.
    pub caught: u32,
    /// They ran when the time was up; `None` when the worker could not be asked.
    pub stopped: Option<u32>,
}

impl Default for Cost {
    fn default() -> Self {
        Self { caught: 0, stopped: Some(0) }
    }
}

impl Cost {
    #[must_use]
    pub fn plus(self, more: Cost) -> Cost {
        Cost {
            caught: self.caught + more.caught,
            stopped: self.stopped.zip(more.stopped).map(|(one, other)| one + other),
        }
    }
}

/// Written before the drain begins; a restart, a deploy or a new container does not undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminating {
    /// RFC 3339.
    pub since: String,
    /// The machine it was written on. A machine image made from it must not carry the order over.
    pub instance_id: Option<String>,
}

impl StateDir {
    /// The marker, if it is this machine's.
    ///
    /// # Errors
    /// When the file cannot be read. A marker that is there and garbled counts: it was put there
    /// for a reason.
    pub fn terminating(
        &self,
        instance_id: Option<&str>,
    ) -> Result<Option<Terminating>, StateError> {
        let Some(bytes) = self.read(FILE)? else { return Ok(None) };
        let garbled = Terminating { since: "unknown".to_owned(), instance_id: None };
        let marker: Terminating = serde_json::from_slice(&bytes).unwrap_or(garbled);
        let foreign = match (&marker.instance_id, instance_id) {
            (Some(theirs), Some(ours)) => theirs != ours,
            _ => false,
        };
        Ok((!foreign).then_some(marker))
    }

    /// Writes the marker, durably.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn mark_terminating(&self, marker: &Terminating) -> Result<(), StateError> {
        self.replace(FILE, &serde_json::to_vec(marker).expect("a marker is plain data"))
    }

    /// The worker container that a drain stopped, if one did.
    #[must_use]
    pub fn stopped_by_drain(&self) -> Option<String> {
        self.stopped().map(|stopped| stopped.container)
    }

    /// What its end cost.
    #[must_use]
    pub fn cost_of_drain(&self) -> Cost {
        self.stopped().map(|stopped| stopped.cost).unwrap_or_default()
    }

    fn stopped(&self) -> Option<Stopped> {
        let bytes = self.read(STOPPED).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Remembers that a drain stops this container, and what that cost beside what is remembered
    /// already.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn mark_stopped_by_drain(&self, container: &str, cost: Cost) -> Result<(), StateError> {
        let cost = self.cost_of_drain().plus(cost);
        let stopped = Stopped { container: container.to_owned(), cost };
        self.replace(STOPPED, &serde_json::to_vec(&stopped).expect("a marker is plain data"))
    }

    /// Forgets it: the worker runs again, or another took its place.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn clear_stopped_by_drain(&self) -> Result<(), StateError> {
        self.remove(STOPPED)
    }

    /// Forgets all that a drain wrote down about the worker: it was started since, or another was.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn forget_drain(&self) -> Result<(), StateError> {
        self.clear_stopped_by_drain()?;
        self.remove(DRAIN_ASKED)?;
        self.remove(UNDRAIN)
    }

    /// Remembers that somebody who may asked for a drain, until it is taken back or a worker is
    /// started.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn mark_drain_asked(&self) -> Result<(), StateError> {
        self.replace(DRAIN_ASKED, b"{}")
    }

    /// Whether a drain is in force that somebody asked for. What cannot be read counts as asked
    /// for.
    #[must_use]
    pub fn is_drain_asked(&self) -> bool {
        !matches!(self.read(DRAIN_ASKED), Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use super::Terminating;
    use crate::state::StateDir;

    #[test]
    fn the_marker_binds_its_own_machine_only() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.terminating(Some("i-1")).unwrap(), None);
        let marker = Terminating {
            since: "2026-01-01T00:00:00Z".to_owned(),
            instance_id: Some("i-1".to_owned()),
        };
        state.mark_terminating(&marker).unwrap();
        assert_eq!(state.terminating(Some("i-1")).unwrap(), Some(marker.clone()));
        assert_eq!(state.terminating(None).unwrap(), Some(marker));
        assert_eq!(state.terminating(Some("i-2")).unwrap(), None);
        std::fs::write(state.file("terminating.json"), b"{").unwrap();
        assert!(state.terminating(Some("i-2")).unwrap().is_some());
    }
}
