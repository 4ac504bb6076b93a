//! Draining a worker: close its intake, and wait for the proof that nothing runs.

use std::time::{Duration, Instant};

use fleet_protocol::worker::WorkerStatus;

use crate::service::Place;
use crate::worker::{self, Seen, Unknown};

/// An old worker is caught idle only between two readings, so they are close together.
const BETWEEN_READINGS: Duration = Duration::from_millis(50);
/// A worker that opened its intake again is told again, not more often than this.
const BETWEEN_ORDERS: Duration = Duration::from_secs(1);

/// The proof, or the best there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Nothing runs and nothing more is taken.
    Proven,
    /// Nothing ran an instant ago; this worker cannot say whether it takes more. Stop it now.
    ThisInstant,
}

/// Why there is no proof.
#[derive(Debug, Clone)]
pub struct NotIdle {
    /// The last thing that was seen.
    pub last: Seen,
    pub reason: String,
}

/// One decision of the wait. Pure.
#[must_use]
pub fn judge(intake_closed: bool, seen: &Seen) -> Option<Idle> {
    let reading = seen.as_ref().ok().filter(|_| intake_closed)?;
    if reading.is_drained() {
        Some(Idle::Proven)
    } else if reading.active_jobs == 0 && reading.accepting.is_none() {
        Some(Idle::ThisInstant)
    } else {
        None
    }
}

/// Closes the intake of the worker at `place` and waits for it to be idle, at most `within`.
///
/// # Errors
/// When it is not idle in time, or cannot be asked: unknown is not idle.
pub async fn wait_until_idle(place: &Place, within: Duration) -> Result<Idle, NotIdle> {
    let began = Instant::now();
    let mut ordered: Option<(Instant, Result<(), Unknown>)> = None;
    let mut open = true;
    loop {
        // The order is given again when it was refused, and when the worker has opened its intake
        // since.
        let due = ordered.as_ref().is_none_or(|(at, _)| at.elapsed() >= BETWEEN_ORDERS);
        if open && due {
            ordered = Some((Instant::now(), worker::close_intake(place).await));
        }
        let seen = worker::read(place).await;
        let closed = ordered.as_ref().is_some_and(|(_, outcome)| outcome.is_ok());
        if let Some(idle) = judge(closed, &seen) {
            return Ok(idle);
        }
        if began.elapsed() >= within {
            let order = ordered.and_then(|(_, outcome)| outcome.err());
            return Err(NotIdle { reason: explain(&seen, order.as_ref()), last: seen });
        }
        open = !closed || matches!(seen, Ok(WorkerStatus { accepting: Some(true), .. }));
        tokio::time::sleep(BETWEEN_READINGS.min(within.saturating_sub(began.elapsed()))).await;
    }
}

fn explain(seen: &Seen, order: Option<&Unknown>) -> String {
    match (seen, order) {
        (Err(unknown), _) => format!("the worker's state is unknown: {unknown}"),
        (Ok(_), Some(refusal)) => format!("the worker's intake could not be closed: {refusal}"),
        (Ok(WorkerStatus { active_jobs, .. }), None) if *active_jobs > 0 => {
            format!("the worker still runs {active_jobs} job(s)")
        }
        (Ok(_), None) => "the worker keeps its intake open".to_owned(),
    }
}

/// Watches a worker while something else stops it, and returns the most jobs that were seen
/// running.
pub async fn watch_for_caught_jobs(place: &Place, stopping: impl Future<Output = ()>) -> u32 {
    let mut caught = 0;
    let mut stopping = std::pin::pin!(stopping);
    loop {
        let look = async {
            let seen = worker::read(place).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            seen
        };
        tokio::select! {
            () = &mut stopping => return caught,
            seen = look => {
                if let Ok(reading) = seen {
                    caught = caught.max(reading.active_jobs);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Idle, judge};
    use crate::worker::Unknown;
    use fleet_protocol::worker::WorkerStatus;

    fn reading(active_jobs: u32, accepting: Option<bool>) -> crate::worker::Seen {
        let (worker_id, uptime_ms, deploy_id) = (None, None, None);
        Ok(WorkerStatus {
            active_jobs,
            is_draining: true,
            accepting,
            worker_id,
            uptime_ms,
            deploy_id,
        })
    }

    #[test]
    fn what_is_idle() {
        assert_eq!(judge(true, &reading(0, Some(false))), Some(Idle::Proven));
        assert_eq!(judge(true, &reading(0, None)), Some(Idle::ThisInstant));
        assert_eq!(judge(true, &reading(0, Some(true))), None);
        assert_eq!(judge(true, &reading(1, Some(false))), None);
        assert_eq!(judge(true, &reading(1, None)), None);
        assert_eq!(judge(false, &reading(0, Some(false))), None);
        assert_eq!(judge(true, &Err(Unknown("gone".to_owned()))), None);
    }
}
