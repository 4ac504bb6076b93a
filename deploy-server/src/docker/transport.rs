//! HTTP/1.1 over a unix socket. The Docker client and the local commands both speak through it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::Error;

/// A host with thousands of images still lists them in less.
const LONGEST_ANSWER: usize = 32 * 1024 * 1024;

/// A peer behind a unix socket.
#[derive(Debug, Clone)]
pub struct UnixHttp {
    socket: PathBuf,
}

/// A status and a whole body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    /// The engine's `message` field, or the body's first 300 characters.
    #[must_use]
    pub fn message(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Message {
            message: String,
        }
        serde_json::from_slice::<Message>(&self.body).map_or_else(
            |_| String::from_utf8_lossy(&self.body).trim().chars().take(300).collect(),
            |parsed| parsed.message,
        )
    }

    /// The body, if the status is 2xx or 304 ("already so").
    ///
    /// # Errors
    /// Every other status, with the engine's words.
    pub fn expect_success(self, call: &str) -> Result<Bytes, Error> {
        if (200..300).contains(&self.status) || self.status == 304 {
            return Ok(self.body);
        }
        let message = self.message();
        Err(Error::Status { call: call.to_owned(), status: self.status, message })
    }
}

// === impl UnixHttp ===

impl UnixHttp {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Sends one request and reads the whole answer, all within `deadline`.
    ///
    /// # Errors
    /// Transport trouble; an HTTP error status is not one.
    pub async fn call(
        &self,
        method: &'static str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<Bytes>,
        deadline: Duration,
    ) -> Result<Answer, Error> {
        let call = format!("{method} {}", super::without_query(path));
        let exchange = async {
            let response = self.open(method, path, headers, body).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER);
            let body = body.collect().await.map_err(|error| {
                error.downcast::<hyper::Error>().map_or_else(
                    |_| Error::TooLong { call: call.clone(), limit: LONGEST_ANSWER },
                    |source| Error::Broken { call: call.clone(), source: *source },
                )
            })?;
            Ok(Answer { status, body: body.to_bytes() })
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Error::Deadline { call, after: deadline }),
        }
    }

    /// Sends one request and hands over the answer as soon as its head is there, for streams.
    ///
    /// # Errors
    /// Transport trouble; an HTTP error status is not one.
    pub async fn open(
        &self,
        method: &'static str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<Bytes>,
    ) -> Result<Response<Incoming>, Error> {
        let call = || format!("{method} {}", super::without_query(path));
        let broken = |source| Error::Broken { call: call(), source };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| Error::Unreachable { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends by itself when the answer's body is read or dropped; its error reaches us through
        // that body.
        drop(tokio::spawn(connection));

        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = method.parse().expect("methods are literals of this crate");
        *request.uri_mut() = path.parse().map_err(|_| Error::Status {
            call: call(),
            status: 400,
            message: "the request path is not a valid URI".to_owned(),
        })?;
        let out = request.headers_mut();
        out.insert(HOST, HeaderValue::from_static("localhost"));
        out.insert(CONNECTION, HeaderValue::from_static("close"));
        out.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| Error::Status {
                call: call(),
                status: 400,
                message: format!("header {name} has characters that HTTP forbids"),
            })?;
            value.set_sensitive(true);
            out.insert(*name, value);
        }
        sender.send_request(request).await.map_err(broken)
    }
}
