//! A drain that nobody asked this host for: the worker's intake is closed, and no drain, deploy or
//! notice closed it.
//!
//! The worker's port is open to whatever runs on this machine, and to the pages that its browser
//! visits. A worker that believes such a request takes no job and looks healthy, so the host opens
//! its intake again and says so.

use std::time::{Duration, Instant};

use fleet_protocol::worker::WorkerStatus;

use crate::ops::What;
use crate::server::Server;
use crate::worker;

/// Two looks this far apart: a worker that is just ending closes its intake too.
const CLOSED_FOR: Duration = Duration::from_secs(3);
/// A page may ask again and again; the log is not its to fill.
const BETWEEN_WORDS: Duration = Duration::from_secs(60);

/// What was seen so far.
#[derive(Debug, Default)]
pub struct UnaskedDrain {
    closed_since: Option<Instant>,
    resumed: u64,
    said: Option<Instant>,
}

/// What to do about a reading. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchStep {
    Nothing,
    Resume,
    /// An old worker cannot resume, and goes on taking jobs anyway.
    Report,
}

impl UnaskedDrain {
    /// Looks once. To be called while nothing else is in progress on the host.
    pub async fn look(&mut self, server: &Server) {
        // Whatever closed the intake by order of this host is in force until it is taken back.
        if server.state.is_drain_asked() || server.state.stopped_by_drain().is_some() {
            self.closed_since = None;
            return;
        }
        let Ok(reading) = worker::read(&server.config.worker.place).await else {
            self.closed_since = None;
            return;
        };
        match self.judge(&reading, Instant::now()) {
            WatchStep::Nothing => {}
            WatchStep::Report => self.say("its worker cannot be told to resume", &reading),
            WatchStep::Resume => {
                // The lock is taken last, and what it guards is asked once more: a drain may have
                // begun since.
                let Ok(_ticket) = server.ops.admit(What::Resume) else { return };
                if server.is_terminating() || server.state.is_drain_asked() {
                    return;
                }
                match worker::open_intake(&server.config.worker.place).await {
                    Ok(()) => {
                        self.resumed += 1;
                        self.say("the worker takes work again", &reading);
                    }
                    Err(error) => self.say(&error.to_string(), &reading),
                }
                server.readings.forget();
            }
        }
    }

    fn judge(&mut self, reading: &WorkerStatus, now: Instant) -> WatchStep {
        let closed = reading.accepting.map_or(reading.is_draining, |accepting| !accepting);
        if !closed {
            self.closed_since = None;
            return WatchStep::Nothing;
        }
        // A worker that does not say it drains ends, or waits for its queue: no order closed it.
        if !reading.is_draining {
            return WatchStep::Nothing;
        }
        let since = *self.closed_since.get_or_insert(now);
        if now.saturating_duration_since(since) < CLOSED_FOR {
            return WatchStep::Nothing;
        }
        self.closed_since = None;
        if reading.accepting.is_some() { WatchStep::Resume } else { WatchStep::Report }
    }

    fn say(&mut self, outcome: &str, reading: &WorkerStatus) {
        if self.said.is_some_and(|said| said.elapsed() < BETWEEN_WORDS) {
            return;
        }
        self.said = Some(Instant::now());
        tracing::warn!(
            kind = "unasked_drain",
            outcome,
            resumed = self.resumed,
            active_jobs = reading.active_jobs,
            worker_id = reading.worker_id,
            "the worker drains although neither this host nor the fleet told it to: a web page or a process of this machine did"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{CLOSED_FOR, UnaskedDrain, WatchStep};
    use fleet_protocol::worker::WorkerStatus;
    use std::time::Instant;

    fn reading(is_draining: bool, accepting: Option<bool>) -> WorkerStatus {
        let (worker_id, uptime_ms, deploy_id) = (None, None, None);
        WorkerStatus { active_jobs: 0, is_draining, accepting, worker_id, uptime_ms, deploy_id }
    }

    #[test]
    fn a_closed_intake_is_opened_after_two_looks_and_an_old_worker_is_reported() {
        let began = Instant::now();
        let mut seen = UnaskedDrain::default();
        assert_eq!(seen.judge(&reading(true, Some(false)), began), WatchStep::Nothing);
        assert_eq!(seen.judge(&reading(true, Some(false)), began + CLOSED_FOR), WatchStep::Resume);
        assert_eq!(seen.judge(&reading(true, Some(false)), began + CLOSED_FOR), WatchStep::Nothing);
        // Open in between: the time counts anew.
        let mut seen = UnaskedDrain::default();
        assert_eq!(seen.judge(&reading(true, Some(false)), began), WatchStep::Nothing);
        assert_eq!(seen.judge(&reading(false, Some(true)), began), WatchStep::Nothing);
        assert_eq!(seen.judge(&reading(true, Some(false)), began + CLOSED_FOR), WatchStep::Nothing);
        let mut old = UnaskedDrain::default();
        assert_eq!(old.judge(&reading(true, None), began), WatchStep::Nothing);
        assert_eq!(old.judge(&reading(true, None), began + CLOSED_FOR), WatchStep::Report);
        // It ends by itself.
        let mut ending = UnaskedDrain::default();
        assert_eq!(ending.judge(&reading(false, Some(false)), began), WatchStep::Nothing);
        assert_eq!(
            ending.judge(&reading(false, Some(false)), began + CLOSED_FOR),
            WatchStep::Nothing
        );
    }
}
