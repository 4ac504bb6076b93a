//! Notices of this machine's end, read from the instance metadata: a drain needs no function, event
//! or command.
//!
//! Both are levels: they stay readable until the machine is gone, so a restart misses none. What
//! cannot be read is unknown, and unknown starts nothing.

use std::time::Duration;

use serde::Deserialize;

use crate::aws::{Error, Imds};
use crate::clock::now_ms;
use crate::host_drain::{DrainWish, drain_host};
use crate::server::Server;

const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// What the Auto Scaling group has in mind for this instance.
const TARGET_STATE: &str = "autoscaling/target-lifecycle-state";
/// Present from two minutes before EC2 takes a Spot instance back.
const SPOT_ACTION: &str = "spot/instance-action";
/// No notice leaves more time than this; a moment further away is a clock that is wrong.
const NOTICE_TIME: Duration = Duration::from_secs(120);
/// The worker has ended this long before the machine is taken back.
const RESERVE: Duration = Duration::from_secs(10);

/// Why AWS takes this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The group ends it, and waits for the drain.
    Terminated,
    /// EC2 takes it back at this moment, whatever runs.
    Reclaimed { at_ms: i64 },
}

/// What the metadata said last, so that only a change is logged.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Answer(Option<Notice>),
    Unknown,
}

/// Looks at the metadata until the process ends, and drains the host when it is told to go.
pub async fn watch(server: &'static Server) {
    if !server.imds.is_enabled() {
        tracing::info!(
            "AWS_EC2_METADATA_DISABLED is true: this host learns of its end by commands only"
        );
        return;
    }
    let mut heard = Heard::Answer(None);
    let mut reclaim_done = false;
    loop {
        let now = match read(&server.imds).await {
            Ok(notice) => Heard::Answer(notice),
            Err(error) => {
                if heard != Heard::Unknown {
                    tracing::warn!(error = %error, "the instance metadata cannot be read; no drain begins for that, and it is read again");
                }
                Heard::Unknown
            }
        };
        if let (true, Heard::Answer(notice)) = (now != heard, &now) {
            tracing::info!(notice = ?notice, "the instance metadata was read: it says whether AWS takes this machine");
        }
        match now {
            // The marker and the closed intake come at once; the reconciler then waits for the job.
            Heard::Answer(Some(Notice::Terminated)) if !server.is_terminating() => {
                drain(server, Duration::ZERO, false).await;
            }
            Heard::Answer(Some(Notice::Reclaimed { at_ms })) if !reclaim_done => {
                let within = time_to_drain(at_ms, now_ms(), server.config.timing.stop_grace);
                reclaim_done = drain(server, within, true).await;
            }
            _ => {}
        }
        heard = now;
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

async fn drain(server: &'static Server, within: Duration, stop: bool) -> bool {
    let wish = DrainWish { within, terminating: true, stop };
    let report = drain_host(server, wish).await.report;
    tracing::warn!(
        drained = report.drained,
        active_jobs = report.active_jobs,
        stopped_jobs = report.stopped_jobs,
        message = report.message,
        "AWS takes this machine: its worker was told to drain"
    );
    report.drained
}

/// Reads both notices. The harder one counts.
async fn read(imds: &Imds) -> Result<Option<Notice>, Error> {
    let (spot, target) = tokio::join!(imds.get(SPOT_ACTION), imds.get(TARGET_STATE));
    let spot = spot.and_then(|text| text.map(|text| reclaim(&text)).transpose());
    let target = target.map(|state| state.and_then(|state| departure(&state)));
    match (spot, target) {
        (Ok(Some(notice)), _) | (_, Ok(Some(notice))) => Ok(Some(notice)),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(None), Ok(None)) => Ok(None),
    }
}

/// What a target state means. `Terminated` alone is the way out: a warm pool's states are not.
#[must_use]
pub fn departure(state: &str) -> Option<Notice> {
    (state == "Terminated").then_some(Notice::Terminated)
}

/// Reads `{"action": "terminate", "time": "2026-01-01T00:02:00Z"}`. Stopping and hibernating take
/// the machine from its group as well.
///
/// # Errors
/// When it is something else.
pub fn reclaim(text: &str) -> Result<Notice, Error> {
    #[derive(Deserialize)]
    struct Action {
        action: String,
        time: String,
    }
    let unreadable =
        |reason| Error::Unreadable { what: format!("the instance metadata {SPOT_ACTION}"), reason };
    let said: Action =
        serde_json::from_str(text).map_err(|_| unreadable("it is no action with a time"))?;
    let time: jiff::Timestamp =
        said.time.parse().map_err(|_| unreadable("its time is not RFC 3339"))?;
    match said.action.as_str() {
        "terminate" | "stop" | "hibernate" => {
            Ok(Notice::Reclaimed { at_ms: time.as_millisecond() })
        }
        _ => Err(unreadable("it names no action that is known")),
    }
}

/// How long a worker may go on before it has to be told to end, so that its grace is over when the
/// machine is taken.
#[must_use]
pub fn time_to_drain(at_ms: i64, now_ms: i64, grace: Duration) -> Duration {
    let left = u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0);
    Duration::from_millis(left).min(NOTICE_TIME).saturating_sub(grace + RESERVE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Notice, departure, reclaim, time_to_drain};

    #[test]
    fn only_terminated_is_the_way_out() {
        assert_eq!(departure("Terminated"), Some(Notice::Terminated));
        for state in ["InService", "Standby", "Detached", "Warmed:Stopped", "Warmed:Running", ""] {
            assert_eq!(departure(state), None, "{state}");
        }
    }

    #[test]
    fn a_spot_notice_is_read_and_rubbish_is_none() {
        let text = r#"{"action": "terminate", "time": "1970-01-01T00:02:00Z"}"#;
        assert_eq!(reclaim(text).unwrap(), Notice::Reclaimed { at_ms: 120_000 });
        for text in [
            "",
            "<html>",
            "{}",
            r#"{"action":"terminate"}"#,
            r#"{"action":"terminate","time":"soon"}"#,
            r#"{"action":"none","time":"1970-01-01T00:02:00Z"}"#,
        ] {
            assert!(reclaim(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_workers_grace_is_over_before_the_machine_is_taken() {
        let left = |ms, grace| time_to_drain(ms, 0, Duration::from_secs(grace)).as_secs();
        assert_eq!(left(120_000, 35), 75);
        assert_eq!(left(40_000, 35), 0, "too late for anything but the grace");
        assert_eq!(left(-5_000, 35), 0, "the moment is past");
        assert_eq!(left(3_600_000, 35), 75, "a clock that is an hour behind");
        assert_eq!(left(120_000, 300), 0, "a grace longer than the notice");
    }
}
