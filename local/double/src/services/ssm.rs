//! Systems Manager Parameter Store over JSON 1.1: `String` and `StringList` parameters of the standard tier.
//!
//! Run Command is a module of its own when it comes; until then its actions are unknown operations.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{decode, epoch};
use crate::error::ApiError;

/// Most a standard parameter may hold.
const STANDARD_BYTES: usize = 4096;
/// Versions AWS keeps.
const VERSIONS_KEPT: usize = 100;

#[derive(Debug, Clone)]
struct Version {
    number: u64,
    value: String,
    kind: String,
    modified: Timestamp,
}

/// The parameters of the account and region.
#[derive(Debug, Default)]
pub(crate) struct Parameters(BTreeMap<String, Vec<Version>>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Put {
    name: String,
    value: String,
    r#type: Option<String>,
    #[serde(default)]
    overwrite: bool,
    #[serde(rename = "Description")]
    _description: Option<String>,
    tier: Option<String>,
    data_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Get {
    name: String,
    /// Nothing here is encrypted, so both values read the same.
    #[serde(default, rename = "WithDecryption")]
    _with_decryption: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetMany {
    names: Vec<String>,
    #[serde(default, rename = "WithDecryption")]
    _with_decryption: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Delete {
    name: String,
}

/// Runs one action. `None` when there is no such action here.
pub(super) fn call(
    action: &str,
    body: &Value,
    parameters: &mut Parameters,
    arn_prefix: &str,
    now: Timestamp,
) -> Option<Result<Value, ApiError>> {
    Some(match action {
        "PutParameter" => decode(body).and_then(|put| parameters.put(put, now)),
        "GetParameter" => decode(body).and_then(|Get { name, .. }| {
            parameters
                .get(&name, arn_prefix)
                .map(|found| json!({ "Parameter": found }))
                .ok_or_else(|| not_found(&name))
        }),
        "GetParameters" => {
            decode(body).and_then(|GetMany { names, .. }| parameters.get_many(&names, arn_prefix))
        }
        "DeleteParameter" => decode(body).and_then(|Delete { name }| {
            parameters.0.remove(&name).map(|_| json!({})).ok_or_else(|| not_found(&name))
        }),
        _ => return None,
    })
}

fn not_found(name: &str) -> ApiError {
    ApiError::new("ParameterNotFound", format!("Parameter {name} not found."))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

impl Parameters {
    /// The current value.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.0.get(name)?.last().map(|v| v.value.clone())
    }

    /// Writes a `String` parameter whether or not it exists.
    pub(crate) fn set(&mut self, name: &str, value: &str, now: Timestamp) -> Result<(), ApiError> {
        let put = Put {
            name: name.to_owned(),
            value: value.to_owned(),
            r#type: Some("String".to_owned()),
            overwrite: true,
            _description: None,
            tier: None,
            data_type: None,
        };
        self.put(put, now).map(drop)
    }

    /// Removes a parameter. True when there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    fn put(&mut self, put: Put, now: Timestamp) -> Result<Value, ApiError> {
        check_name(&put.name)?;
        if put.value.is_empty() {
            return Err(invalid("The parameter value must have at least 1 character"));
        }
        if put.value.len() > STANDARD_BYTES {
            return Err(invalid(format!(
                "Standard tier parameters support a maximum parameter value of {STANDARD_BYTES} characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
            )));
        }
        if put.tier.as_deref().is_some_and(|tier| tier != "Standard") {
            return Err(invalid("The double models the Standard tier only"));
        }
        if put.data_type.as_deref().is_some_and(|kind| kind != "text") {
            return Err(invalid("The double models the data type text only"));
        }
        let known = self.0.get(&put.name).and_then(|versions| versions.last());
        if known.is_some() && !put.overwrite {
            return Err(ApiError::new(
                "ParameterAlreadyExists",
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
            ));
        }
        let kind = match (put.r#type, known) {
            (Some(kind), _) if kind == "String" || kind == "StringList" => kind,
            (Some(kind), _) if kind == "SecureString" => {
                return Err(invalid("The double does not model KMS: use the type String"));
            }
            (Some(kind), _) => return Err(invalid(format!("{kind} is not a parameter type"))),
            (None, Some(known)) => known.kind.clone(),
            (None, None) => {
                return Err(invalid("A parameter type is required when you create a parameter."));
            }
        };
        let number = known.map_or(1, |v| v.number + 1);
        let versions = self.0.entry(put.name).or_default();
        versions.push(Version { number, value: put.value, kind, modified: now });
        if versions.len() > VERSIONS_KEPT {
            versions.remove(0);
        }
        Ok(json!({ "Version": number, "Tier": "Standard" }))
    }

    /// `name` may carry `:version`.
    fn get(&self, selector: &str, arn_prefix: &str) -> Option<Value> {
        let (name, version) = match selector.split_once(':') {
            Some((name, version)) => (name, Some(version.parse::<u64>().ok()?)),
            None => (selector, None),
        };
        let versions = self.0.get(name)?;
        let found = match version {
            Some(number) => versions.iter().find(|v| v.number == number)?,
            None => versions.last()?,
        };
        let slash = if name.starts_with('/') { "" } else { "/" };
        let mut answer = json!({
            "Name": name,
            "Type": found.kind,
            "Value": found.value,
            "Version": found.number,
            "LastModifiedDate": epoch(found.modified),
            "ARN": format!("{arn_prefix}:parameter{slash}{name}"),
            "DataType": "text",
        });
        if version.is_some() {
            answer["Selector"] = json!(selector[name.len()..]);
        }
        Some(answer)
    }

    fn get_many(&self, names: &[String], arn_prefix: &str) -> Result<Value, ApiError> {
        if names.is_empty() || names.len() > 10 {
            return Err(invalid(format!(
                "1 validation error detected: Value at 'names' failed to satisfy constraint: Member must have length between 1 and 10, not {}",
                names.len()
            )));
        }
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match self.get(name, arn_prefix) {
                Some(parameter) => found.push(parameter),
                None => missing.push(name),
            }
        }
        Ok(json!({ "Parameters": found, "InvalidParameters": missing }))
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    if name.is_empty() || name.len() > 1011 || !name.chars().all(legal) {
        return Err(invalid(
            "Invalid parameter name: only a-zA-Z0-9_.-/ are allowed, 1 to 1011 characters.",
        ));
    }
    let bare = name.trim_start_matches('/').to_ascii_lowercase();
    if bare.starts_with("aws") || bare.starts_with("ssm") {
        return Err(invalid(
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).",
        ));
    }
    if name.contains('/') && !name.starts_with('/') {
        return Err(invalid(
            "Parameter name must be a fully qualified name: a hierarchy begins with a slash.",
        ));
    }
    Ok(())
}
