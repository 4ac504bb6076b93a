//! Everything a tick needs from outside, built once for each environment.

use fleet_clients::auth::{Gate, Tokens};
use fleet_clients::auto_scaling::AutoScaling;
use fleet_clients::aws::Aws;
use fleet_clients::config::{AutoscaleConfig, DATABASE_URL_KEY};
use fleet_clients::parameters::Parameters;
use fleet_clients::pgboss::{Names, QueueSource};
use fleet_clients::postgres::{Database, DatabaseUrl, Trust};
use fleet_clients::secrets::{Secrets, Stage};
use fleet_core::scaling::{State, Unknown, UnknownCause};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;

pub(crate) struct App {
    pub(crate) config: AutoscaleConfig,
    pub(crate) auto_scaling: AutoScaling,
    pub(crate) parameters: Parameters,
    pub(crate) gate: Gate<Tokens>,
    /// What this environment remembers when the parameter cannot be read, and all that a dry run remembers.
    pub(crate) warm: Mutex<Option<State>>,
    pub(crate) queue: Mutex<Queue>,
    /// Whether the last reading failed: the URL may have been rotated, so it is fetched anew.
    pub(crate) queue_failed: AtomicBool,
    secrets: Arc<Secrets>,
}

/// The queue source and the database URL it was built from, once there is one.
pub(crate) type Queue = Option<(SecretString, QueueSource)>;

impl App {
    pub(crate) fn new(config: AutoscaleConfig) -> App {
        let aws = Aws::new(&config.aws);
        let secrets = Arc::new(Secrets::new(&aws, config.database.secret_id.clone()));
        let gate = Gate::new(config.tokens.clone(), Arc::clone(&secrets));
        App {
            auto_scaling: AutoScaling::new(&aws),
            parameters: Parameters::new(&aws),
            gate,
            warm: Mutex::default(),
            queue: Mutex::default(),
            queue_failed: AtomicBool::new(false),
            secrets,
            config,
        }
    }

    /// The queue source for the database URL in force. A rotated URL gets a new one, with a new connection.
    pub(crate) async fn source<'a>(
        &self,
        queue: &'a mut Queue,
    ) -> Result<&'a mut QueueSource, Unknown> {
        let url = self.database_url(self.queue_failed.load(Ordering::Relaxed)).await?;
        let kept = queue
            .take()
            .filter(|(built_from, _)| built_from.expose_secret() == url.expose_secret());
        let source = match kept {
            Some((_, source)) => source,
            None => self.connect_to(&url)?,
        };
        Ok(&mut queue.insert((url, source)).1)
    }

    async fn database_url(&self, anew: bool) -> Result<SecretString, Unknown> {
        if let Some(url) = &self.config.database.url {
            return Ok(url.clone());
        }
        if anew {
            self.secrets.fetch(Stage::Current).await?;
        }
        Ok(self.secrets.value(DATABASE_URL_KEY).await?)
    }

    fn connect_to(&self, url: &SecretString) -> Result<QueueSource, Unknown> {
        let wrong = |detail: String| Unknown { cause: UnknownCause::Unreadable, detail };
        let url = DatabaseUrl::parse(url).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            wrong(format!("DATABASE_URL: {}", problems.join("; ")))
        })?;
        let trust = Trust::load(self.config.database.ca_pem.as_deref(), &url)
            .map_err(|problem| wrong(format!("DATABASE_CA: {problem}")))?;
        let config = &self.config.queue;
        let names = Names::new(&config.schema, &config.name, REGISTRY)
            .map_err(|problem| wrong(problem.to_string()))?;
        Ok(QueueSource::new(Database::new(url, trust), names))
    }
}

/// The workers' table, as the workers' own migrations create it.
const REGISTRY: &str = "public.gh_worker_registry";
