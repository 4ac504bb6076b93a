//! The secret `ghosthands/{environment}`: one JSON object of variables.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use fleet_protocol::environment;
use secrecy::SecretString;
use serde_json::Value;

use super::{Error, dotenv, host_settings};
use crate::aws::{self, Aws};

/// The variables of a secret, by name.
pub type Variables = BTreeMap<String, SecretString>;

/// Which version of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `AWSCURRENT`
    Current,
    /// `AWSPREVIOUS`: what was current before the last change.
    Previous,
}

/// The secret's id in Secrets Manager.
#[must_use]
pub fn id(environment: &str) -> String {
    format!("ghosthands/{environment}")
}

/// The environment's name: `given` first, else the instance tag `Environment`. There is no default:
/// the wrong environment's secrets are worse than none.
///
/// # Errors
/// [`Error::Environment`] where neither says it, or what they say cannot be part of a secret's
/// name.
pub async fn environment(given: Option<&str>, aws: &Aws) -> Result<String, Error> {
    let name = match given.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => match aws.imds().get("tags/instance/Environment").await {
            Ok(Some(name)) => name,
            Ok(None) | Err(_) => return Err(Error::Environment("is not set and the instance has no readable tag Environment: set it, for example to staging".to_owned())),
        },
    };
    if !environment::is_name(&name) {
        return Err(Error::Environment(format!(
            "{name:?} is not an environment. {}",
            environment::RULE
        )));
    }
    Ok(name)
}

/// The variables of one version of a secret; `None` where the secret has no such version.
///
/// # Errors
/// [`Error`] where it cannot be fetched or is not an object of plain values.
pub async fn fetch(aws: &Aws, id: &str, stage: Stage) -> Result<Option<Variables>, Error> {
    let label = match stage {
        Stage::Current => "AWSCURRENT",
        Stage::Previous => "AWSPREVIOUS",
    };
    let answer = aws
        .secrets_manager()
        .await?
        .get_secret_value()
        .secret_id(id)
        .version_stage(label)
        .send()
        .await;
    match answer {
        Ok(secret) => match secret.secret_string() {
            Some(text) => parse(id, text).map(Some),
            None => Err(document(id, "it is binary: store it as a JSON text")),
        },
        Err(error) if stage == Stage::Previous && is_missing(&error) => Ok(None),
        Err(error) => Err(upstream(id, &error)),
    }
}

fn is_missing(error: &SdkError<GetSecretValueError>) -> bool {
    error.as_service_error().is_some_and(GetSecretValueError::is_resource_not_found_exception)
}

fn upstream(id: &str, error: &SdkError<GetSecretValueError>) -> Error {
    let what = format!("Secrets Manager, asked for {id},");
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    match error.as_service_error() {
        Some(refusal) => Error::Aws(aws::Error::Refused {
            what,
            status,
            code: refusal.code().map(str::to_owned),
            reason: format!(
                "{}: {}",
                refusal.code().unwrap_or("no code"),
                refusal.message().unwrap_or("no message")
            ),
        }),
        None => Error::Aws(aws::Error::Unreachable { what, reason: aws::chain(error) }),
    }
}

fn document(id: &str, problem: impl Into<String>) -> Error {
    Error::Document { id: id.to_owned(), problem: problem.into() }
}

/// Names at most ten of the keys, each cut, since whoever wrote them may have written anything.
fn refusal(keys: &[&str]) -> String {
    let named: Vec<String> = keys
        .iter()
        .take(10)
        .map(|key| key.chars().filter(|c| !c.is_control()).take(64).collect())
        .collect();
    let more = match keys.len().saturating_sub(10) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "it has {}{more}, which would steer what root runs on this host: remove the key from the secret; a setting of the host goes into /etc/default/ghosthands",
        named.join(", ")
    )
}

/// Text, numbers and booleans are values; anything else is named and refused, and nothing is taken
/// over then.
fn parse(id: &str, text: &str) -> Result<Variables, Error> {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return Err(document(id, "it is not a JSON object of names and values"));
    };
    if fields.is_empty() {
        return Err(document(id, "it has no keys"));
    }
    let refused: Vec<&str> =
        fields.keys().map(String::as_str).filter(|name| host_settings::is_refused(name)).collect();
    if !refused.is_empty() {
        return Err(document(id, refusal(&refused)));
    }
    let mut variables = Variables::new();
    for (name, value) in fields {
        if !dotenv::is_name(&name) {
            return Err(document(id, dotenv::Unwritable::Name(name.clone()).to_string()));
        }
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(document(
                    id,
                    format!(
                        "key {name} is not text, a number or a boolean: write its value as a text"
                    ),
                ));
            }
        };
        if text.contains('\0') {
            return Err(document(
                id,
                format!(
                    "the value of {name} holds a NUL character, which no environment can carry"
                ),
            ));
        }
        variables.insert(name, SecretString::from(text));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn scalars_become_text() {
        let variables =
            parse("s", r#"{"A":"x","B":1,"C":true,"D":1.50,"E":""}"#).expect("an object");
        let text = |name: &str| variables[name].expose_secret().to_owned();
        assert_eq!(text("A"), "x");
        assert_eq!(text("B"), "1");
        assert_eq!(text("C"), "true");
        assert_eq!(text("D"), "1.5");
        assert_eq!(text("E"), "");
    }

    #[test]
    fn rubbish_is_refused_by_name_without_values() {
        for (text, named) in [
            ("geheim", "JSON object"),
            ("[\"geheim\"]", "JSON object"),
            ("{}", "no keys"),
            (r#"{"A":"geheim","B":null}"#, "key B"),
            (r#"{"A":{"x":"geheim"}}"#, "key A"),
            (r#"{"A B":"geheim"}"#, "A B"),
            (r#"{"A":"geheim\u0000"}"#, "value of A"),
            (r#"{"A":"geheim""#, "JSON object"),
        ] {
            let error = parse("ghosthands/x", text).expect_err(named).to_string();
            assert!(error.contains(named) && error.contains("ghosthands/x"), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
