//! Secrets Manager over JSON 1.1: text secrets with versions and staging labels. No rotation, no
//! deletion.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{decode, epoch};
use crate::error::ApiError;
use crate::ids::Ids;

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

struct Version {
    text: String,
    stages: BTreeSet<String>,
    created: Timestamp,
}

struct Secret {
    arn: String,
    description: Option<String>,
    created: Timestamp,
    changed: Timestamp,
    versions: BTreeMap<String, Version>,
}

/// The secrets of the account and region. No Debug: it holds their values.
pub(crate) struct Secrets {
    arn_prefix: String,
    ids: Ids,
    known: BTreeMap<String, Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Create {
    name: String,
    client_request_token: Option<String>,
    description: Option<String>,
    secret_string: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Get {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutValue {
    secret_id: String,
    client_request_token: Option<String>,
    secret_string: String,
    version_stages: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Update {
    secret_id: String,
    client_request_token: Option<String>,
    description: Option<String>,
    secret_string: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Describe {
    secret_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {}

/// Runs one action. `None` when there is no such action here.
pub(super) fn call(
    action: &str,
    body: &Value,
    secrets: &mut Secrets,
    now: Timestamp,
) -> Option<Result<Value, ApiError>> {
    Some(match action {
        "CreateSecret" => decode(body).and_then(|create| secrets.create(create, now)),
        "GetSecretValue" => decode(body).and_then(|get| secrets.get(&get)),
        "PutSecretValue" => decode(body).and_then(|put| secrets.put_value(put, now)),
        "UpdateSecret" => decode(body).and_then(|update| secrets.update(update, now)),
        "DescribeSecret" => {
            decode(body).and_then(|Describe { secret_id }| secrets.describe(&secret_id))
        }
        "ListSecrets" => decode(body).map(|List {}| secrets.list()),
        _ => return None,
    })
}

fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", message)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", message)
}

impl Secret {
    /// The version that carries a label.
    fn staged(&self, stage: &str) -> Option<&String> {
        self.versions.iter().find(|(_, v)| v.stages.contains(stage)).map(|(id, _)| id)
    }

    /// Adds a version under labels; a moved AWSCURRENT leaves AWSPREVIOUS behind.
    fn add(
        &mut self,
        id: String,
        text: String,
        stages: BTreeSet<String>,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        if let Some(known) = self.versions.get(&id) {
            return if known.text == text {
                Ok(())
            } else {
                Err(ApiError::new(
                    "ResourceExistsException",
                    "You can't use ClientRequestToken for a different secret value: that version exists.",
                ))
            };
        }
        if stages.contains(CURRENT)
            && let Some(old) = self.staged(CURRENT).cloned()
        {
            for version in self.versions.values_mut() {
                version.stages.remove(PREVIOUS);
            }
            if let Some(version) = self.versions.get_mut(&old) {
                version.stages.insert(PREVIOUS.to_owned());
            }
        }
        for version in self.versions.values_mut() {
            version.stages.retain(|stage| !stages.contains(stage));
        }
        self.versions.insert(id, Version { text, stages, created: now });
        self.changed = now;
        Ok(())
    }
}

impl Secrets {
    /// None yet. `arn_prefix` is `arn:aws:secretsmanager:region:account`.
    pub(crate) fn new(arn_prefix: String, seed: u64) -> Self {
        Self { arn_prefix, ids: Ids::new(seed, 3), known: BTreeMap::new() }
    }

    /// Creates the secret or gives it a new current value.
    pub(crate) fn set(&mut self, name: &str, text: &str, now: Timestamp) -> Result<(), ApiError> {
        let text = text.to_owned();
        if self.known.contains_key(name) {
            let put = PutValue {
                secret_id: name.to_owned(),
                client_request_token: None,
                secret_string: text,
                version_stages: None,
            };
            return self.put_value(put, now).map(drop);
        }
        let create = Create {
            name: name.to_owned(),
            client_request_token: None,
            description: None,
            secret_string: Some(text),
        };
        self.create(create, now).map(drop)
    }

    /// By name or ARN; the ARN's random suffix may be missing.
    fn find(&mut self, id: &str) -> Result<(String, &mut Secret), ApiError> {
        self.known
            .iter_mut()
            .find(|(name, secret)| {
                *name == id
                    || secret.arn == id
                    || secret.arn.rsplit_once('-').is_some_and(|(bare, _)| bare == id)
            })
            .map(|(name, secret)| (name.clone(), secret))
            .ok_or_else(|| not_found("Secrets Manager can't find the specified secret."))
    }

    fn create(&mut self, create: Create, now: Timestamp) -> Result<Value, ApiError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
        if create.name.is_empty() || create.name.len() > 512 || !create.name.chars().all(legal) {
            return Err(ApiError::new(
                "ValidationException",
                "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
            ));
        }
        if self.known.contains_key(&create.name) {
            return Err(ApiError::new(
                "ResourceExistsException",
                format!("The operation failed because the secret {} already exists.", create.name),
            ));
        }
        let mut secret = Secret {
            arn: format!("{}:secret:{}-{}", self.arn_prefix, create.name, self.ids.suffix()),
            description: create.description,
            created: now,
            changed: now,
            versions: BTreeMap::new(),
        };
        let mut answer = json!({ "ARN": secret.arn, "Name": create.name });
        if let Some(text) = create.secret_string {
            let id = create.client_request_token.unwrap_or_else(|| self.ids.uuid());
            answer["VersionId"] = json!(id);
            secret.add(id, text, BTreeSet::from([CURRENT.to_owned()]), now)?;
        }
        self.known.insert(create.name, secret);
        Ok(answer)
    }

    fn get(&mut self, get: &Get) -> Result<Value, ApiError> {
        let (name, secret) = self.find(&get.secret_id)?;
        let stage = get.version_stage.as_deref();
        let id = match (&get.version_id, stage) {
            (Some(id), _) => id.clone(),
            (None, stage) => {
                let stage = stage.unwrap_or(CURRENT);
                secret.staged(stage).cloned().ok_or_else(|| {
                    not_found(format!(
                        "Secrets Manager can't find the specified secret value for staging label: {stage}"
                    ))
                })?
            }
        };
        let version = secret.versions.get(&id).ok_or_else(|| {
            not_found(format!(
                "Secrets Manager can't find the specified secret value for VersionId: {id}"
            ))
        })?;
        if stage.is_some_and(|stage| !version.stages.contains(stage)) {
            return Err(ApiError::new(
                "InvalidRequestException",
                "You provided a VersionStage that is not associated to the provided VersionId.",
            ));
        }
        Ok(json!({
            "ARN": secret.arn,
            "Name": name,
            "VersionId": id,
            "SecretString": version.text,
            "VersionStages": version.stages,
            "CreatedDate": epoch(version.created),
        }))
    }

    fn put_value(&mut self, put: PutValue, now: Timestamp) -> Result<Value, ApiError> {
        let stages: BTreeSet<String> = put
            .version_stages
            .map_or_else(|| BTreeSet::from([CURRENT.to_owned()]), |s| s.into_iter().collect());
        if stages.is_empty() {
            return Err(invalid("VersionStages must name at least one staging label"));
        }
        let id = put.client_request_token.unwrap_or_else(|| self.ids.uuid());
        let (name, secret) = self.find(&put.secret_id)?;
        secret.add(id.clone(), put.secret_string, stages, now)?;
        let stages = &secret.versions[&id].stages;
        Ok(json!({ "ARN": secret.arn, "Name": name, "VersionId": id, "VersionStages": stages }))
    }

    fn update(&mut self, update: Update, now: Timestamp) -> Result<Value, ApiError> {
        let id = update.client_request_token.unwrap_or_else(|| self.ids.uuid());
        let (name, secret) = self.find(&update.secret_id)?;
        if update.description.is_some() {
            secret.description = update.description;
            secret.changed = now;
        }
        let mut answer = json!({ "ARN": secret.arn, "Name": name });
        if let Some(text) = update.secret_string {
            secret.add(id.clone(), text, BTreeSet::from([CURRENT.to_owned()]), now)?;
            answer["VersionId"] = json!(id);
        }
        Ok(answer)
    }

    fn describe(&mut self, id: &str) -> Result<Value, ApiError> {
        let (name, secret) = self.find(id)?;
        let stages: BTreeMap<_, _> = staged_versions(secret);
        let mut answer = summary(&name, secret);
        answer["VersionIdsToStages"] = json!(stages);
        Ok(answer)
    }

    fn list(&self) -> Value {
        let all: Vec<Value> = self
            .known
            .iter()
            .map(|(name, secret)| {
                let mut entry = summary(name, secret);
                entry["SecretVersionsToStages"] = json!(staged_versions(secret));
                entry
            })
            .collect();
        json!({ "SecretList": all })
    }
}

/// Versions without a label are deprecated and not shown.
fn staged_versions(secret: &Secret) -> BTreeMap<&String, &BTreeSet<String>> {
    let staged = secret.versions.iter().filter(|(_, v)| !v.stages.is_empty());
    staged.map(|(id, v)| (id, &v.stages)).collect()
}

fn summary(name: &str, secret: &Secret) -> Value {
    let mut answer = json!({
        "ARN": secret.arn,
        "Name": name,
        "CreatedDate": epoch(secret.created),
        "LastChangedDate": epoch(secret.changed),
    });
    if let Some(description) = &secret.description {
        answer["Description"] = json!(description);
    }
    answer
}
