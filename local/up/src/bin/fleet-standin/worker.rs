//! The worker service without a queue: one job at a time, by `POST /standin/job {"seconds": n}`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use fleet_local::random;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{answer, identity, joined, say, variable};

/// As the old worker: so long has a job to end once the worker has to, then it is given up.
const LAST_WORK: Duration = Duration::from_secs(10);

/// What the worker is doing. Clones are the same worker.
#[derive(Clone)]
pub(crate) struct Worker(Arc<Inner>);

struct Inner {
    full: bool,
    started: Instant,
    state: Mutex<Doing>,
    /// The job has to go.
    give_up: watch::Sender<bool>,
}

#[derive(Default)]
struct Doing {
    draining: bool,
    stopping: bool,
    job: Option<String>,
}

pub(crate) fn router(worker: Worker) -> Router {
    Router::new()
        .route("/worker/status", get(status))
        .route("/worker/health", get(health))
        .route("/worker/drain", post(drain))
        .route("/worker/resume", post(resume))
        .route("/standin/job", post(start_job))
        .fallback(|| async { not_found() })
        .method_not_allowed_fallback(|| async { not_found() })
        .with_state(worker)
}

fn not_found() -> Response {
    answer(404, json!({ "error": "not_found" }))
}

async fn status(State(worker): State<Worker>) -> Response {
    let (inner, doing) = (&worker.0, worker.doing());
    let body = json!({
        "worker_id": variable("GH_WORKER_ID"),
        "ec2_instance_id": variable("EC2_INSTANCE_ID"),
        "ec2_ip": variable("EC2_IP"),
        "active_jobs": doing.active_jobs(),
        "max_concurrent": 1,
        "is_running": !doing.stopping,
        "is_draining": doing.draining,
        "dispatch_mode": "queue",
        "asg_name": variable("AWS_ASG_NAME"),
        "uptime_ms": u64::try_from(inner.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    answer(200, joined(body, worker.contract(&doing)))
}

async fn health(State(worker): State<Worker>) -> Response {
    let doing = worker.doing();
    let word = match (doing.draining, doing.active_jobs()) {
        (true, _) => "draining",
        (false, 0) => "idle",
        (false, _) => "busy",
    };
    let body = json!({
        "status": word, "active_jobs": doing.active_jobs(), "deploy_safe": word == "idle",
    });
    let code = if word == "idle" { 200 } else { 503 };
    answer(code, joined(body, worker.contract(&doing)))
}

async fn drain(State(worker): State<Worker>, headers: HeaderMap) -> Response {
    match refusal(&headers).filter(|_| worker.0.full) {
        Some(error) => answer(403, json!({ "error": error })),
        None => worker.set_draining(true, "draining"),
    }
}

async fn resume(State(worker): State<Worker>, headers: HeaderMap) -> Response {
    match (worker.0.full, refusal(&headers)) {
        (false, _) => not_found(),
        (true, Some(error)) => answer(403, json!({ "error": error })),
        (true, None) => worker.set_draining(false, "active"),
    }
}

/// Why a request to drain or resume is refused: a web page that this machine's browser visits can
/// send it as well. A browser names the origin of such a request, and cannot set the header without
/// a preflight.
fn refusal(headers: &HeaderMap) -> Option<String> {
    if let Some(name) =
        ["origin", "sec-fetch-site"].iter().find(|name| headers.contains_key(**name))
    {
        return Some(format!("a request with {name} comes from a web page"));
    }
    (!headers.contains_key("x-ghosthands-control"))
        .then(|| "the header X-GhostHands-Control is missing".to_owned())
}

async fn start_job(State(worker): State<Worker>, body: String) -> Response {
    let seconds =
        serde_json::from_str::<Value>(&body).ok().and_then(|body| body["seconds"].as_f64());
    let Some(Ok(length)) = seconds.map(Duration::try_from_secs_f64) else {
        return answer(
            400,
            json!({ "error": "the body must be {\"seconds\": n} with n of at least 0" }),
        );
    };
    let mut doing = worker.doing();
    if doing.job.is_some() {
        return answer(409, json!({ "error": "busy" }));
    }
    if !worker.accepts(&doing) {
        return answer(409, json!({ "error": "not accepting" }));
    }
    let Ok(job) = random::hex() else {
        return answer(500, json!({ "error": "there is no randomness for the job's id" }));
    };
    say("claimed", json!({ "job": job, "seconds": seconds }));
    doing.job = Some(job.clone());
    drop(doing);
    tokio::spawn(worker.clone().work(job.clone(), length));
    answer(202, json!({ "job": job }))
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(full: bool) -> Self {
        let (started, state) = (Instant::now(), Mutex::default());
        Self(Arc::new(Inner { full, started, state, give_up: watch::Sender::new(false) }))
    }

    /// Takes no more work, and waits for the job, but not for ever.
    pub(crate) async fn finish(&self) {
        self.doing().stopping = true;
        let began = Instant::now();
        while self.doing().job.is_some() {
            if began.elapsed() >= LAST_WORK {
                self.0.give_up.send_replace(true);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        say("stopped", json!({ "worker_id": variable("GH_WORKER_ID") }));
    }

    async fn work(self, job: String, length: Duration) {
        let mut give_up = self.0.give_up.subscribe();
        let whole = tokio::select! {
            () = tokio::time::sleep(length) => true,
            _ = give_up.wait_for(|given_up| *given_up) => false,
        };
        say(if whole { "finished" } else { "interrupted" }, json!({ "job": job }));
        self.doing().job = None;
    }

    fn set_draining(&self, draining: bool, word: &str) -> Response {
        let mut doing = self.doing();
        if doing.draining != draining {
            doing.draining = draining;
            let event = if draining { "draining" } else { "resumed" };
            say(event, json!({ "active_jobs": doing.active_jobs() }));
        }
        let body = json!({
            "status": word, "active_jobs": doing.active_jobs(), "worker_id": variable("GH_WORKER_ID"),
        });
        answer(200, joined(body, self.contract(&doing)))
    }

    /// The old worker goes on taking jobs after a drain: its flag has no reader.
    fn accepts(&self, doing: &Doing) -> bool {
        let closed = self.0.full && doing.draining;
        !doing.stopping && !closed
    }

    /// What only a worker with the full contract says, and the version.
    fn contract(&self, doing: &Doing) -> Value {
        if !self.0.full {
            return json!({});
        }
        joined(json!({ "accepting": self.accepts(doing) }), identity())
    }

    fn doing(&self) -> std::sync::MutexGuard<'_, Doing> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doing {
    fn active_jobs(&self) -> u32 {
        u32::from(self.job.is_some())
    }
}
