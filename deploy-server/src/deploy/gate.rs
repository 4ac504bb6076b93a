//! The gate: is this container the one that serves, and does it stay so?
//!
//! An HTTP answer alone proves nothing on host networking, where any process may own the port. The
//! gate asks for the container (running, never restarted, one start time), for the listener (a
//! process of that container) and for the answer, all together, without a break.

use std::time::Duration;

use super::find;
use crate::docker::ContainerDetail;
use crate::listener;
use crate::probe::{self, Reply};
use crate::service::{Service, ServiceKind};

/// How long a stranger may hold the port before waiting is pointless; a dying process needs a
/// moment.
const STRANGER_PATIENCE: Duration = Duration::from_secs(2);
/// One question of the gate.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// One look at a container that should become healthy.
#[derive(Debug, Clone)]
pub struct Sample {
    pub container: Option<Container>,
    pub listener: Listener,
    /// Why its HTTP answer does not count, if it does not.
    pub answer: Result<(), String>,
}

#[derive(Debug, Clone)]
pub struct Container {
    pub running: bool,
    pub restart_count: u64,
    pub started_at: String,
    /// How it ended, for the message.
    pub end: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listener {
    Nobody,
    Ours,
    Stranger(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    Wait,
    Passed,
    Failed(String),
}

/// Judges samples in order. Times count from the container's start.
#[derive(Debug)]
pub struct Gate {
    healthy_for: Duration,
    start_within: Duration,
    port: u16,
    first: Option<(u64, String)>,
    healthy_since: Option<Duration>,
    stranger_since: Option<Duration>,
}

// === impl Gate ===

impl Gate {
    #[must_use]
    pub fn new(healthy_for: Duration, start_within: Duration, port: u16) -> Self {
        let (first, healthy_since, stranger_since) = (None, None, None);
        Self { healthy_for, start_within, port, first, healthy_since, stranger_since }
    }

    /// Takes one sample, seen at `at`.
    #[must_use]
    pub fn observe(&mut self, at: Duration, sample: &Sample) -> GateState {
        let Some(container) = &sample.container else {
            return GateState::Failed("the container is gone".to_owned());
        };
        if !container.running {
            return GateState::Failed(format!("the container went down: {}", container.end));
        }
        let identity = (container.restart_count, container.started_at.clone());
        if *self.first.get_or_insert_with(|| identity.clone()) != identity {
            return GateState::Failed("the container restarted".to_owned());
        }

        self.stranger_since = match (&sample.listener, self.stranger_since) {
            (Listener::Stranger(_), since) => Some(since.unwrap_or(at)),
            _ => None,
        };
        if let (Listener::Stranger(who), Some(since)) = (&sample.listener, self.stranger_since)
            && at.saturating_sub(since) >= STRANGER_PATIENCE
        {
            return GateState::Failed(format!(
                "port {} belongs to {who}, not to the container",
                self.port
            ));
        }

        let reason = match (&sample.listener, &sample.answer) {
            (Listener::Ours, Ok(())) => {
                let since = *self.healthy_since.get_or_insert(at);
                return if at.saturating_sub(since) >= self.healthy_for {
                    GateState::Passed
                } else {
                    GateState::Wait
                };
            }
            (Listener::Ours, Err(reason)) => reason.clone(),
            (Listener::Nobody, _) => format!("nothing listens on port {}", self.port),
            (Listener::Stranger(who), _) => format!("port {} belongs to {who}", self.port),
        };
        self.healthy_since = None;
        if at >= self.start_within {
            let limit = self.start_within.as_secs_f64();
            return GateState::Failed(format!("not healthy within {limit} s: {reason}"));
        }
        GateState::Wait
    }
}

/// Looks once at `service`, whose container the engine has just described.
pub async fn look(
    service: &Service,
    detail: Option<&ContainerDetail>,
    deploy: Option<&str>,
) -> Sample {
    let port = service.place.port;
    let listener = if detail.is_some_and(|detail| find::has_port(detail, port)) {
        Listener::Ours
    } else if listener::on_port(port).sockets.is_empty() {
        Listener::Nobody
    } else {
        Listener::Stranger(describe_owner(port))
    };
    let answer = match listener {
        Listener::Ours => ask(service, deploy).await,
        _ => Err("its port is not its own".to_owned()),
    };
    Sample { container: detail.map(Container::from), listener, answer }
}

fn describe_owner(port: u16) -> String {
    listener::owner_of(port).map_or_else(
        || "an unknown process".to_owned(),
        |pid| format!("process {pid} ({})", listener::name_of(pid)),
    )
}

async fn ask(service: &Service, deploy: Option<&str>) -> Result<(), String> {
    let reply = probe::get(&service.place, service.kind.health_path(), ANSWER_WITHIN).await;
    judge(service.kind, &reply.map_err(|error| error.to_string())?, deploy)
}

/// What a health answer means. A worker that has a job answers 503 and is healthy.
///
/// # Errors
/// Why the answer does not count.
pub fn judge(kind: ServiceKind, reply: &Reply, deploy: Option<&str>) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Health {
        status: Option<String>,
        deploy_id: Option<String>,
    }
    let status = reply.status;
    let health: Option<Health> = serde_json::from_slice(&reply.body).ok();
    let echoed = health.as_ref().and_then(|health| health.deploy_id.as_deref());
    if let (Some(echoed), Some(deploy)) = (echoed, deploy)
        && echoed != deploy
    {
        return Err(format!("it answers for deploy {echoed:?}"));
    }
    match kind {
        ServiceKind::Api if (200..300).contains(&status) => Ok(()),
        ServiceKind::Api => Err(format!("its health answers {status}")),
        ServiceKind::Worker => match (status, health.and_then(|health| health.status).as_deref()) {
            (200 | 503, Some("idle" | "busy")) => Ok(()),
            (status, Some(word)) => Err(format!("its health answers {status} {word:?}")),
            (status, None) => Err(format!("its health answers {status} without a status")),
        },
    }
}

impl From<&ContainerDetail> for Container {
    fn from(detail: &ContainerDetail) -> Self {
        let state = &detail.state;
        let mut end = format!("exit code {}", state.exit_code);
        if state.oom_killed {
            end.push_str(", out of memory");
        }
        if !state.error.is_empty() {
            end.push_str(", ");
            end.push_str(&state.error);
        }
        Self {
            running: detail.is_running(),
            restart_count: detail.restart_count,
            started_at: state.started_at.clone(),
            end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Container, Gate, GateState, Listener, Sample, judge};
    use crate::probe::Reply;
    use crate::service::ServiceKind;
    use hyper::body::Bytes;
    use std::time::Duration;

    fn healthy() -> Sample {
        let container = Container {
            running: true,
            restart_count: 0,
            started_at: "t0".to_owned(),
            end: "exit code 0".to_owned(),
        };
        Sample { container: Some(container), listener: Listener::Ours, answer: Ok(()) }
    }

    fn with(change: impl FnOnce(&mut Sample)) -> Sample {
        let mut sample = healthy();
        change(&mut sample);
        sample
    }

    fn run(samples: &[(u64, Sample)]) -> GateState {
        let mut gate = Gate::new(Duration::from_secs(10), Duration::from_secs(90), 3101);
        let mut verdict = GateState::Wait;
        for (at, sample) in samples {
            verdict = gate.observe(Duration::from_secs(*at), sample);
            if verdict != GateState::Wait {
                break;
            }
        }
        verdict
    }

    #[test]
    fn ten_seconds_without_a_break() {
        assert_eq!(run(&[(1, healthy()), (10, healthy())]), GateState::Wait);
        assert_eq!(run(&[(1, healthy()), (11, healthy())]), GateState::Passed);
        let sick = with(|sample| sample.answer = Err("its health answers 500".to_owned()));
        assert_eq!(
            run(&[(1, healthy()), (6, sick), (7, healthy()), (11, healthy())]),
            GateState::Wait
        );
    }

    #[test]
    fn healthy_and_then_dead_is_a_failure_at_once() {
        let dead = with(|sample| {
            let container = sample.container.as_mut().unwrap();
            container.running = false;
            container.end = "exit code 98".to_owned();
        });
        let expected = GateState::Failed("the container went down: exit code 98".to_owned());
        assert_eq!(run(&[(1, healthy()), (5, dead)]), expected);
    }

    #[test]
    fn a_restart_is_a_failure_even_when_it_is_healthy_again() {
        let restarted = with(|sample| sample.container.as_mut().unwrap().restart_count = 1);
        let expected = GateState::Failed("the container restarted".to_owned());
        assert_eq!(run(&[(1, healthy()), (5, restarted)]), expected);
        let newer = with(|sample| sample.container.as_mut().unwrap().started_at = "t1".to_owned());
        assert_eq!(run(&[(1, healthy()), (5, newer)]), expected);
    }

    #[test]
    fn an_answer_from_a_strangers_port_is_no_answer() {
        let squat =
            with(|sample| sample.listener = Listener::Stranger("process 7 (nc)".to_owned()));
        let verdict = run(&[(1, squat.clone()), (2, squat.clone()), (3, squat)]);
        let expected = "port 3101 belongs to process 7 (nc), not to the container";
        assert_eq!(verdict, GateState::Failed(expected.to_owned()));
    }

    #[test]
    fn never_healthy_ends_at_the_deadline_with_the_reason() {
        let mute = with(|sample| sample.listener = Listener::Nobody);
        let verdict = run(&[(1, mute.clone()), (89, mute.clone()), (90, mute)]);
        let expected = "not healthy within 90 s: nothing listens on port 3101";
        assert_eq!(verdict, GateState::Failed(expected.to_owned()));
    }

    #[test]
    fn a_worker_that_took_a_job_at_once_is_healthy() {
        let reply = |status, body: &'static str| Reply {
            status,
            body: Bytes::from_static(body.as_bytes()),
        };
        let worker = |status, body| judge(ServiceKind::Worker, &reply(status, body), Some("d2"));
        assert_eq!(worker(503, r#"{"status":"busy"}"#), Ok(()));
        assert_eq!(worker(200, r#"{"status":"idle","deploy_id":"d2"}"#), Ok(()));
        assert!(worker(200, r#"{"status":"idle","deploy_id":"d1"}"#).is_err());
        assert!(worker(503, r#"{"status":"draining"}"#).is_err());
        assert!(worker(503, "").is_err());
        assert!(judge(ServiceKind::Api, &reply(503, "{}"), None).is_err());
        assert_eq!(judge(ServiceKind::Api, &reply(200, "fine"), None), Ok(()));
    }
}
