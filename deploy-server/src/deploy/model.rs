//! What a journal says about one deploy: records in, a [`Run`] out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::service::ServiceKind;

/// One line of the journal. `Doing` is written before a side effect; the others are facts that
/// Docker cannot show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    Begin(Begin),
    /// The image that will run, proved to be on this host.
    Image(Image),
    /// The container that a service has now.
    Old {
        service: ServiceKind,
        container: OldContainer,
    },
    Created {
        service: ServiceKind,
        id: String,
    },
    Doing {
        step: DeployStep,
    },
    Did {
        step: DeployStep,
        /// Jobs that an old worker took between its last idle answer and its end.
        #[serde(default, skip_serializing_if = "is_zero")]
        caught_jobs: u32,
        #[serde(default, skip_serializing_if = "is_zero")]
        waited_ms: u64,
    },
    /// The way forward is closed; from here on the deploy undoes what it did.
    Failed(Failure),
    /// Tidying up that did not come about. It keeps no service from coming back.
    LeftBehind {
        step: DeployStep,
        reason: String,
    },
    /// One service could not be brought back.
    RestoreFailed {
        service: ServiceKind,
        reason: String,
    },
    End {
        outcome: Outcome,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub deploy: String,
    pub generation: u64,
    pub kind: Kind,
    pub image_tag: String,
    pub force: bool,
    /// Who asked: `http`, or `local` with a user id.
    pub actor: String,
    /// What ran before.
    pub previous: Option<Version>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Deploy,
    Rollback,
    Bootstrap,
}

/// A version of the software, as a host knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub image_tag: String,
    /// The engine's id, `sha256:…`.
    pub image_id: String,
    /// The registry's digest, when the image came from one.
    pub digest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What a container is created from; inspected to be `id`.
    pub reference: String,
    pub id: String,
    pub digest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldContainer {
    pub id: String,
    /// The name to give back to it.
    pub name: String,
    /// It ran, or only our own drain had stopped it: an undo starts it again.
    pub runs: bool,
    /// Its restart policy, to give back to it.
    pub policy: String,
}

/// A side effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployStep {
    /// Close the intake before the pull, so that the running job is the last that is waited for.
    CloseIntake,
    Pull,
    Create(ServiceKind),
    /// Remove the container that an earlier deploy had kept under the `.prev` name.
    ClearPrev(ServiceKind),
    Drain,
    Stop(ServiceKind),
    RenameOld(ServiceKind),
    Start(ServiceKind),
    /// The new container answers healthily for the first time.
    FirstAnswer(ServiceKind),
    Gate(ServiceKind),
    Promote(ServiceKind),
    /// The old container must not come back by itself.
    Retire(ServiceKind),
    /// The new container must come back by itself.
    Keep(ServiceKind),
    StopNew(ServiceKind),
    RemoveNew(ServiceKind),
    RestoreName(ServiceKind),
    RestorePolicy(ServiceKind),
    StartOld(ServiceKind),
    GateOld(ServiceKind),
    /// Open the intake of a worker that was drained and not replaced.
    Resume,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A name that callers know (`pull-image`, `start-services`, …).
    pub step: String,
    pub service: Option<ServiceKind>,
    pub reason: String,
    /// The last lines of the container that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Deployed,
    /// Failed before anything was stopped.
    Failed,
    /// Failed, and the old containers run again.
    RolledBack,
    /// Failed, and at least one service could not be brought back.
    Down,
}

/// A deploy as far as its journal tells.
#[derive(Debug, Clone)]
pub struct Run {
    pub begin: Begin,
    pub began_at: i64,
    pub image: Option<Image>,
    pub old: BTreeMap<ServiceKind, OldContainer>,
    pub created: BTreeMap<ServiceKind, String>,
    pub started_at: BTreeMap<ServiceKind, i64>,
    pub doing: BTreeSet<DeployStep>,
    pub did: BTreeSet<DeployStep>,
    pub failure: Option<Failure>,
    pub restore_failed: BTreeMap<ServiceKind, String>,
    /// What could not be tidied up, in words.
    pub left_behind: Vec<String>,
    pub caught_jobs: u32,
    pub drain_waited_ms: u64,
    pub outcome: Option<Outcome>,
    /// The last thing that was begun, for people who watch.
    pub step: Option<DeployStep>,
}

// === impl Run ===

impl Run {
    #[must_use]
    pub fn new(begin: Begin, at: i64) -> Self {
        Self {
            begin,
            began_at: at,
            image: None,
            old: BTreeMap::new(),
            created: BTreeMap::new(),
            started_at: BTreeMap::new(),
            doing: BTreeSet::new(),
            did: BTreeSet::new(),
            failure: None,
            restore_failed: BTreeMap::new(),
            left_behind: Vec::new(),
            caught_jobs: 0,
            drain_waited_ms: 0,
            outcome: None,
            step: None,
        }
    }

