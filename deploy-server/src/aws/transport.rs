//! One HTTPS client for every AWS call: rustls with ring, the system's certificates.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;

use super::Error;

/// The connection pool, made at its first use because that reads the system's certificates.
#[derive(Debug, Clone, Default)]
pub(super) struct Transport {
    connector: Arc<OnceLock<SharedHttpConnector>>,
}

/// A request of ours, outside the SDK.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) url: &'a str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
    pub(super) deadline: Duration,
}

/// Its answer.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Transport {
    fn connector(&self) -> SharedHttpConnector {
        self.connector
            .get_or_init(|| {
                let settings = HttpConnectorSettings::builder()
                    .connect_timeout(Duration::from_secs(2))
                    .build();
                SharedHttpConnector::new(
                    Connector::builder()
                        .tls_provider(Provider::Rustls(CryptoMode::Ring))
                        .connector_settings(settings)
                        .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
                        .build(),
                )
            })
            .clone()
    }

    /// The same pool, for an SDK client.
    pub(super) fn http_client(&self) -> SharedHttpClient {
        let connector = self.connector();
        http_client_fn(move |_, _| connector.clone())
    }

    /// Sends one request; `what` names it in errors.
    pub(super) async fn send(&self, what: &str, request: Request<'_>) -> Result<Reply, Error> {
        let unreachable = |reason: String| Error::Unreachable { what: what.to_owned(), reason };
        let deadline = request.deadline;
        let request = request
            .into_http()
            .ok_or_else(|| unreachable("its address or a header is not valid HTTP".to_owned()))?;
        let exchange = async {
            let response =
                self.connector().call(request).await.map_err(|error| unreachable(chain(&error)))?;
            let status = response.status().as_u16();
            let body = ByteStream::new(response.into_body())
                .collect()
                .await
                .map_err(|error| unreachable(chain(&error)))?;
            let body = String::from_utf8(body.to_vec()).map_err(|_| Error::Unreadable {
                what: what.to_owned(),
                reason: "it is not UTF-8",
            })?;
            Ok(Reply { status, body })
        };
        tokio::time::timeout(deadline, exchange).await.unwrap_or_else(|_| {
            Err(unreachable(format!("no answer within {} s", deadline.as_secs())))
        })
    }
}

impl Request<'_> {
    fn into_http(self) -> Option<HttpRequest> {
        let mut http = HttpRequest::new(SdkBody::from(self.body));
        http.set_method(self.method).ok()?;
        http.set_uri(self.url).ok()?;
        for (name, value) in self.headers {
            http.headers_mut().try_insert(name, value).ok()?;
        }
        Some(http)
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
