//! The parameters, their versions, and what may be written.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::epoch;
use super::{invalid, not_found};
use crate::error::ApiError;

/// Most a standard parameter may hold.
const STANDARD_BYTES: usize = 4096;
/// Versions AWS keeps.
const VERSIONS_KEPT: usize = 100;

#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) number: u64,
    value: String,
    kind: String,
    modified: Timestamp,
    pub(super) labels: BTreeSet<String>,
}

/// The parameters of the account and region.
#[derive(Debug, Default)]
pub(crate) struct Parameters(BTreeMap<String, Vec<Version>>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Put {
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

/// AWS's words for a version or a label that is not there.
pub(super) fn version_not_found(name: &str, version: &str) -> ApiError {
    ApiError::new(
        "ParameterVersionNotFound",
        format!(
            "Systems Manager could not find version {version} of {name}. Verify the version and try again."
        ),
    )
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

    pub(super) fn versions_mut(&mut self, name: &str) -> Option<&mut Vec<Version>> {
        self.0.get_mut(name)
    }

    pub(super) fn put(&mut self, put: Put, now: Timestamp) -> Result<Value, ApiError> {
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
        if versions.len() == VERSIONS_KEPT {
            let oldest = versions.remove(0);
            if !oldest.labels.is_empty() {
                let message = format!(
                    "Version {}, the oldest version, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again.",
                    oldest.number
                );
                versions.insert(0, oldest);
                return Err(ApiError::new("ParameterMaxVersionLimitExceeded", message));
            }
        }
        let (value, modified, labels) = (put.value, now, BTreeSet::new());
        versions.push(Version { number, value, kind, modified, labels });
        Ok(json!({ "Version": number, "Tier": "Standard" }))
    }

    /// `name` may carry `:version` or `:label`.
    pub(super) fn get(&self, selector: &str, arn_prefix: &str) -> Result<Value, ApiError> {
        let (name, which) = match selector.split_once(':') {
            Some((name, which)) => (name, Some(which)),
            None => (selector, None),
        };
        let versions = self.0.get(name).ok_or_else(|| not_found(name))?;
        let found = match which {
            None => versions.last().ok_or_else(|| not_found(name))?,
            Some(which) => {
                let number = which.parse::<u64>().ok();
                let is_meant = |v: &&Version| number == Some(v.number) || v.labels.contains(which);
                versions.iter().find(is_meant).ok_or_else(|| version_not_found(name, which))?
            }
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
        if which.is_some() {
            answer["Selector"] = json!(selector[name.len()..]);
        }
        Ok(answer)
    }

    /// `GetParameterHistory`: the versions kept, oldest first. The token is the last version of the
    /// page.
    pub(super) fn history(
        &self,
        name: &str,
        most: Option<usize>,
        token: Option<&str>,
        user: &str,
    ) -> Result<Value, ApiError> {
        let most = most.unwrap_or(50);
        if !(1..=50).contains(&most) {
            return Err(invalid(format!(
                "Value '{most}' at 'maxResults' must be between 1 and 50"
            )));
        }
        let after = match token {
            None => 0,
            Some(token) => token.parse::<u64>().map_err(|_| {
                ApiError::new("InvalidNextToken", format!("The token '{token}' is not valid."))
            })?,
        };
        let versions = self.0.get(name).ok_or_else(|| not_found(name))?;
        let left: Vec<&Version> = versions.iter().filter(|v| v.number > after).collect();
        let page: Vec<Value> = left
            .iter()
            .take(most)
            .map(|v| {
                json!({
                    "Name": name,
                    "Type": v.kind,
                    "Value": v.value,
                    "Version": v.number,
                    "LastModifiedDate": epoch(v.modified),
                    "LastModifiedUser": user,
                    "Labels": v.labels,
                    "Tier": "Standard",
                    "Policies": [],
                    "DataType": "text",
                })
            })
            .collect();
        let mut answer = json!({ "Parameters": page });
        if let Some(last) = left.get(most.saturating_sub(1)).filter(|_| left.len() > most) {
            answer["NextToken"] = json!(last.number.to_string());
        }
        Ok(answer)
    }

    pub(super) fn get_many(&self, names: &[String], arn_prefix: &str) -> Result<Value, ApiError> {
        if names.is_empty() || names.len() > 10 {
            return Err(invalid(format!(
                "1 validation error detected: Value at 'names' failed to satisfy constraint: Member must have length between 1 and 10, not {}",
                names.len()
            )));
        }
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match self.get(name, arn_prefix) {
                Ok(parameter) => found.push(parameter),
                Err(_) => missing.push(name),
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
