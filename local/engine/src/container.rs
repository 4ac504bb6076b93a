//! One container: what it was made of, and what is true of it now.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::image::Image;
use crate::log::Log;

/// What a container is doing, in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    /// Between two runs, by its restart policy.
    Restarting,
    Exited,
}

impl Status {
    /// The word in `State`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }

    /// Docker's `Running` is true between two restarts as well.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Restarting)
    }
}

/// A container as the embedder sees it.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    /// Without the API's leading slash.
    pub name: String,
    /// What it was created from, such as `registry/repository:tag`.
    pub image: String,
    /// The tag its image had in the registry when it was pulled.
    pub image_tag: String,
    pub status: Status,
    /// The process, while it runs.
    pub pid: Option<u32>,
    pub exit_code: i32,
    pub restart_count: u64,
    pub labels: BTreeMap<String, String>,
}

/// When a container is started again without anybody asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Policy {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// At most so many times; 0 is without end.
    OnFailure(u64),
}

impl Policy {
    pub(crate) fn parse(name: &str, most: u64) -> Option<Self> {
        Some(match name {
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => Self::OnFailure(most),
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure(_) => "on-failure",
        }
    }

    pub(crate) fn most(self) -> u64 {
        if let Self::OnFailure(most) = self { most } else { 0 }
    }

    pub(crate) fn restarts(self, exit_code: i32, so_far: u64) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure(most) => exit_code != 0 && (most == 0 || so_far < most),
        }
    }
}

/// What runs in a container: all of it is fixed when it is created.
#[derive(Debug)]
pub(crate) struct Command {
    /// Entry point and command, as they were given.
    pub(crate) words: Vec<String>,
    /// The program of this machine; `None` when the image has none of that name.
    pub(crate) program: Option<(PathBuf, Vec<String>)>,
    pub(crate) environment: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) image_id: String,
    /// As the create call named it.
    pub(crate) image: String,
    pub(crate) source: Arc<Image>,
    pub(crate) command: Command,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) stop_timeout: Option<i64>,
    /// Everything under `HostConfig`, kept to be shown.
    pub(crate) host_config: Value,
    pub(crate) policy: Policy,

    pub(crate) status: Status,
    pub(crate) pid: Option<u32>,
    pub(crate) exit_code: i32,
    pub(crate) error: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) restart_count: u64,
    /// Somebody asked for its end: no policy starts it again.
    pub(crate) stopped: bool,
    /// Counts starts and ends by hand, so that a pending restart knows that it is no longer wanted.
    pub(crate) turn: u64,
    pub(crate) log: Log,
    /// Tells that `status` is another one.
    pub(crate) changed: watch::Sender<()>,
}

// === impl Record ===

impl Record {
    pub(crate) fn set_status(&mut self, status: Status) {
        self.status = status;
        self.changed.send_replace(());
    }

    pub(crate) fn view(&self) -> Container {
        Container {
            id: self.id.clone(),
            name: self.name.clone(),
            image: self.image.clone(),
            image_tag: self.source.tag.clone(),
            status: self.status,
            pid: self.pid,
            exit_code: self.exit_code,
            restart_count: self.restart_count,
            labels: self.labels.clone().unwrap_or_default(),
        }
    }

    /// The twelve digits that people see.
    pub(crate) fn short_id(&self) -> &str {
        &self.id[..12]
    }
}
