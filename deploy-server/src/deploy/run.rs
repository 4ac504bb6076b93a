//! The shell around [`decide`]: looks, asks, writes down, does.

use std::time::{Duration, Instant};

use super::decide::{Life, Next, World, decide};
use super::find;
use super::model::{Begin, DeployStep, Failure, Outcome, Record, Run};
use super::steps::{self, Ending, StepError};
use crate::clock::now_ms;
use crate::docker;
use crate::ops::Ticket;
use crate::server::{Server, rfc3339};
use crate::service::ServiceKind;
use crate::state::{Entry, Journal};

/// A restarting engine is waited for this long before a step counts as failed.
const ENGINE_PATIENCE: Duration = Duration::from_secs(90);

/// A deploy in progress: what is known, and where it is written.
#[derive(Debug)]
pub(super) struct Deployment<'a> {
    pub(super) server: &'static Server,
    pub(super) ticket: &'a Ticket<'a>,
    pub(super) run: Run,
    /// A container whose processes have ended while the engine still tidies up after them.
    pub(super) ending: Option<Ending>,
    /// What is worth knowing beside the outcome, in words.
    pub(super) notes: Vec<String>,
    journal: Journal,
}

// === impl Deployment ===

impl<'a> Deployment<'a> {
    /// Begins a deploy: from here on it will be in the history.
    ///
    /// # Errors
    /// When the journal cannot be written; nothing has happened then.
    pub(super) fn begin(
        server: &'static Server,
        ticket: &'a Ticket<'a>,
        begin: Begin,
    ) -> Result<Self, crate::state::StateError> {
        let at = now_ms();
        let journal = Journal::begin(&server.state, at, Record::Begin(begin.clone()))?;
        let (ending, notes) = (None, Vec::new());
        Ok(Self { server, ticket, run: Run::new(begin, at), ending, notes, journal })
    }

    /// Goes on with a deploy that an earlier process had begun.
    pub(super) fn resume(
        server: &'static Server,
        ticket: &'a Ticket<'a>,
        run: Run,
        journal: Journal,
    ) -> Self {
        Self { server, ticket, run, ending: None, notes: Vec::new(), journal }
    }

    /// Writes a record and takes it in.
    ///
    /// A disk that refuses closes the way forward. It does not close the way back: a host without
    /// its journal is better than a host without its services.
    pub(super) fn note(&mut self, record: Record) {
        let at = now_ms();
        let written = self.journal.append(at, record.clone());
        self.run.apply(at, record);
        if let Err(error) = written {
            tracing::error!(error = %error, deploy = self.run.begin.deploy, "the journal cannot be written");
            self.run.apply(
                at,
                Record::Failed(Failure {
                    step: "journal".to_owned(),
                    service: None,
                    reason: error.to_string(),
                    log: Vec::new(),
                }),
            );
        }
    }

    pub(super) fn fail(
        &mut self,
        step: &str,
        service: Option<ServiceKind>,
        reason: String,
        log: Vec<String>,
    ) {
        tracing::warn!(
            deploy = self.run.begin.deploy,
            step,
            service = service.map(ServiceKind::name),
            reason,
            "the deploy fails"
        );
        self.note(Record::Failed(Failure { step: step.to_owned(), service, reason, log }));
    }

    /// Does step after step until there is none, and returns what became of it.
    pub(super) async fn drive(mut self) -> Entry {
        let outcome = loop {
            let world = self.look().await;
            let next = decide(&self.run, &world);
            // Only a start may go on beside the engine's tidying up; what else is next is decided
            // on what it leaves.
            if !matches!(next, Next::Do(DeployStep::Start(_)))
                && let Some(ending) = self.ending.take()
            {
                ending.wait().await;
                continue;
            }
            match next {
                Next::End(outcome) => break outcome,
                Next::Fail(step, reason) => {
                    self.fail(step.public_name(), step.service(), reason.to_owned(), Vec::new());
                }
                Next::Do(step) => self.perform(step).await,
            }
        };
        self.end(outcome).await
    }

    pub(super) fn has_made_containers(&self) -> bool {
        self.run.doing.iter().any(|step| matches!(step, DeployStep::Create(_)))
    }

    async fn perform(&mut self, step: DeployStep) {
        self.ticket.step(step.public_name());
        let began = Instant::now();
        let going_back = self.run.failure.is_some();
        self.note(Record::Doing { step });
        if !going_back && self.run.failure.is_some() {
            return;
        }
        let outcome = loop {
            match steps::perform(self, step).await {
                Err(StepError::EngineAway(_)) if began.elapsed() < ENGINE_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                outcome => break outcome,
            }
        };
        match outcome {
            Ok(done) if done.invisible => self.note(Record::Did {
                step,
                caught_jobs: done.caught_jobs,
                waited_ms: done.waited_ms,
            }),
            Ok(_) => {}
            Err(trouble) => {
                let service = trouble.service().or_else(|| step.service());
                let (reason, log) = trouble.into_parts();
                match (going_back, service) {
                    (true, Some(service)) if step.only_tidies_up() => {
                        let reason = format!("{} of {service} was not done: {reason}", step.deed());
                        tracing::error!(
                            deploy = self.run.begin.deploy,
                            reason,
                            "something is left behind; the old containers are started all the same"
                        );
                        self.note(Record::LeftBehind { step, reason });
                    }
                    (true, Some(service)) => {
                        tracing::error!(
                            deploy = self.run.begin.deploy,
                            service = service.name(),
                            reason,
                            "the old container cannot be restored"
                        );
                        self.note(Record::RestoreFailed { service, reason });
                    }
                    (_, service) => self.fail(step.public_name(), service, reason, log),
                }
            }
        }
    }

