//! The instance metadata service, version 2 only: a session token first, then the question.

use std::time::Duration;

use super::Error;
use super::transport::{Reply, Request, Transport};

const WHAT: &str = "the instance metadata service";
/// It answers in milliseconds where it exists; elsewhere nothing listens and nobody should wait.
const DEADLINE: Duration = Duration::from_secs(2);

/// The instance metadata service, or the knowledge that it must not be asked.
#[derive(Debug, Clone)]
pub struct Imds {
    endpoint: Option<String>,
    transport: Transport,
}

/// What an instance knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `i-…`
    pub instance_id: String,
    /// The public address, where the instance has one.
    pub public_ipv4: Option<String>,
    /// The tag `Environment`, where tags are shown in the metadata.
    pub environment: Option<String>,
}

impl Imds {
    pub(super) fn new(endpoint: Option<String>, transport: Transport) -> Self {
        Self {
            endpoint: Some(endpoint.unwrap_or_else(|| "http://169.254.169.254".to_owned())),
            transport,
        }
    }

    pub(super) fn disabled() -> Self {
        Self { endpoint: None, transport: Transport::default() }
    }

    /// False where `AWS_EC2_METADATA_DISABLED` forbids to ask.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.endpoint.is_some()
    }

    /// The text at `path` below `/latest/meta-data/`, trimmed; `None` where there is none (404).
    ///
    /// # Errors
    /// Where the service cannot be reached, refuses, or is switched off by
    /// `AWS_EC2_METADATA_DISABLED`.
    pub async fn get(&self, path: &str) -> Result<Option<String>, Error> {
        let Some(endpoint) = &self.endpoint else {
            return Err(Error::Unreachable {
                what: WHAT.to_owned(),
                reason: "AWS_EC2_METADATA_DISABLED is true".to_owned(),
            });
        };
        let token = self.token(endpoint).await?;
        let url = format!("{endpoint}/latest/meta-data/{path}");
        let reply = self.ask("GET", &url, ("x-aws-ec2-metadata-token", token)).await?;
        match reply.status {
            200 => Ok(Some(reply.body.trim().to_owned())),
            404 => Ok(None),
            status => Err(refused(status, path)),
        }
    }

    /// Instance id, public address and environment tag.
    ///
    /// # Errors
    /// As [`Imds::get`]; also where the instance id does not look like one (an error page is no
    /// instance).
    pub async fn identity(&self) -> Result<Identity, Error> {
        let instance_id = self.get("instance-id").await?.unwrap_or_default();
        let is_id = instance_id.strip_prefix("i-").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        if !is_id {
            return Err(Error::Unreadable {
                what: WHAT.to_owned(),
                reason: "the instance id does not start with i-",
            });
        }
        let address = self.get("public-ipv4").await?;
        Ok(Identity {
            instance_id,
            public_ipv4: address.filter(|text| text.parse::<std::net::Ipv4Addr>().is_ok()),
            environment: self.get("tags/instance/Environment").await?,
        })
    }

    async fn token(&self, endpoint: &str) -> Result<String, Error> {
        let url = format!("{endpoint}/latest/api/token");
        // A minute is enough: a token serves one question.
        let seconds = ("x-aws-ec2-metadata-token-ttl-seconds", "60".to_owned());
        let reply = self.ask("PUT", &url, seconds).await?;
        if reply.status != 200 {
            return Err(refused(reply.status, "a session token"));
        }
        let token = reply.body.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Unreadable {
                what: WHAT.to_owned(),
                reason: "the session token is not a token",
            });
        }
        Ok(token.to_owned())
    }

    async fn ask(
        &self,
        method: &'static str,
        url: &str,
        header: (&'static str, String),
    ) -> Result<Reply, Error> {
        let request =
            Request { method, url, headers: vec![header], body: String::new(), deadline: DEADLINE };
        self.transport.send(WHAT, request).await
    }
}

fn refused(status: u16, path: &str) -> Error {
    let (what, reason) = (WHAT.to_owned(), format!("asked for {path}"));
    Error::Refused { what, status, code: None, reason }
}
