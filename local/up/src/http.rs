//! The one HTTP call that the helpers need: to a server on this machine, answered with JSON.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Error;

const LIMIT: Duration = Duration::from_secs(20);

/// Calls `method path` at 127.0.0.1:`port` with `body`; the status and the body of the answer,
/// whatever the status. An answer that is no JSON is an error.
///
/// # Errors
/// When nobody answers in time, or with something that is no JSON.
pub async fn call(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, Value), Error> {
    request(port, method, path, &[CONTROL], body).await
}

/// What a worker demands of whoever drains it; see docs/WORKER-CONTRACT.md.
pub const CONTROL: (&str, &str) = ("X-GhostHands-Control", "1");

/// The same, with headers.
///
/// # Errors
/// As [`call`].
pub async fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(u16, Value), Error> {
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let failed = |error: String| Error::Failed(format!("{method} {path} at port {port}: {error}"));
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        // By HTTP/1.0 an answer ends with its connection and has no chunks.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(LIMIT, exchange)
        .await
        .map_err(|_| failed(format!("no answer in {LIMIT:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let parts = status.zip(answer.split_once("\r\n\r\n"));
    let (status, (_, body)) = parts.ok_or_else(|| failed(format!("answered {answer:?}")))?;
    let body = serde_json::from_str(body).map_err(|error| failed(error.to_string()))?;
    Ok((status, body))
}
