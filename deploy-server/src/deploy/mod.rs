//! Rolling deploys: prepare without impact, drain, stop, start, prove, commit, or go back.
//!
//! [`mod@decide`] says what is next, [`mod@steps`] does it, [`mod@run`] writes it down in between;
//! [`mod@prepare`] comes before, and [`mod@recover`] takes up what an earlier process left.

pub mod decide;
pub mod drain;
pub mod find;
pub mod foreign;
pub mod gate;
pub mod model;
mod prepare;
mod recover;
mod run;
pub(crate) mod steps;

pub use prepare::Target;
pub use recover::recover;

use std::sync::Arc;

use self::model::{Begin, Kind, Outcome, Version};
use self::prepare::Prepared;
use self::run::Deployment;
use crate::ops::{Running, Ticket, What};
use crate::server::Server;
use crate::service::ServiceKind;
use crate::state::{Entry, rollback_target};

/// A wish to deploy.
#[derive(Debug, Clone)]
pub struct Wish {
    pub kind: Kind,
    /// A tag or a `sha256:` digest; shown to people.
    pub image_tag: String,
    pub target: Target,
    /// Go on when the worker will not drain, and replace containers that are up to date.
    pub force: bool,
    pub actor: String,
}

/// Why a wish is not taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Something else holds the lock; in words.
    Busy(String),
    Terminating,
    /// There is nothing to go back to.
    NoTarget(String),
    State(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy(text) | Self::NoTarget(text) | Self::State(text) => out.write_str(text),
            Self::Terminating => {
                out.write_str("This host is terminating: nothing more is deployed on it")
            }
        }
    }
}

/// Begins a deploy, or joins the one that runs for the same tag. The work goes on whatever becomes
/// of the caller.
///
/// # Errors
/// Why it is refused.
pub fn start(server: &'static Server, wish: Wish) -> Result<Arc<Running>, Refusal> {
    if server.is_terminating() {
        return Err(Refusal::Terminating);
    }
    let (generation, id) = server.next_deploy();
    let what =
        What::Deploy { id: id.clone(), image_tag: wish.image_tag.clone(), force: wish.force };
    let ticket = match server.ops.admit(what) {
        Ok(ticket) => ticket,
        Err(running) => match &running.what {
            What::Deploy { image_tag, .. } if *image_tag == wish.image_tag => return Ok(running),
            _ => return Err(Refusal::Busy(running.describe())),
        },
    };
    let running = Arc::clone(ticket.running());
    tokio::spawn(async move {
        let entry = carry_out(server, &ticket, wish, generation, id).await;
        ticket.finish(entry);
    });
    Ok(running)
}

/// The wish to go back to the newest version that was deployed with success and is not the current
/// one.
///
/// # Errors
/// When the history knows no such version.
pub fn rollback_wish(server: &Server, force: bool, actor: String) -> Result<Wish, Refusal> {
    let history = server.state.history().map_err(|error| Refusal::State(error.to_string()))?;
    let current = history.iter().rev().find(|entry| entry.status == Outcome::Deployed);
    let current = current.and_then(|entry| entry.image_id.as_deref());
    let version = rollback_target(&history, current).ok_or_else(|| {
        Refusal::NoTarget(
            "There is no earlier version to roll back to: deploy one by its tag".to_owned(),
        )
    })?;
    let image_tag = version.image_tag.clone();
    Ok(Wish { kind: Kind::Rollback, image_tag, target: Target::Version(version), force, actor })
}

async fn carry_out(
    server: &'static Server,
    ticket: &Ticket<'_>,
    wish: Wish,
    generation: u64,
    id: String,
) -> Entry {
    let begin = Begin {
        deploy: id,
        generation,
        kind: wish.kind,
        image_tag: wish.image_tag,
        force: wish.force,
        actor: wish.actor,
        previous: current_version(server).await,
    };
    tracing::info!(
        deploy = begin.deploy,
        image_tag = begin.image_tag,
        actor = begin.actor,
        "a deploy begins"
    );
    let mut deployment = match Deployment::begin(server, ticket, begin.clone()) {
        Ok(deployment) => deployment,
        Err(error) => {
            tracing::error!(error = %error, "the deploy cannot begin: its journal cannot be written");
            return Entry::unwritten(&begin, &error.to_string());
        }
    };
    let entry = match deployment.prepare(&wish.target).await {
        Ok(Prepared::Unchanged) => {
            deployment.open_the_intake_again().await;
            deployment.end(Outcome::Deployed).await
        }
        Ok(Prepared::Ready) => deployment.drive().await,
        Err((step, service, reason)) => {
            deployment.fail(step, service, reason, Vec::new());
            // Without a new container there is nothing to undo, and an engine that is away need not
            // be waited for.
            if deployment.has_made_containers() {
                deployment.drive().await
            } else {
                deployment.open_the_intake_again().await;
                deployment.end(Outcome::Failed).await
            }
        }
    };
    server.readings.forget();
    entry
}

/// What the worker's container runs now, from Docker; `None` when there is no container or no
/// engine.
pub async fn current_version(server: &Server) -> Option<Version> {
    let containers = server.engine.list_containers(true).await.ok()?;
    let service = server.config.service(ServiceKind::Worker);
    let container = find::current(&server.config, service, &containers, None)?;
    // What its tag meant when it was pulled is in the history only: one image may have several
    // digests.
    let known = server.state.last_deployed();
    if let Some(version) = known.filter(|version| version.image_id == container.image_id) {
        return Some(version);
    }
    let image = server.engine.inspect_image(&container.image_id).await.ok().flatten();
    let repository = server.config.images.full().unwrap_or_default();
    let digest = image.and_then(|image| image.only_digest_in(&repository).map(str::to_owned));
    Some(Version {
        image_tag: find::image_tag_of(container),
        image_id: container.image_id.clone(),
        digest,
    })
}
