//! The Engine API, as far as a deploy-server uses it: one table of calls, and the errors in
//! Docker's words.

mod containers;
mod images;
mod query;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::query::Query;
use crate::state::Shared;

/// That of Docker 20.10, whose words these are.
const VERSION: (u32, u32) = (1, 41);
const OLDEST: (u32, u32) = (1, 24);

/// An answer other than success.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The same, with what was being done before the words.
    pub(crate) fn within(mut self, doing: &str) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        reply(self.status, &json!({ "message": self.message }))
    }
}

pub(crate) type Answer = Result<Response, Refusal>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

pub(crate) fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/json")], format!("{body}\n")).into_response()
}

pub(crate) fn ok(body: &Value) -> Answer {
    Ok(reply(StatusCode::OK, body))
}

/// 204, the usual answer to an order.
pub(crate) fn done() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 304: it is so already.
pub(crate) fn already() -> Answer {
    Ok(StatusCode::NOT_MODIFIED.into_response())
}

/// Reads a body; an empty one where none is needed.
pub(crate) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("invalid JSON: {error}")))
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let path = match without_version(uri.path()) {
        Ok(path) => path,
        Err(refusal) => return refusal.into_response(),
    };
    let words: Vec<String> = path.split('/').skip(1).map(query::decode).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let query = Query::parse(uri.query().unwrap_or_default());
    let outcome = call(&shared, method.as_str(), &words, query, &body).await;
    outcome.unwrap_or_else(IntoResponse::into_response)
}

async fn call(
    shared: &Arc<Shared>,
    method: &str,
    words: &[&str],
    query: Query,
    body: &Bytes,
) -> Answer {
    match (method, words) {
        ("GET" | "HEAD", ["_ping"]) => Ok(ping()),
        ("GET", ["version"]) => ok(&version()),
        ("GET", ["system", "df"]) => ok(&images::usage(shared)),
        ("GET", ["containers", "json"]) => containers::list(shared, query),
        ("POST", ["containers", "create"]) => containers::create(shared, query, body),
        ("GET", ["containers", id, "json"]) => containers::inspect(shared, id, query),
        ("POST", ["containers", id, "start"]) => containers::start(shared, id, query),
        ("POST", ["containers", id, "stop"]) => containers::stop(shared, id, query).await,
        ("POST", ["containers", id, "restart"]) => containers::restart(shared, id, query).await,
        ("POST", ["containers", id, "kill"]) => containers::kill(shared, id, query),
        ("POST", ["containers", id, "wait"]) => containers::wait(shared, id, query).await,
        ("POST", ["containers", id, "rename"]) => containers::rename(shared, id, query),
        ("POST", ["containers", id, "update"]) => containers::update(shared, id, body),
        ("GET", ["containers", id, "logs"]) => containers::logs(shared, id, query),
        ("DELETE", ["containers", id]) => containers::remove(shared, id, query).await,
        ("POST", ["images", "create"]) => images::pull(shared, query),
        ("GET", ["images", "json"]) => images::list(shared, query),
        ("GET", ["images", name @ .., "json"]) => images::inspect(shared, &name.join("/")),
        ("DELETE", ["images", name @ ..]) => images::remove(shared, &name.join("/"), query),
        // There is no build cache and there are no volumes.
        ("POST", ["build", "prune"]) => ok(&json!({ "CachesDeleted": null, "SpaceReclaimed": 0 })),
        ("GET", ["volumes"]) => ok(&json!({ "Volumes": [], "Warnings": null })),
        ("DELETE", ["volumes", name]) => {
            Err(Refusal::missing(format!("get {name}: no such volume")))
        }
        _ => Err(Refusal::missing("page not found")),
    }
}

/// Takes `/v1.41` off; a version that is too new or too old is refused, as Docker does.
fn without_version(path: &str) -> Result<&str, Refusal> {
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        let (major, minor) = version.split_once('.')?;
        Some((version, (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)))
    });
    let Some((text, asked)) = versioned else { return Ok(path) };
    let words = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    if asked > VERSION {
        let newest = words(VERSION);
        return Err(Refusal::bad(format!(
            "client version {text} is too new. Maximum supported API version is {newest}"
        )));
    }
    if asked < OLDEST {
        let oldest = words(OLDEST);
        return Err(Refusal::bad(format!(
            "client version {text} is too old. Minimum supported API version is {oldest}, please upgrade your client to a newer version"
        )));
    }
    Ok(&path[text.len() + 2..])
}

fn version() -> Value {
    json!({
        "Version": concat!("process-engine-", env!("CARGO_PKG_VERSION")),
        "ApiVersion": format!("{}.{}", VERSION.0, VERSION.1),
        "MinAPIVersion": format!("{}.{}", OLDEST.0, OLDEST.1),
        "Os": std::env::consts::OS,
        "Arch": std::env::consts::ARCH,
    })
}

fn ping() -> Response {
    let version = format!("{}.{}", VERSION.0, VERSION.1);
    let headers = [("api-version", version.as_str()), ("ostype", std::env::consts::OS)];
    (StatusCode::OK, headers, "OK").into_response()
}