    /// What Docker shows. Waits for an engine that is away: nothing can be decided blind.
    pub(super) async fn look(&self) -> World {
        loop {
            let error = match self.server.engine.list_containers(true).await {
                Ok(containers) => {
                    let terminating = self.server.is_terminating();
                    let mut world =
                        find::world(&self.server.config, &self.run, &containers, terminating);
                    if let Some(ending) = &self.ending {
                        world.end(ending.service);
                    }
                    match self.see_stopped(&mut world).await {
                        Ok(()) => return world,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            tracing::warn!(error = %error, deploy = self.run.begin.deploy, "waiting for the Docker Engine");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The engine's list may be a moment behind its own answer to a stop, which a look at the
    /// container is not: without it the stop would be done again.
    async fn see_stopped(&self, world: &mut World) -> Result<(), docker::Error> {
        let run = &self.run;
        for kind in ServiceKind::ALL {
            let Some(service) = world.services.get_mut(&kind) else { continue };
            let old = run.old.get(&kind).map(|old| old.id.as_str());
            let new = run.created.get(&kind).map(String::as_str);
            for (step, id, seen) in [
                (DeployStep::Stop(kind), old, &mut service.old),
                (DeployStep::StopNew(kind), new, &mut service.next),
            ] {
                let (Some(id), Some(seen)) = (id, seen) else { continue };
                if seen.life == Life::Down || !run.doing.contains(&step) {
                    continue;
                }
                let detail = self.server.engine.inspect_container(id).await?;
                if detail.is_some_and(|it| !it.state.running && !it.state.restarting) {
                    seen.life = Life::Down;
                }
            }
        }
        Ok(())
    }

    /// Tidies up once more, writes the result into the history, and only then the end into the
    /// journal: a crash in between repeats the entry, which replaces itself.
    pub(super) async fn end(mut self, outcome: Outcome) -> Entry {
        self.notes.extend(steps::remove_leftovers(self.server).await);
        self.forget_the_former_worker();
        let mut entry = self.entry(outcome);
        if let Err(error) = self.server.state.record(entry.clone()) {
            let text = format!("this deploy is not in the host's history: {error}");
            tracing::error!(deploy = entry.id, "{text}");
            entry.notes.push(text);
        }
        self.note(Record::End { outcome });
        tracing::info!(
            deploy = entry.id,
            image_tag = entry.image_tag,
            outcome = outcome.name(),
            duration_ms = entry.duration,
            "the deploy ended"
        );
        entry
    }

    /// Once a worker was started, what a drain wrote down about the one before holds no more.
    pub(super) fn forget_the_former_worker(&mut self) {
        let started =
            [DeployStep::Start(ServiceKind::Worker), DeployStep::StartOld(ServiceKind::Worker)];
        if !started.iter().any(|step| self.run.doing.contains(step)) {
            return;
        }
        if let Err(error) = self.server.state.forget_drain() {
            let text = format!("a drain of the former worker is still on record: {error}");
            tracing::warn!("{text}");
            self.notes.push(text);
        }
    }

    fn entry(&self, outcome: Outcome) -> Entry {
        let run = &self.run;
        let now = now_ms();
        let failure = run.failure.as_ref();
        let container = |service| self.server.config.service(service).container.clone();
        let mut error = failure.map(|failure| failure.reason.clone());
        if let (Some(text), false) = (&mut error, run.restore_failed.is_empty()) {
            for (service, reason) in &run.restore_failed {
                text.push_str(&format!("; {service} could not be restored: {reason}"));
            }
        }
        Entry {
            id: run.begin.deploy.clone(),
            generation: run.begin.generation,
            kind: run.begin.kind,
            status: outcome,
            image_tag: run.begin.image_tag.clone(),
            image_id: run.image.as_ref().map(|image| image.id.clone()),
            digest: run.image.as_ref().and_then(|image| image.digest.clone()),
            previous: run.begin.previous.clone(),
            actor: run.begin.actor.clone(),
            started_at: rfc3339(run.began_at),
            finished_at: rfc3339(now),
            duration: now - run.began_at,
            failed_step: failure.map(|failure| failure.step.clone()),
            failed_service: failure.and_then(|failure| failure.service).map(container),
            error,
            notes: run.left_behind.iter().chain(&self.notes).cloned().collect(),
            log: failure.map(|failure| failure.log.clone()).unwrap_or_default(),
            caught_jobs: run.caught_jobs,
            drain_waited_ms: run.drain_waited_ms,
        }
    }
}
