//! Asking for something that begins, once however often it has to be said.

use super::words::title;
use super::{PATH, is_open, read};
use crate::api::{Answer, Api, ApiError};
use crate::finish::Failure;
use crate::show::{plain, wrapped};
use serde_json::{Value, json};
use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// So long a request that begins something is repeated.
const BEGIN: Duration = Duration::from_secs(20);
/// So long the API may be away while something is followed: it goes on without us.
pub(super) const OUTAGE: Duration = Duration::from_secs(300);
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// The longest pause between two tries.
const PAUSE: u64 = 30;

/// What was begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: String,
    /// For people: what was accepted, and how it will go.
    pub(super) text: String,
    pub(super) answer: String,
}

/// Asks for what `body` says.
///
/// # Errors
/// It was refused, or nobody knows whether it arrived.
pub(super) fn begin(api: &Api, path: &str, body: &Value) -> Result<Begun, Failure> {
    begun(path, send(api, path, body))
}

/// Asks for a version; one that is being rolled out already is joined.
///
/// # Errors
/// As [`begin`].
pub(super) fn deploy(api: &Api, path: &str, body: &Value) -> Result<Begun, Failure> {
    let sent = send(api, path, body);
    let Some(id) = running(&sent) else { return begun(path, sent) };
    let answer = read(api, &id)?;
    if answer.body["kind"] == "deploy" && answer.body["image_tag"] == body["image_tag"] {
        let tag = answer.body["image_tag"].as_str().map(plain).unwrap_or_default();
        let text = wrapped("", &format!("{tag} is being rolled out already, as {id}"));
        return Ok(Begun { id, text, answer: answer.text });
    }
    begun(path, sent)
}

/// Cancels a rollout and waits until it has ended, which takes no longer than a swap: no host waits
/// for a job any more. One that has ended already is left as it is.
///
/// # Errors
/// It was refused, or could not be followed.
pub(super) fn cancel(api: &Api, id: &str) -> Result<(), Failure> {
    if !is_open(&patiently(BEGIN, || read(api, id))?.body) {
        return Ok(());
    }
    let sent = patiently(BEGIN, || api.post(&format!("{PATH}/{id}/cancel"), &json!({}), None));
    match sent {
        Ok(_) => {}
        // It ended meanwhile.
        Err(ApiError::Refused(_)) if !is_open(&read(api, id)?.body) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let said = format!("rollout {id} is cancelled; its hosts go back once it has ended");
    writeln!(std::io::stderr(), "ghfleet: {said}").ok();
    while is_open(&patiently(OUTAGE, || read(api, id))?.body) {
        sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

/// The rollout in progress because of which this was refused.
fn running(sent: &Result<Answer, ApiError>) -> Option<String> {
    match sent {
        Err(ApiError::Refused(refusal)) => refusal.running().map(plain),
        _ => None,
    }
}

/// Sends the request with a key of its own, so that a repetition begins nothing twice.
fn send(api: &Api, path: &str, body: &Value) -> Result<Answer, ApiError> {
    let key = format!("ghfleet-{:032x}", fastrand::u128(..));
    patiently(BEGIN, || api.post(path, body, Some(&key)))
}

fn begun(path: &str, sent: Result<Answer, ApiError>) -> Result<Begun, Failure> {
    let answer = sent.map_err(|error| {
        let lost = matches!(error, ApiError::Unreachable(_));
        let mut failure = Failure::from(error);
        if lost {
            failure.message += "; it may have begun all the same: look with ghfleet rollouts";
        }
        failure
    })?;
    let Some(id) = answer.body["id"].as_str() else {
        return Err(Failure::unavailable(format!(
            "{path} accepted the request and named no id: look with ghfleet rollouts"
        )));
    };
    Ok(Begun { id: plain(id), text: accepted(&answer.body), answer: answer.text })
}

fn accepted(body: &Value) -> String {
    let hosts = body["targets"].as_array().map_or(0, Vec::len);
    let text = |name: &str| body[name].as_str().map(plain).unwrap_or_default();
    let head = format!("{} accepted as {}; hosts: {hosts}", title(body), text("id"));
    let note = text("note");
    wrapped("", &head) + &if note.is_empty() { String::new() } else { wrapped("  ", &note) }
}

/// Asks until there is an answer that stays, or the time is over.
///
/// # Errors
/// The last answer, where that was none.
pub(super) fn patiently(
    limit: Duration,
    mut ask: impl FnMut() -> Result<Answer, ApiError>,
) -> Result<Answer, ApiError> {
    let begun = Instant::now();
    loop {
        let error = match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(wait) = pause(&error).filter(|wait| begun.elapsed() + *wait <= limit) else {
            return Err(error);
        };
        let said = Failure::from(error).message;
        writeln!(std::io::stderr(), "ghfleet: {said}; again in {} s", wait.as_secs()).ok();
        sleep(wait);
    }
}

/// How long to wait where the next try may go better.
fn pause(error: &ApiError) -> Option<Duration> {
    let seconds = match error {
        ApiError::Unreachable(_) => 1,
        ApiError::Unexpected(_) => return None,
        ApiError::Refused(refusal) => match (refusal.retry_after_seconds(), refusal.status) {
            (Some(seconds), _) => seconds.clamp(1, PAUSE),
            (None, 429 | 500..=599) => 2,
            (None, _) => return None,
        },
    };
    Some(Duration::from_secs(seconds))
}
