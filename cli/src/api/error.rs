//! What came in place of a good answer, in words that say what to do next.

use crate::finish::Failure;
use crate::show::plain;
use serde_json::Value;
use std::io::ErrorKind;

/// What came in place of a good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// Nothing came, or not all of it. What was asked may have been done.
    Unreachable(String),
    /// Something came that is not this API's.
    Unexpected(String),
    Refused(Refusal),
}

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// The problem document (RFC 9457); null where something else came.
    pub body: Value,
    url: String,
    token: String,
}

impl Refusal {
    pub(super) fn new(status: u16, body: Value, url: &str, token: &str) -> Refusal {
        Refusal { status, body, url: url.to_owned(), token: token.to_owned() }
    }

    /// The other side asks to try again.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.body["retry_after_seconds"].as_u64()
    }

    /// The rollout in progress that stands in the way.
    #[must_use]
    pub fn running(&self) -> Option<&str> {
        self.body["running"].as_str()
    }

    /// It is a problem document: the API itself says no, and not something before it.
    fn is_problem(&self) -> bool {
        self.body["detail"].is_string()
    }

    fn detail(&self) -> Option<String> {
        let Value::String(detail) = self.body.get("detail").or_else(|| self.body.get("message"))?
        else {
            return None;
        };
        let field = self.body["field"].as_str().filter(|field| !detail.contains(field));
        let field = field.map_or_else(String::new, |field| format!("{field}: "));
        Some(plain(&format!("{field}{detail}")))
    }

    fn failure(&self) -> Failure {
        let Refusal { status, url, token, .. } = self;
        let said = self.detail().map_or_else(String::new, |detail| format!(": {detail}"));
        let current = "use one that FLEET_TOKENS of the secret ghosthands/ENVIRONMENT/fleet knows";
        match status {
            401 => {
                Failure::usage(format!("the API does not accept {token} (401){said}; {current}"))
            }
            // The authorizer before the API answers so.
            403 if !self.is_problem() => Failure::usage(format!(
                "the API does not know the token of {token} (403){said}; {current}"
            )),
            403 => Failure::refused(format!(
                "the token of {token} may not do this (403){said}; use one whose scopes allow it"
            )),
            404 | 405 if !self.is_problem() => Failure::unavailable(format!(
                "{url} does not exist ({status}){said}; the control plane there is older than this \
                 ghfleet, or the url is not the stack's output PageUrl"
            )),
            429 => Failure::unavailable(format!("too many requests (429){said}; wait a second")),
            500..=599 => Failure::unavailable(format!(
                "the API answered {status}{said}{}",
                match self.retry_after_seconds() {
                    Some(seconds) => format!("; try again in {seconds} s"),
                    None => "; try again, then look into the function's log".to_owned(),
                }
            )),
            _ => Failure::refused(match self.running() {
                Some(id) => {
                    let id = plain(id);
                    format!("refused ({status}){said}; see it with: ghfleet rollouts {id}")
                }
                None => format!("refused ({status}){said}"),
            }),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        match error {
            ApiError::Unreachable(words) | ApiError::Unexpected(words) => {
                Failure::unavailable(words)
            }
            ApiError::Refused(refusal) => refusal.failure(),
        }
    }
}

/// Why nothing came from this address.
pub(super) fn no_answer(address: &str, error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => format!(
            "{address} cannot be reached in time: check the url, and that this network reaches it"
        ),
        ureq::Error::Timeout(_) => {
            format!("{address} did not answer in time: try again, or give it longer by --timeout")
        }
        ureq::Error::HostNotFound => {
            format!("{address} is not found in DNS: check the url for a typing error")
        }
        ureq::Error::BodyExceedsLimit(most) => format!(
            "{address} answered with more than {most} bytes: check that the url is the fleet's API"
        ),
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            format!(
                "{address} refuses the connection: check the url and its port, and that it runs"
            )
        }
        ureq::Error::Io(error) => format!("{address} broke off ({error}): try again"),
        ureq::Error::Rustls(error) => format!(
            "{address} cannot prove who it is ({error}): check the url, and what stands in between"
        ),
        error => format!("{address} did not answer as HTTP ({error}): check the url"),
    }
}
