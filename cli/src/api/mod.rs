//! The fleet's HTTP API, asked with a token. Every wait and every answer has a limit.

mod error;

pub use error::{ApiError, Refusal};

use crate::connection::{Address, Token};
use serde_json::Value;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderValue, Request, Response};

const CONNECT: Duration = Duration::from_secs(10);
/// The status of a fleet stays below 1 MB.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// One stack's API.
#[derive(Debug)]
pub struct Api {
    address: Address,
    token: Token,
    agent: Agent,
}

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    /// As it came, but for the token.
    pub text: String,
    pub body: Value,
}

impl Api {
    #[must_use]
    pub fn new(address: Address, token: Token, timeout: Duration) -> Api {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry the token to an address that nobody gave.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT.min(timeout)))
            .timeout_global(Some(timeout))
            .user_agent(concat!("ghfleet/", env!("CARGO_PKG_VERSION")));
        if address.is_local() {
            config = config.proxy(None);
        }
        Api { address, token, agent: config.build().new_agent() }
    }

    /// # Errors
    /// What came in place of a good answer.
    pub fn get(&self, path: &str) -> Result<Answer, ApiError> {
        self.send("GET", path, None, None)
    }

    /// # Errors
    /// What came in place of a good answer.
    pub fn put(&self, path: &str, body: &Value) -> Result<Answer, ApiError> {
        self.send("PUT", path, Some(body), None)
    }

    /// The key makes a repetition of the request harmless.
    ///
    /// # Errors
    /// What came in place of a good answer.
    pub fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Result<Answer, ApiError> {
        self.send("POST", path, Some(body), key)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Answer, ApiError> {
        let unusable = |_| ApiError::Unexpected(format!("{} cannot be asked", self.address));
        let mut bearer = HeaderValue::try_from(self.token.bearer())
            .map_err(|_| ApiError::Unexpected(format!("{} holds no token", self.token.from())))?;
        bearer.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("authorization", bearer)
            .header("accept", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answered = match body {
            None => self.agent.run(request.body(()).map_err(unusable)?),
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body.to_string()).map_err(unusable)?)
            }
        };
        self.read(path, answered.map_err(|error| self.no_answer(&error))?)
    }

    fn read(&self, path: &str, mut response: Response<ureq::Body>) -> Result<Answer, ApiError> {
        let status = response.status().as_u16();
        let location = response.headers().get("location").and_then(|to| to.to_str().ok());
        let location = location.map(str::to_owned);
        let bytes = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        let bytes = bytes.map_err(|error| self.no_answer(&error))?;
        let text = self.token.strike(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_str::<Value>(&text).ok();
        match (status, body) {
            (200..=299, Some(body)) if body.is_object() => Ok(Answer { text, body }),
            (200..=299, _) => Err(ApiError::Unexpected(format!(
                "{}{path} answered {status} with something that is no JSON object: check that the \
                 url is the stack's output PageUrl",
                self.address
            ))),
            (300..=399, _) => Err(ApiError::Unexpected(format!(
                "{} sends on to {}: give the address of the API itself",
                self.address,
                location.as_deref().unwrap_or("another address")
            ))),
            (_, body) => Err(ApiError::Refused(Refusal::new(
                status,
                body.unwrap_or_default(),
                &format!("{}{path}", self.address),
                self.token.from(),
            ))),
        }
    }

    fn no_answer(&self, error: &ureq::Error) -> ApiError {
        ApiError::Unreachable(error::no_answer(&self.address.to_string(), error))
    }
}
