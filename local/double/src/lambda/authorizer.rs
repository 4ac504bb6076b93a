//! A Lambda authorizer of an HTTP API: payload 2.0, simple responses. The identity source is the
//! header `Authorization`, and answers are kept for each value of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::Account;

/// Who is asked whether a request may go on to its route's function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorizer {
    /// Name of a function of the double.
    pub function: String,
    /// So long its answers are kept; with 0 it is asked every time.
    pub ttl_seconds: u32,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    GoesOn,
    /// The header is missing or empty: 401, and nobody is asked.
    Unauthorized,
    /// The function says no: 403.
    Forbidden,
    /// The function fails or answers something else: 500.
    Failed,
}

/// What was answered, until when it holds.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<BTreeMap<(Authorizer, String), (Timestamp, bool)>>);

impl Answers {
    /// `event` is the request's own, payload 2.0.
    pub(super) async fn decide(
        &self,
        account: &Account,
        authorizer: &Authorizer,
        event: &Value,
    ) -> Decision {
        let identity = match event["headers"]["authorization"].as_str() {
            Some(identity) if !identity.is_empty() => identity.to_owned(),
            _ => return Decision::Unauthorized,
        };
        let now = account.clock.now();
        let key = (authorizer.clone(), identity);
        if let Some(goes_on) = self.kept(&key, now) {
            return decision(goes_on);
        }
        let Some(function) = account.function(&authorizer.function) else {
            return Decision::Failed;
        };
        let asked = question(event, &key.1).to_string();
        let Ok(answer) = function.invoke(asked.as_bytes()).await else { return Decision::Failed };
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let Some(goes_on) = answer["isAuthorized"].as_bool() else { return Decision::Failed };
        let until = now + SignedDuration::from_secs(authorizer.ttl_seconds.into());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (until, goes_on));
        decision(goes_on)
    }

    fn kept(&self, key: &(Authorizer, String), now: Timestamp) -> Option<bool> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (until, _)| *until > now);
        answers.get(key).map(|(_, goes_on)| *goes_on)
    }
}

fn decision(goes_on: bool) -> Decision {
    if goes_on { Decision::GoesOn } else { Decision::Forbidden }
}

/// The request without its body, and what is asked about it.
fn question(event: &Value, identity: &str) -> Value {
    let mut asked = event.clone();
    if let Some(fields) = asked.as_object_mut() {
        fields.remove("body");
        fields.remove("isBase64Encoded");
        let path = event["rawPath"].as_str().unwrap_or_default();
        let method = event["requestContext"]["http"]["method"].as_str().unwrap_or_default();
        let account = event["requestContext"]["accountId"].as_str().unwrap_or_default();
        let arn = format!("arn:aws:execute-api:us-east-1:{account}:double/$default/{method}{path}");
        fields.insert("type".to_owned(), json!("REQUEST"));
        fields.insert("routeArn".to_owned(), json!(arn));
        fields.insert("identitySource".to_owned(), json!([identity]));
    }
    asked
}
