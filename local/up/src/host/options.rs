//! How a host is to be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use process_engine::Registry;

use crate::worker::{Event, Source};
use crate::{Error, paths};

/// Gets what the host's workers report, in order. It must not wait for a host.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// How to start a host. Begin with [`HostOptions::new`].
#[derive(Clone)]
pub struct HostOptions {
    /// `i-…`; also the worker's id.
    pub instance_id: String,
    /// The Auto Scaling group's name.
    pub group: String,
    /// `staging` or `production`: which secret is the host's.
    pub environment: String,
    /// What it pulls from; hosts of one fleet share it.
    pub images: Registry,
    /// What it boots to, by `deploy-server bootstrap`; without it nothing is in service until a
    /// deploy.
    pub image_tag: Option<String>,
    /// What runs as its worker.
    pub worker: WorkerKind,
    /// The deploy-server's times.
    pub timing: Timing,
    /// The instance metadata service, such as `double.imds_endpoint(…)`; without it there is none.
    pub metadata: Option<String>,
    /// The settings of AWS, such as `double.aws_env()`; without them the host finds no credentials.
    pub aws: Vec<(String, String)>,
    /// What `/opt/ghosthands/.env` holds beside what a host's options say. It wins over Secrets
    /// Manager.
    pub variables: BTreeMap<String, String>,
    /// Who is told what its workers do.
    pub report: Option<Report>,
    /// The deploy-server to run; else the one that Cargo built last.
    pub deploy_server: Option<PathBuf>,
}

/// What runs as a host's worker.
#[derive(Clone)]
pub enum WorkerKind {
    /// `fleet-standin worker`, of a few megabytes: its jobs come by `POST /standin/job`.
    Light,
    /// `local/worker`, on Node: real jobs of a real pg-boss, a row in the registry, heartbeats.
    Queue {
        source: Source,
        /// How often it writes its row.
        heartbeat: Duration,
        /// How long it waits when there was no job.
        poll: Duration,
    },
}

/// The deploy-server's times: `GH_DEPLOY_HEALTHY_SECONDS` and its like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// How long a new container must stay healthy.
    pub healthy: Duration,
    /// How long it may take to become so.
    pub start: Duration,
    /// How long a deploy waits for the running job.
    pub drain: Duration,
    /// Between SIGTERM and SIGKILL, in whole seconds. The stand-ins give a job up after ten.
    pub stop: Duration,
}

impl Default for Timing {
    /// Short, and long enough for a machine that has much else to do.
    fn default() -> Self {
        Self {
            healthy: Duration::from_millis(500),
            start: Duration::from_secs(60),
            drain: Duration::from_secs(60),
            stop: Duration::from_secs(12),
        }
    }
}

impl HostOptions {
    /// A host with a light worker, no AWS, and nothing in service.
    #[must_use]
    pub fn new(instance_id: impl Into<String>, images: Registry) -> Self {
        Self {
            instance_id: instance_id.into(),
            group: "ghosthands-local".to_owned(),
            environment: "staging".to_owned(),
            images,
            image_tag: None,
            worker: WorkerKind::Light,
            timing: Timing::default(),
            metadata: None,
            aws: Vec::new(),
            variables: BTreeMap::new(),
            report: None,
            deploy_server: None,
        }
    }

    pub(super) fn deploy_server(&self) -> Result<PathBuf, Error> {
        match &self.deploy_server {
            None => paths::built("deploy-server", "deploy-server"),
            Some(file) if file.is_file() => Ok(file.clone()),
            Some(file) => Err(Error::Missing {
                what: format!("deploy_server {}", file.display()),
                install: "name a program that exists".to_owned(),
            }),
        }
    }
}

/// Names only: variables, AWS settings and the database's address are secrets.
impl fmt::Debug for HostOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostOptions")
            .field("instance_id", &self.instance_id)
            .field("group", &self.group)
            .field("image_tag", &self.image_tag)
            .field("worker", &self.worker)
            .field("variables", &self.variables.keys())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Light => "Light",
            Self::Queue { .. } => "Queue",
        })
    }
}
