//! The Docker Engine, over its unix socket.
//!
//! Written by hand over hyper: the calls are few, the API version is really sent (so an engine
//! upgrade cannot change what a call means), every call has its own deadline, and 304, 404 and 409
//! stay visible. One connection per call: a unix connect costs a tenth of a millisecond, and
//! nothing is left to go stale.

mod containers;
mod images;
mod logs;
mod pull;
mod transport;
mod types;

pub use logs::demultiplex;
pub use pull::{PullError, PullStream};
pub use transport::{Answer, UnixHttp};
pub use types::{
    ContainerDetail, ContainerSummary, EngineVersion, ImageDetail, ImageSummary, Port,
};

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The newest API version this code was written against; an older engine gets its own newest.
const NEWEST_API: (u32, u32) = (1, 44);
/// For calls that only look something up or change a record.
pub const SHORT: Duration = Duration::from_secs(10);

/// What can go wrong when talking to the engine. No variant holds a request body or header: both
/// carry secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the Docker Engine is not reachable at {}: {source}", socket.display())]
    Unreachable { socket: PathBuf, source: std::io::Error },
    #[error("the Docker Engine broke off {call}")]
    Broken { call: String, source: hyper::Error },
    #[error("the Docker Engine did not answer {call} within {} s", after.as_secs())]
    Deadline { call: String, after: Duration },
    #[error("the Docker Engine's answer to {call} is longer than {limit} bytes")]
    TooLong { call: String, limit: usize },
    /// The first words are those of the predecessor, which its clients match on.
    #[error("Docker API error: {status} - {message} ({call})")]
    Status { call: String, status: u16, message: String },
    #[error("the Docker Engine's answer to {call} cannot be read")]
    Shape { call: String, source: serde_json::Error },
    #[error("pull failed: {0}")]
    Pull(#[from] PullError),
}

impl Error {
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// True when the engine itself was away (stopped, restarting): the call may be made again.
    #[must_use]
    pub fn is_engine_away(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. } | Self::Deadline { .. })
    }

    /// True when the engine took the call and did not answer it in time.
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self, Self::Deadline { .. })
    }

    /// True when the registry refused our credential, which a fresh token may cure.
    #[must_use]
    pub fn is_refused_credential(&self) -> bool {
        let text = match self {
            Self::Status { status: 401 | 403, .. } => return true,
            Self::Status { message, .. } => message,
            Self::Pull(PullError::Engine(message)) => message,
            _ => return false,
        };
        let text = text.to_ascii_lowercase();
        ["no basic auth", "unauthorized", "authorization token has expired", "authentication"]
            .iter()
            .any(|sign| text.contains(sign))
    }
}

/// A handle on the engine. Cheap to share by reference; holds no connection.
#[derive(Debug)]
pub struct Engine {
    http: UnixHttp,
    /// The negotiated `/v1.xx`, forgotten when the engine says that it no longer speaks it.
    api: Mutex<Option<String>>,
}

