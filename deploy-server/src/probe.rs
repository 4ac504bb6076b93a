//! One HTTP GET or POST to a service of this host, with any status read to its body.
//!
//! The predecessor threw away every body that was not 2xx, and a busy worker answers 503.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::service::Place;

/// What every request of the host carries. A web page cannot send it to another origin without a
/// preflight, which workers do not answer; see docs/WORKER-CONTRACT.md.
pub const CONTROL_HEADER: &str = "x-ghosthands-control";
/// Far above what a service says about itself.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("nothing answers on port {port}: {source}")]
    Connect { port: u16, source: std::io::Error },
    #[error("the answer of port {port} broke off")]
    Broken { port: u16 },
    #[error("port {port} did not answer within {ms} ms")]
    Deadline { port: u16, ms: u128 },
}

/// A status and a whole body.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

/// GET `path`.
///
/// # Errors
/// When there is no complete HTTP answer within `within`.
pub async fn get(place: &Place, path: &'static str, within: Duration) -> Result<Reply, ProbeError> {
    exchange(place, "GET", path, Bytes::new(), within).await
}

/// POST a JSON body to `path`.
///
/// # Errors
/// When there is no complete HTTP answer within `within`.
pub async fn post(
    place: &Place,
    path: &'static str,
    body: Bytes,
    within: Duration,
) -> Result<Reply, ProbeError> {
    exchange(place, "POST", path, body, within).await
}

async fn exchange(
    place: &Place,
    method: &'static str,
    path: &'static str,
    body: Bytes,
    within: Duration,
) -> Result<Reply, ProbeError> {
    let port = place.port;
    let deadline = ProbeError::Deadline { port, ms: within.as_millis() };
    tokio::time::timeout(within, exchange_unbounded(place, method, path, body))
        .await
        .unwrap_or(Err(deadline))
}

async fn exchange_unbounded(
    place: &Place,
    method: &'static str,
    path: &'static str,
    body: Bytes,
) -> Result<Reply, ProbeError> {
    let port = place.port;
    let stream = TcpStream::connect((place.host.as_str(), port))
        .await
        .map_err(|source| ProbeError::Connect { port, source })?;
    let broken = || ProbeError::Broken { port };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken())?;
    // Ends by itself when the answer's body is read or dropped; its error reaches us through that
    // body.
    drop(tokio::spawn(connection));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method.parse().expect("methods are literals of this module");
    *request.uri_mut() = path.parse().expect("paths are literals of this crate");
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTROL_HEADER, HeaderValue::from_static("1"));
    let response = sender.send_request(request).await.map_err(|_| broken())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER);
    let body = body.collect().await.map_err(|_| broken())?.to_bytes();
    Ok(Reply { status, body })
}
