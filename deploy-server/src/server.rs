//! Everything the host server holds, built once at start.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::aws::{self, Aws, Imds};
use crate::cleanup::Progress;
use crate::clock;
use crate::config::{Config, ConfigErrors, Strings};
use crate::docker::Engine;
use crate::ecr::{self, Registry};
use crate::http::{Documents, Refusals};
use crate::metrics::Sampler;
use crate::ops::Ops;
use crate::orders::Orders;
use crate::secrets::Secrets;
use crate::state::{StateDir, StateError, Terminating};
use crate::views::Readings;

#[derive(Debug)]
pub struct Server {
    pub config: Config,
    pub engine: Engine,
    pub state: StateDir,
    pub secrets: Secrets,
    pub registry: Registry,
    pub imds: Imds,
    pub sampler: Sampler,
    /// Where the last cleanup stopped, and how to stop one.
    pub cleanup: Progress,
    pub ops: Ops,
    pub orders: Orders,
    pub readings: Readings,
    /// What callers from the network were shown last.
    pub documents: Documents,
    pub refusals: Refusals,
    /// Connections of callers who may change things, and did not yet hear what came of it.
    pub unanswered: AtomicUsize,
    /// Where the host's own work runs: everything but talking to the network's callers.
    pub main: tokio::runtime::Handle,
    pub started: Instant,
    /// The number of the last deploy.
    generation: AtomicU64,
    /// This process was told that the machine goes away, whether or not the disk took the marker.
    told_to_go: AtomicBool,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Registry(#[from] ecr::Error),
    #[error(transparent)]
    Aws(#[from] aws::Error),
    #[error(transparent)]
    State(#[from] StateError),
}

impl Server {
    /// Builds the server from the environment, over which Secrets Manager is merged when it
    /// answers.
    ///
    /// # Errors
    /// A wrong configuration, or a state directory that cannot be used.
    pub async fn new(process: Strings) -> Result<Self, StartError> {
        let (secrets, trouble) = Secrets::at_start(process).await;
        if let Some(error) = trouble {
            tracing::warn!(error = %error, "the secret cannot be read from Secrets Manager; the host's own environment is used");
        }
        let ignored = secrets.without_effect_on_the_host();
        if !ignored.is_empty() {
            tracing::warn!(
                ignored = ignored.join(","),
                "the application's secret has settings of this host, which take effect in containers only; for the host put them into /etc/default/ghosthands"
            );
        }
        let host = secrets.host_environment();
        let config = Config::from_env(&host)?;
        let registry = Registry::new(ecr::Settings::from_env(&host)?);
        let imds = Aws::from_env(&host)?.imds().clone();
        let state = StateDir::open(&config.state_dir)?;
        let orders = Orders::load(&state)?;
        let last = state.history()?.last().map_or(0, |entry| entry.generation);
        Ok(Self {
            engine: Engine::connect(&config.docker_socket),
            config,
            state,
            secrets,
            registry,
            imds,
            sampler: Sampler::new(),
            cleanup: Progress::default(),
            ops: Ops::default(),
            orders,
            readings: Readings::default(),
            documents: Documents::default(),
            refusals: Refusals::default(),
            unanswered: AtomicUsize::new(0),
            main: tokio::runtime::Handle::current(),
            started: Instant::now(),
            generation: AtomicU64::new(last),
            told_to_go: AtomicBool::new(false),
        })
    }

    /// True once the host was told that it goes away. A state directory that cannot be read counts
    /// as told: the marker may be in it.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        let told = self.told_to_go.load(Ordering::Relaxed);
        told || !matches!(self.state.terminating(self.config.instance_id.as_deref()), Ok(None))
    }

    /// True once that is on the disk, so that a restart of this server does not undo it.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        matches!(self.state.terminating(self.config.instance_id.as_deref()), Ok(Some(_)))
    }

    /// Notes that this machine goes away. A disk that refuses the marker keeps nobody from
    /// draining.
    pub fn mark_terminating(&self) {
        self.told_to_go.store(true, Ordering::Relaxed);
        if self.is_marked() {
            return;
        }
        let marker = Terminating {
            since: rfc3339(clock::now_ms()),
            instance_id: self.config.instance_id.clone(),
        };
        if let Err(error) = self.state.mark_terminating(&marker) {
            tracing::error!(error = %error, "the terminating marker cannot be written; each drain tries again");
        }
    }

    /// The number and the name of a new deploy.
    #[must_use]
    pub fn next_deploy(&self) -> (u64, String) {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        (generation, format!("d{generation}-{now}"))
    }

    /// Takes note of a deploy that an earlier process had begun.
    pub fn saw_generation(&self, generation: u64) {
        self.generation.fetch_max(generation, Ordering::Relaxed);
    }

    #[must_use]
    pub fn uptime_ms(&self) -> u128 {
        self.started.elapsed().as_millis()
    }
}

/// A moment as RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn rfc3339(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(
        |_| clock::now_ms().to_string(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
    )
}