impl Engine {
    /// Names the socket; no I/O happens until the first call.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        Self { http: UnixHttp::new(socket), api: Mutex::new(None) }
    }

    /// The engine's own words about itself. Never cached, so it also answers "is Docker there?".
    ///
    /// # Errors
    /// When the engine is away or answers nonsense.
    pub async fn version(&self) -> Result<EngineVersion, Error> {
        let answer = self.http.call("GET", "/version", &[], None, SHORT).await?;
        decode("GET /version", &answer.expect_success("GET /version")?)
    }

    /// One call, any status. `path` starts with a slash and has no version prefix.
    ///
    /// # Errors
    /// Only transport trouble; every HTTP status is an [`Answer`].
    pub async fn call(
        &self,
        method: &'static str,
        path: &str,
        body: Option<Bytes>,
        deadline: Duration,
    ) -> Result<Answer, Error> {
        self.call_with_headers(method, path, &[], body, deadline).await
    }

    async fn call_with_headers(
        &self,
        method: &'static str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<Bytes>,
        deadline: Duration,
    ) -> Result<Answer, Error> {
        let versioned = format!("{}{path}", self.prefix().await?);
        let answer = self.http.call(method, &versioned, headers, body.clone(), deadline).await?;
        if answer.status == 400 && answer.message().starts_with("client version") {
            *self.lock_api() = None;
            let versioned = format!("{}{path}", self.prefix().await?);
            return self.http.call(method, &versioned, headers, body, deadline).await;
        }
        Ok(answer)
    }

    /// GET and decode.
    ///
    /// # Errors
    /// Transport trouble, any status but 2xx, or an answer of another shape.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let call = format!("GET {}", without_query(path));
        let answer = self.call("GET", path, None, SHORT).await?;
        decode(&call, &answer.expect_success(&call)?)
    }

    /// POST with an optional JSON body; 304 ("already so") is a success. The answer's body is
    /// returned.
    ///
    /// # Errors
    /// Transport trouble or any other status than 2xx and 304.
    pub async fn post(
        &self,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
        deadline: Duration,
    ) -> Result<Bytes, Error> {
        let call = format!("POST {}", without_query(path));
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|source| Error::Shape { call: call.clone(), source })?;
        let answer = self.call("POST", path, body.map(Bytes::from), deadline).await?;
        answer.expect_success(&call)
    }

    /// DELETE; 404 ("already gone") is a success.
    ///
    /// # Errors
    /// Transport trouble or any other status than 2xx and 404.
    pub async fn delete(&self, path: &str, deadline: Duration) -> Result<Bytes, Error> {
        let call = format!("DELETE {}", without_query(path));
        let answer = self.call("DELETE", path, None, deadline).await?;
        if answer.status == 404 {
            return Ok(Bytes::new());
        }
        answer.expect_success(&call)
    }

    async fn prefix(&self) -> Result<String, Error> {
        if let Some(prefix) = self.lock_api().clone() {
            return Ok(prefix);
        }
        let engine = self.version().await?;
        let (prefix, is_newer) = negotiate(&engine.api_version, &engine.min_api_version);
        if is_newer {
            tracing::warn!(
                api = prefix,
                engine = engine.version,
                "the Docker Engine speaks only API versions newer than this server was tested with"
            );
        }
        *self.lock_api() = Some(prefix.clone());
        Ok(prefix)
    }

    fn lock_api(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.api.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The lower of ours and the engine's newest, but not below the engine's oldest; whether that is
/// newer than ours. An engine that cannot say its version is asked for ours.
fn negotiate(newest: &str, oldest: &str) -> (String, bool) {
    let parse = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let wanted = parse(newest).unwrap_or(NEWEST_API).min(NEWEST_API);
    let (major, minor) = parse(oldest).map_or(wanted, |oldest| wanted.max(oldest));
    (format!("/v{major}.{minor}"), (major, minor) > NEWEST_API)
}

fn decode<T: DeserializeOwned>(call: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Shape { call: call.to_owned(), source })
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// Percent-encodes one query value or path segment.
#[must_use]
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escape, negotiate};

    #[test]
    fn the_older_of_two_versions_is_spoken() {
        let spoken = |newest, oldest| negotiate(newest, oldest).0;
        assert_eq!(spoken("1.41", "1.12"), "/v1.41");
        assert_eq!(spoken("1.53", "1.24"), "/v1.44");
        assert_eq!(spoken("1.9", ""), "/v1.9");
        assert_eq!(spoken("nonsense", "nonsense"), "/v1.44");
    }

    #[test]
    fn an_engine_that_dropped_our_version_is_spoken_to_in_its_oldest() {
        assert_eq!(negotiate("1.60", "1.48"), ("/v1.48".to_owned(), true));
        assert_eq!(negotiate("1.60", "1.44"), ("/v1.44".to_owned(), false));
    }

    #[test]
    fn references_are_escaped() {
        assert_eq!(escape("a.b/c:d@e"), "a.b%2Fc%3Ad%40e");
    }
}
