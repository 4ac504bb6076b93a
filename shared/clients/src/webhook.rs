//! VALET's deploy webhook: told of a version when every host has proven it, in the predecessor's
//! words.
//!
//! The predecessor's signature is over the very bytes that are sent and says nothing of when. A
//! second one is over `X-GH-Timestamp`, a dot and the same bytes, so that a receiver who checks it
//! can refuse what is old.

use crate::telemetry::error_chain;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::http::Request;
use aws_smithy_types::body::SdkBody;
use fleet_core::rollout::{CallResult, Kind, Stable};
use fleet_protocol::time::UnixMs;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::Sha256;
use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The event that woke the function has a minute; the news waits for the next tick where VALET is
/// slow.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Where the news goes.
#[derive(Debug)]
pub struct Webhook {
    url: String,
    environment: String,
    /// Made at its first use, because that reads the system's certificates.
    connector: OnceLock<Connector>,
}

impl Webhook {
    #[must_use]
    pub fn new(url: String, environment: String) -> Self {
        Self { url, environment, connector: OnceLock::new() }
    }

    /// Tells of the stable version, three times at most. Done is VALET's own word: a status of 2xx.
    pub async fn tell(&self, stable: &Stable, key: &SecretString, now: UnixMs) -> CallResult {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let sent = tokio::time::timeout(ANSWER_WITHIN, self.post(stable, key, now)).await;
            let sent = sent.unwrap_or_else(|_| {
                Err((true, format!("no answer within {} s", ANSWER_WITHIN.as_secs())))
            });
            match sent {
                Ok(()) => return CallResult::Done,
                Err((again, _)) if again && attempt < ATTEMPTS => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err((_, why)) => {
                    return CallResult::Failed {
                        detail: format!("the deploy webhook: {why}, after {attempt} attempts"),
                    };
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    /// One attempt; what came of it, and whether another may end differently.
    async fn post(
        &self,
        stable: &Stable,
        key: &SecretString,
        now: UnixMs,
    ) -> Result<(), (bool, String)> {
        let request = self.request(stable, key, now).map_err(|why| (false, why))?;
        let answer = self.connector().call(request).await;
        let status = answer.map_err(|error| (true, error_chain(&error)))?.status().as_u16();
        match status {
            200..=299 => Ok(()),
            408 | 429 | 500.. => Err((true, format!("HTTP status {status}"))),
            _ => Err((false, format!("HTTP status {status}"))),
        }
    }

    fn request(
        &self,
        stable: &Stable,
        key: &SecretString,
        now: UnixMs,
    ) -> Result<Request<SdkBody>, String> {
        let name = if stable.kind == Kind::Rollback { "rollback" } else { "deploy_ready" };
        let body = body(stable, name, &self.environment);
        let at = (now.0 / 1000).to_string();
        let signed = signature(key, &[body.as_bytes()])?;
        let signed_at = signature(key, &[at.as_bytes(), b".", body.as_bytes()])?;
        let mut request = Request::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| error_chain(&error))?;
        request.set_uri(self.url.as_str()).map_err(|error| error_chain(&error))?;
        let headers = request.headers_mut();
        headers.insert("content-type", "application/json");
        headers.insert("x-gh-webhook-signature", format!("sha256={signed}"));
        headers.insert("x-gh-timestamp-signature", format!("sha256={signed_at}"));
        headers.insert("x-gh-event", name);
        headers.insert("x-gh-environment", self.environment.clone());
        headers.insert("x-gh-timestamp", at);
        Ok(request)
    }

    fn connector(&self) -> &Connector {
        self.connector.get_or_init(|| {
            let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_WITHIN).build();
            Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .connector_settings(settings)
                .sleep_impl(TokioSleep::new())
                .build()
        })
    }
}

/// The predecessor's fields, as far as a rollout knows them; CI's own, such as the commit, are CI's
/// to send.
fn body(stable: &Stable, event: &str, environment: &str) -> String {
    json!({
        "event": format!("ghosthands.{event}"),
        "image": stable.pointer.image_tag,
        "image_tag": stable.pointer.image_tag,
        "environment": environment,
        "deployment_id": stable.pointer.deployment_id,
        "previous_image_tag": stable.pointer.before,
        "commit_sha": stable.build.commit_sha,
        "commit_message": stable.build.commit_message,
        "branch": stable.build.branch,
        "repository": stable.build.repository,
        "run_url": stable.build.run_url,
        "triggered_by": "ghosthands-fleet",
        "timestamp": stable.pointer.at,
    })
    .to_string()
}

fn signature(key: &SecretString, parts: &[&[u8]]) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())
        .map_err(|_| "the key cannot be used".to_owned())?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        hex
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_protocol::ids::CommandId;
    use fleet_protocol::image_tag::ImageTag;
    use fleet_protocol::stable::StablePointer;

    fn stable(kind: Kind) -> Stable {
        Stable {
            pointer: StablePointer {
                image_tag: ImageTag::parse("v2").unwrap(),
                digest: None,
                deployment_id: Some(CommandId::new("d")),
                at: Some("2026-11-25T08:00:00Z".to_owned()),
                before: Some(ImageTag::parse("v1").unwrap()),
            },
            kind,
            webhook_pending: true,
            build: fleet_core::rollout::Build { branch: "main".to_owned(), ..Default::default() },
            ended: Vec::new(),
        }
    }

    #[test]
    fn the_signature_is_over_the_bytes_that_are_sent() {
        let webhook = Webhook::new("https://valet.example/hook".to_owned(), "staging".to_owned());
        let key = SecretString::from("Jefe");
        let now = UnixMs(1_795_478_400_000);
        let request = webhook.request(&stable(Kind::Deploy), &key, now).unwrap();
        let body = request.body().bytes().unwrap();
        let header = |name| request.headers().get(name).unwrap();
        assert_eq!(
            header("x-gh-webhook-signature"),
            format!("sha256={}", signature(&key, &[body]).unwrap())
        );
        let timed = [b"1795478400.", body].concat();
        assert_eq!(
            header("x-gh-timestamp-signature"),
            format!("sha256={}", signature(&key, &[&timed]).unwrap())
        );
        assert_eq!(header("x-gh-event"), "deploy_ready");
        assert_eq!(header("x-gh-environment"), "staging");
        assert_eq!(header("x-gh-timestamp"), "1795478400");
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["event"], "ghosthands.deploy_ready");
        assert_eq!(body["image_tag"], "v2");
        // VALET reads each of them as a string, given or not.
        assert_eq!(body["branch"], "main");
        for field in ["commit_sha", "commit_message", "branch", "repository", "run_url"] {
            assert!(body[field].is_string(), "{field}: {body}");
        }
        let back = webhook.request(&stable(Kind::Rollback), &key, now).unwrap();
        assert_eq!(back.headers().get("x-gh-event"), Some("rollback"));
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_signature_is_hmac_sha256() {
        let key = SecretString::from("Jefe");
        assert_eq!(
            signature(&key, &[b"what do ya want ", b"for nothing?"]).unwrap(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
