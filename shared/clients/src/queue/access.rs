//! The queue source for the database URL in force.

use super::{Names, QueueSource};
use crate::config::{DATABASE_URL_KEY, DatabaseConfig, QueueConfig};
use crate::postgres::{Database, DatabaseUrl, Trust};
use crate::secrets::{SecretError, Secrets, Stage};
use crate::telemetry::error_chain;
use fleet_protocol::reading::{Unknown, UnknownCause};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// The workers' table, as the workers' own migrations create it.
pub const REGISTRY: &str = "public.gh_worker_registry";

/// The secret's key with the authorities that the database's certificate may come from, as PEM.
pub const DATABASE_CA_KEY: &str = "DATABASE_CA";

/// Where the database is, and whose certificates it may show.
#[derive(Clone, Debug)]
struct Address {
    url: SecretString,
    ca_pem: Option<SecretString>,
}

impl Address {
    fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_ref().map(ExposeSecret::expose_secret)
    }

    fn is(&self, other: &Address) -> bool {
        self.url.expose_secret() == other.url.expose_secret() && self.ca_pem() == other.ca_pem()
    }
}

/// The queue behind the database URL that is in force. Its connection stays open from one
/// invocation to the next, and is made anew when the URL is rotated.
#[derive(Debug)]
pub struct QueueAccess {
    database: DatabaseConfig,
    queue: QueueConfig,
    secrets: Arc<Secrets>,
    /// The address in use and the source that reads it, from the first call on.
    current: Option<(Address, QueueSource)>,
}

impl QueueAccess {
    pub fn new(database: DatabaseConfig, queue: QueueConfig, secrets: Arc<Secrets>) -> Self {
        Self { database, queue, secrets, current: None }
    }

    /// The source for the URL in force. `anew` fetches the URL even where one is cached: after a
    /// failed reading it may have been rotated.
    ///
    /// While Secrets Manager does not answer, the URL before it is used on: the database may well
    /// be there.
    ///
    /// # Errors
    /// Where there is no URL, or none that can be used.
    pub async fn source(&mut self, anew: bool) -> Result<&mut QueueSource, Unknown> {
        let address = match (self.address(anew).await, &self.current) {
            (Ok(address), _) => address,
            (Err(error @ SecretError::Aws { .. }), Some((built_from, _))) => {
                let error = error_chain(&error);
                tracing::warn!(
                    error,
                    "Secrets Manager does not answer; the database URL read before is used"
                );
                built_from.clone()
            }
            (Err(error), _) => return Err(error.into()),
        };
        let current = self.current.take().filter(|(built_from, _)| built_from.is(&address));
        let source = match current {
            Some((_, source)) => source,
            None => self.connect_to(&address)?,
        };
        Ok(&mut self.current.insert((address, source)).1)
    }

    /// The URL in force, and the authorities with it: a setting wins over the secret's key.
    async fn address(&self, anew: bool) -> Result<Address, SecretError> {
        let set = self.database.ca_pem.clone().map(SecretString::from);
        if let Some(url) = &self.database.url {
            return Ok(Address { url: url.clone(), ca_pem: set });
        }
        if anew {
            self.secrets.fetch(Stage::Current).await?;
        }
        let url = self.secrets.value(DATABASE_URL_KEY).await?;
        let ca_pem = match set {
            Some(pem) => Some(pem),
            None => self.secrets.optional(DATABASE_CA_KEY).await?,
        };
        Ok(Address { url, ca_pem })
    }

    fn connect_to(&self, address: &Address) -> Result<QueueSource, Unknown> {
        let wrong = |detail: String| Unknown { cause: UnknownCause::Unreadable, detail };
        let url = DatabaseUrl::parse(&address.url).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            wrong(format!("DATABASE_URL: {}", problems.join("; ")))
        })?;
        let trust = Trust::load(address.ca_pem(), &url)
            .map_err(|problem| wrong(format!("DATABASE_CA: {problem}")))?;
        let names = Names::new(&self.queue.schema, &self.queue.name, REGISTRY)
            .map_err(|problem| wrong(problem.to_string()))?;
        Ok(QueueSource::new(Database::new(url, trust), names)
            .with_group_limit(self.queue.group_limit))
    }
}
