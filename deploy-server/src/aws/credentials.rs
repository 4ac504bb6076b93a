//! Where this host's AWS credentials come from: the environment, else the instance role.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use serde::Deserialize;

use super::{Error, Imds};

const ROLE: &str = "iam/security-credentials/";

#[derive(Debug, Clone)]
pub(super) struct HostCredentials {
    keys: Option<Credentials>,
    imds: Imds,
}

/// The answer of the metadata service for a role. No `Debug`: it holds the key.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleKeys {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

impl HostCredentials {
    pub(super) fn new(keys: Option<Credentials>, imds: Imds) -> Self {
        Self { keys, imds }
    }

    /// Credentials that are valid now.
    pub(super) async fn get(&self) -> std::result::Result<Credentials, Error> {
        if let Some(keys) = &self.keys {
            return Ok(keys.clone());
        }
        let unreadable =
            |reason| Error::Unreadable { what: "the instance role".to_owned(), reason };
        let role = self
            .imds
            .get(ROLE)
            .await?
            .and_then(|roles| roles.lines().next().map(str::to_owned))
            .filter(|role| !role.is_empty())
            .ok_or_else(|| unreadable("the instance has no role: attach an instance profile"))?;
        let answer = self
            .imds
            .get(&format!("{ROLE}{role}"))
            .await?
            .ok_or_else(|| unreadable("the role has no credentials"))?;
        let keys: RoleKeys = serde_json::from_str(&answer)
            .map_err(|_| unreadable("its credentials are not the JSON they should be"))?;
        let expires = keys
            .expiration
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(|moment| u64::try_from(moment.as_second()).ok())
            .ok_or_else(|| unreadable("its expiry is not a time"))?;
        Ok(Credentials::new(
            keys.access_key_id,
            keys.secret_access_key,
            Some(keys.token),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(expires)),
            "instance role",
        ))
    }
}

impl ProvideCredentials for HostCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let credentials: Result = self.get().await.map_err(|error| match error {
                Error::Setting { .. } => CredentialsError::invalid_configuration(error),
                error => CredentialsError::provider_error(error),
            });
            credentials
        })
    }
}
