//! Request bodies: small, timely, and without a field that nobody knows.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::reply::{Reply, refusal};

const LONGEST_BODY: usize = 16 * 1024;
const BODY_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployBody {
    /// A tag or a `sha256:` digest of the host's own repository.
    pub image_tag: String,
    /// Go on when the worker will not drain, and replace containers that are up to date.
    #[serde(default)]
    pub force: bool,
    /// `false` answers 202 at once.
    #[serde(default = "yes")]
    pub wait: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    #[serde(default)]
    pub force: bool,
    #[serde(default = "yes")]
    pub wait: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainBody {
    pub timeout_seconds: Option<f64>,
    /// VALET names a worker; a host has one, and it is the one that is drained.
    #[serde(rename = "worker_id")]
    pub _worker_id: Option<String>,
    /// The machine goes away: nothing may undo this drain. Local callers only.
    #[serde(default)]
    pub terminating: bool,
    /// When the time is up: end the worker by SIGTERM. Local callers only, and only when
    /// terminating.
    #[serde(default)]
    pub stop: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanupBody {
    #[serde(default)]
    pub dry_run: bool,
}

/// Local callers only: the first deploy of a new host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapBody {
    pub image_tag: String,
    /// What the tag meant when the fleet proved it: an image of this digest on the host's own disk
    /// needs no registry.
    pub digest: Option<String>,
}

fn yes() -> bool {
    true
}

/// Reads the body, which must be a JSON object of exactly the fields of `T`. No body at all counts
/// as `{}`.
///
/// # Errors
/// The reply to send instead.
pub(super) async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Reply> {
    let headers = request.headers();
    // Both at once is how requests are smuggled past a proxy; a length is all that our callers
    // need.
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(refusal(400, "Transfer-Encoding is not accepted: send Content-Length"));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > LONGEST_BODY) {
        return Err(too_long());
    }
    let body = Limited::new(request.into_body(), LONGEST_BODY).collect();
    let body: Bytes = match tokio::time::timeout(BODY_WITHIN, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(too_long()),
        Ok(Err(_)) => return Err(refusal(400, "The request body broke off")),
        Err(_) => return Err(refusal(408, "The request body did not arrive within 10 s")),
    };
    parse(&body)
}

fn too_long() -> Reply {
    refusal(413, "The request body is longer than 16 KiB")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    let text = body.trim_ascii();
    let text = if text.is_empty() { b"{}" } else { text };
    // A derived struct can also be read from an array, which nobody means.
    if text.first() != Some(&b'{') {
        let json = serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
        let words =
            if json { "The request body must be a JSON object" } else { "Invalid JSON body" };
        return Err(refusal(400, words));
    }
    serde_json::from_slice(text).map_err(|error| {
        if error.is_data() {
            let text = error.to_string();
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            refusal(400, &format!("Invalid request body: {text}"))
        } else {
            refusal(400, "Invalid JSON body")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{CleanupBody, DeployBody, parse};

    fn refused(body: &str) -> String {
        let reply = parse::<DeployBody>(body.as_bytes()).unwrap_err();
        assert_eq!(reply.status, 400);
        reply.body["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = ["{{", "null", "[\"v1\"]", "{}", r#"{"imageTag":"v1"}"#, r#"{"image_tag":1}"#];
        let said: Vec<String> = wrong.into_iter().map(refused).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        Invalid JSON body
        The request body must be a JSON object
        The request body must be a JSON object
        Invalid request body: missing field `image_tag`
        Invalid request body: unknown field `imageTag`, expected one of `image_tag`, `force`, `wait`
        Invalid request body: invalid type: integer `1`, expected a string
        ");
    }

    #[test]
    fn no_body_is_an_empty_object() {
        assert!(!parse::<CleanupBody>(b"").unwrap().dry_run);
        assert!(parse::<DeployBody>(b" ").is_err());
    }
}
