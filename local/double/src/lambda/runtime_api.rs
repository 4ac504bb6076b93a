//! The Runtime API as one process sees it: `next`, `response`, `error`, `init/error`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::function::FunctionError;
use crate::services::header;

/// Most a synchronous response may weigh: 6 MB and a little for its wrapping.
const RESPONSE_BYTES: usize = 6_291_556;

/// What came of an invocation.
pub(super) type FunctionAnswer = Result<Vec<u8>, FunctionError>;

/// An invocation on its way to the process.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) id: String,
    pub(super) payload: Vec<u8>,
    pub(super) timeout: Duration,
    pub(super) arn: String,
    pub(super) trace: String,
    pub(super) done: oneshot::Sender<FunctionAnswer>,
}

/// What the process does at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Has not asked for work yet.
    Starting,
    /// Waits in `next`.
    Polling,
    /// Has an invocation.
    Working,
    /// Reported that it cannot start.
    InitFailed(FunctionError),
}

/// One process's end of the Runtime API.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    inbox: tokio::sync::Mutex<mpsc::Receiver<Invocation>>,
    current: Mutex<Option<(String, oneshot::Sender<FunctionAnswer>)>>,
    phase: watch::Sender<Phase>,
}

impl RuntimeApi {
    /// The API, the way in for invocations, and the process's phase.
    pub(super) fn new() -> (Arc<Self>, mpsc::Sender<Invocation>, watch::Receiver<Phase>) {
        let (send, receive) = mpsc::channel(1);
        let phase = watch::Sender::new(Phase::Starting);
        let watched = phase.subscribe();
        let api =
            Self { inbox: tokio::sync::Mutex::new(receive), current: Mutex::default(), phase };
        (Arc::new(api), send, watched)
    }

    pub(super) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::max(RESPONSE_BYTES))
            .with_state(self)
    }

    /// Ends the invocation that the process left unanswered, if there is one.
    fn abandon(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((id, done)) = current {
            let message =
                format!("RequestId: {id} Error: the runtime went on without answering this one");
            drop(done.send(Err(FunctionError { error_type: "Runtime.Unknown".into(), message })));
        }
    }

    /// Ends the invocation `id` if it is the one the process has.
    fn finish(&self, id: &str, outcome: FunctionAnswer) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.take() {
            Some((known, done)) if known == id => {
                // The caller may have given up: a timeout kills the process anyway.
                drop(done.send(outcome));
                true
            }
            other => {
                *current = other;
                false
            }
        }
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    let mut inbox = api.inbox.lock().await;
    api.abandon();
    api.phase.send_replace(Phase::Polling);
    let Some(invocation) = inbox.recv().await else {
        return answer(410, json!({ "errorType": "Gone", "errorMessage": "shutting down" }));
    };
    api.phase.send_replace(Phase::Working);
    let Invocation { id, payload, timeout, arn, trace, done } = invocation;
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + timeout;
    *api.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((id.clone(), done));
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", id)
        .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
        .header("lambda-runtime-invoked-function-arn", arn)
        .header("lambda-runtime-trace-id", trace)
        .body(Body::from(payload))
        .unwrap_or_default()
}

async fn response(
    State(api): State<Arc<RuntimeApi>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if header(&headers, "lambda-runtime-function-response-mode").is_some() {
        let message = "The double does not model response streaming";
        return answer(400, json!({ "errorType": "Unsupported", "errorMessage": message }));
    }
    if let Ok(body) = body {
        return accepted(api.finish(&id, Ok(body.to_vec())));
    }
    let error_type = "Function.ResponseSizeTooLarge".to_owned();
    let message = format!(
        "Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
    );
    let refusal = json!({ "errorType": "RequestEntityTooLarge", "errorMessage": message });
    api.finish(&id, Err(FunctionError { error_type, message }));
    answer(413, refusal)
}

async fn error(
    State(api): State<Arc<RuntimeApi>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    accepted(api.finish(&id, Err(reported(&headers, &body))))
}

async fn init_error(
    State(api): State<Arc<RuntimeApi>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    api.phase.send_replace(Phase::InitFailed(reported(&headers, &body)));
    accepted(true)
}

fn accepted(known: bool) -> Response {
    if known {
        return answer(202, json!({ "status": "OK" }));
    }
    answer(400, json!({ "errorType": "InvalidRequestID", "errorMessage": "Invalid request ID" }))
}

/// The error as the process reports it: the body first, the header where the body says nothing.
fn reported(headers: &HeaderMap, body: &[u8]) -> FunctionError {
    let payload: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| payload.get(key).and_then(Value::as_str).map(str::to_owned);
    let declared = header(headers, "lambda-runtime-function-error-type").map(str::to_owned);
    FunctionError {
        error_type: text("errorType").or(declared).unwrap_or_else(|| "Unknown".to_owned()),
        message: text("errorMessage").unwrap_or_default(),
    }
}

fn answer(status: u16, body: Value) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap_or_default()
}
