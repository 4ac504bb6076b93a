//! One secret in Secrets Manager: a JSON object of texts.

use crate::aws::{Aws, AwsError, AwsErrorKind, explain};
use aws_sdk_secretsmanager::Client;
use fleet_protocol::reading::{Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use secrecy::SecretString;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a value that was read is used again. A rotation is noticed within this time, or at once
/// by whoever is refused and fetches.
pub const CACHED_FOR: Duration = Duration::from_secs(300);

/// Which version of the secret: after a rotation both are in use for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Current,
    Previous,
}

impl Stage {
    fn label(self) -> &'static str {
        match self {
            Stage::Current => "AWSCURRENT",
            Stage::Previous => "AWSPREVIOUS",
        }
    }
}

/// Why a secret's value is not to be had. Names secrets, stages and keys; shows no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("the secret {id} could not be read")]
    Aws { id: String, source: AwsError },
    #[error("the secret {id} has no version {stage}; check that it exists")]
    Missing { id: String, stage: &'static str },
    #[error("the secret {id} has no JSON object in it; write it as {{\"DATABASE_URL\": \"…\"}}")]
    NotAnObject { id: String },
    #[error("the secret {id} has no key {key}; add it")]
    KeyMissing { id: String, key: String },
    #[error("the key {key} of the secret {id} is {found}, not a text; put its value in quotes")]
    NotAText { id: String, key: String, found: &'static str },
}

impl From<SecretError> for Unknown {
    fn from(error: SecretError) -> Self {
        let detail = crate::telemetry::error_chain(&error);
        let cause = match error {
            SecretError::Aws { source, .. } => Unknown::from(source).cause,
            SecretError::Missing { .. } | SecretError::KeyMissing { .. } => UnknownCause::Missing,
            SecretError::NotAnObject { .. } | SecretError::NotAText { .. } => {
                UnknownCause::Unreadable
            }
        };
        Self { cause, detail }
    }
}

/// The keys of one version of a secret. `Debug` shows the keys alone.
#[derive(Clone, Debug)]
pub struct SecretFields {
    id: String,
    created: Option<UnixMs>,
    fields: BTreeMap<String, Field>,
}

#[derive(Clone, Debug)]
enum Field {
    Text(SecretString),
    /// Any other value: what it is, and its JSON. An error only for whoever asks for a text.
    Other {
        found: &'static str,
        json: SecretString,
    },
}

impl SecretFields {
    fn parse(id: &str, text: &str) -> Result<Self, SecretError> {
        // serde's own message would quote the text that it stumbled over.
        let Ok(Value::Object(object)) = serde_json::from_str(text) else {
            return Err(SecretError::NotAnObject { id: id.to_owned() });
        };
        let field = |value: Value| {
            let found = match value {
                Value::String(text) => return Field::Text(SecretString::from(text)),
                Value::Null => "null",
                Value::Bool(_) => "true or false",
                Value::Number(_) => "a number",
                Value::Array(_) => "a list",
                Value::Object(_) => "an object",
            };
            Field::Other { found, json: SecretString::from(value.to_string()) }
        };
        let fields = object.into_iter().map(|(key, value)| (key, field(value))).collect();
        Ok(Self { id: id.to_owned(), created: None, fields })
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// `KeyMissing` or `NotAText`.
    pub fn get(&self, key: &str) -> Result<&SecretString, SecretError> {
        match self.fields.get(key) {
            Some(Field::Text(value)) => Ok(value),
            Some(Field::Other { found, .. }) => {
                Err(SecretError::NotAText { id: self.id.clone(), key: key.to_owned(), found })
            }
            None => Err(self.missing(key)),
        }
    }

    /// The value of `key` as JSON text: a text as it stands, and any other value written as JSON.
    #[must_use]
    pub fn get_json(&self, key: &str) -> Option<&SecretString> {
        self.fields.get(key).map(|field| match field {
            Field::Text(json) | Field::Other { json, .. } => json,
        })
    }

    /// The names of all keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// The error of a key that is not there.
    #[must_use]
    pub fn missing(&self, key: &str) -> SecretError {
        SecretError::KeyMissing { id: self.id.clone(), key: key.to_owned() }
    }

    /// When this version was written, where AWS said so.
    #[must_use]
    pub fn created(&self) -> Option<UnixMs> {
        self.created
    }
}

/// A secret by its name or ARN, with the current version kept for [`CACHED_FOR`].
#[derive(Debug)]
pub struct Secrets {
    client: Client,
    id: String,
    cached: Mutex<Option<(Instant, SecretFields)>>,
}

impl Secrets {
    pub fn new(aws: &Aws, id: impl Into<String>) -> Self {
        Self { client: Client::new(&aws.sdk), id: id.into(), cached: Mutex::new(None) }
    }

    /// The current value of `key`, at most [`CACHED_FOR`] old.
    ///
    /// # Errors
    /// Where the secret cannot be read, or has no text by that key.
    pub async fn value(&self, key: &str) -> Result<SecretString, SecretError> {
        if let Some((at, fields)) = &*self.cached.lock().await
            && at.elapsed() < CACHED_FOR
            && let Ok(value) = fields.get(key)
        {
            return Ok(value.clone());
        }
        self.fetch(Stage::Current).await?.get(key).cloned()
    }

    /// The current value of `key`, at most [`CACHED_FOR`] old; `None` where the secret has no such
    /// key.
    ///
    /// # Errors
    /// Where the secret cannot be read, or has something else than a text by that key.
    pub async fn optional(&self, key: &str) -> Result<Option<SecretString>, SecretError> {
        let cached = self.cached.lock().await.clone();
        let fields = match cached {
            Some((at, fields)) if at.elapsed() < CACHED_FOR => fields,
            _ => self.fetch(Stage::Current).await?,
        };
        match fields.get(key) {
            Ok(value) => Ok(Some(value.clone())),
            Err(SecretError::KeyMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads one version anew. The current one replaces what is cached.
    ///
    /// # Errors
    /// `Missing` where there is no such version: a secret that was never rotated has no previous
    /// one.
    pub async fn fetch(&self, stage: Stage) -> Result<SecretFields, SecretError> {
        let id = &self.id;
        let answer = self
            .client
            .get_secret_value()
            .secret_id(id)
            .version_stage(stage.label())
            .send()
            .await
            .map_err(|error| match explain("GetSecretValue", error) {
                AwsError { kind: AwsErrorKind::Missing, .. } => {
                    SecretError::Missing { id: id.clone(), stage: stage.label() }
                }
                source => SecretError::Aws { id: id.clone(), source },
            })?;
        // A binary secret has no text at all.
        let mut fields = SecretFields::parse(id, answer.secret_string().unwrap_or_default())?;
        fields.created = answer.created_date().and_then(|at| at.to_millis().ok()).map(UnixMs);
        if stage == Stage::Current {
            *self.cached.lock().await = Some((Instant::now(), fields.clone()));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const ID: &str = "ghosthands/staging";

    #[test]
    fn a_text_is_a_secret_and_another_value_is_an_error_for_whoever_asks_for_it() {
        let text =
            r#"{"DATABASE_URL": "postgresql://hunter2", "PORT": 5432, "NONE": null, "LIST": []}"#;
        let fields = SecretFields::parse(ID, text).unwrap();
        assert_eq!(fields.get("DATABASE_URL").unwrap().expose_secret(), "postgresql://hunter2");
        for (key, says) in [
            ("PORT", "the key PORT of the secret ghosthands/staging is a number, not a text"),
            ("NONE", "the key NONE of the secret ghosthands/staging is null, not a text"),
            ("LIST", "the key LIST of the secret ghosthands/staging is a list, not a text"),
            ("database_url", "the secret ghosthands/staging has no key database_url"),
        ] {
            let error = fields.get(key).unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused_without_being_shown() {
        for text in
            ["", "postgresql://hunter2", "\"hunter2\"", "[\"hunter2\"]", "{\"a\": \"hunter2\""]
        {
            let error = SecretFields::parse(ID, text).unwrap_err();
            assert_eq!(error, SecretError::NotAnObject { id: ID.to_owned() });
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn debug_shows_keys_and_no_value() {
        let fields = SecretFields::parse(ID, r#"{"DATABASE_URL": "hunter2"}"#).unwrap();
        let debug = format!("{fields:?}");
        assert!(debug.contains("DATABASE_URL") && !debug.contains("hunter2"), "{debug}");
    }

    #[test]
    fn a_failed_secret_is_an_unknown_that_says_why() {
        let source = AwsError::new(AwsErrorKind::TimedOut, "GetSecretValue was not answered");
        let unknown = Unknown::from(SecretError::Aws { id: ID.to_owned(), source });
        assert_eq!(unknown.cause, UnknownCause::TimedOut);
        assert_eq!(
            unknown.detail,
            "the secret ghosthands/staging could not be read: GetSecretValue was not answered"
        );
    }
}