    /// The run that a journal describes: its last `Begin` and all that follows. `None` when there
    /// is none.
    #[must_use]
    pub fn from_records(records: impl IntoIterator<Item = (i64, Record)>) -> Option<Self> {
        let mut run: Option<Self> = None;
        for (at, record) in records {
            match (record, &mut run) {
                (Record::Begin(begin), _) => run = Some(Self::new(begin, at)),
                (record, Some(run)) => run.apply(at, record),
                (_, None) => {}
            }
        }
        run
    }

    /// Takes in the next record.
    pub fn apply(&mut self, at: i64, record: Record) {
        match record {
            Record::Begin(begin) => *self = Self::new(begin, at),
            Record::Image(image) => self.image = Some(image),
            Record::Old { service, container } => {
                self.old.insert(service, container);
            }
            Record::Created { service, id } => {
                self.created.insert(service, id);
            }
            Record::Doing { step } => {
                if let DeployStep::Start(service) | DeployStep::StartOld(service) = step {
                    self.started_at.insert(service, at);
                }
                self.step = Some(step);
                self.doing.insert(step);
            }
            Record::Did { step, caught_jobs, waited_ms } => {
                self.caught_jobs += caught_jobs;
                self.drain_waited_ms += waited_ms;
                self.did.insert(step);
            }
            // The first reason is the reason.
            Record::Failed(failure) => {
                self.failure.get_or_insert(failure);
            }
            Record::LeftBehind { step, reason } => {
                self.did.insert(step);
                self.left_behind.push(reason);
            }
            Record::RestoreFailed { service, reason } => {
                self.restore_failed.entry(service).or_insert(reason);
            }
            Record::End { outcome } => self.outcome = Some(outcome),
        }
    }

    /// True once the worker's intake may have been closed.
    #[must_use]
    pub fn closed_the_intake(&self) -> bool {
        self.doing.contains(&DeployStep::CloseIntake) || self.doing.contains(&DeployStep::Drain)
    }

    /// True once a service may have been interrupted.
    #[must_use]
    pub fn touched(&self) -> bool {
        self.doing.iter().any(|step| matches!(step, DeployStep::Stop(_) | DeployStep::Start(_)))
    }

    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.image.as_ref().map(|image| Version {
            image_tag: self.begin.image_tag.clone(),
            image_id: image.id.clone(),
            digest: image.digest.clone(),
        })
    }
}

// === impl DeployStep ===

impl DeployStep {
    /// The name that replies use; the predecessor's where it had one.
    #[must_use]
    pub fn public_name(self) -> &'static str {
        match self {
            Self::CloseIntake => "initializing",
            Self::Pull => "pull-image",
            Self::Create(_) => "create-containers",
            Self::Drain => "drain-worker",
            Self::ClearPrev(_) | Self::Stop(_) | Self::RenameOld(_) => "stop-services",
            Self::Start(_) | Self::FirstAnswer(_) | Self::Gate(_) => "start-services",
            Self::Promote(_) | Self::Retire(_) | Self::Keep(_) => "commit",
            Self::StopNew(_)
            | Self::RemoveNew(_)
            | Self::RestoreName(_)
            | Self::RestorePolicy(_)
            | Self::StartOld(_)
            | Self::GateOld(_)
            | Self::Resume => "restore-services",
        }
    }

    /// What a step of tidying up does, for a person.
    pub(super) fn deed(self) -> &'static str {
        match self {
            Self::RemoveNew(_) => "removing the new container",
            Self::RestoreName(_) => "giving the old name back to the container",
            Self::RestorePolicy(_) => "giving the restart policy back to the container",
            other => other.public_name(),
        }
    }

    /// It only tidies up: no service needs it to come back.
    #[must_use]
    pub fn only_tidies_up(self) -> bool {
        matches!(self, Self::RemoveNew(_) | Self::RestoreName(_) | Self::RestorePolicy(_))
    }

    #[must_use]
    pub fn service(self) -> Option<ServiceKind> {
        match self {
            Self::Pull => None,
            Self::CloseIntake | Self::Drain | Self::Resume => Some(ServiceKind::Worker),
            Self::Create(service)
            | Self::ClearPrev(service)
            | Self::Stop(service)
            | Self::RenameOld(service)
            | Self::Start(service)
            | Self::FirstAnswer(service)
            | Self::Gate(service)
            | Self::Promote(service)
            | Self::Retire(service)
            | Self::Keep(service)
            | Self::StopNew(service)
            | Self::RemoveNew(service)
            | Self::RestoreName(service)
            | Self::RestorePolicy(service)
            | Self::StartOld(service)
            | Self::GateOld(service) => Some(service),
        }
    }
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Deployed, Self::Failed, Self::RolledBack, Self::Down];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Down => "down",
        }
    }
}

fn is_zero<N: Default + PartialEq>(n: &N) -> bool {
    *n == N::default()
}
