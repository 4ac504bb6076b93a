//! What a deploy does before anything is touched: image, ports, new containers. A failure here
//! costs nobody anything.

use super::decide::Life;
use super::find;
use super::gate;
use super::model::{DeployStep, Image, OldContainer, Record, Version};
use super::run::Deployment;
use super::steps::{clear_name, resume_worker};
use crate::docker::{self, ContainerDetail, ContainerSummary, ImageDetail};
use crate::listener;
use crate::orders;
use crate::service::{Marks, ServiceKind, label};
use crate::worker;

/// What to run.
#[derive(Debug, Clone)]
pub enum Target {
    /// A tag or a `sha256:` digest of the configured repository.
    Tag(String),
    /// What the fleet has proven: the tag for people, and the digest that it meant then.
    Proven { tag: String, digest: String },
    /// A version that ran here before.
    Version(Version),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prepared {
    Ready,
    /// It runs already, made from the same image and settings, and it is healthy.
    Unchanged,
}

/// The name of the step that failed, the service, and the reason.
type Failed = (&'static str, Option<ServiceKind>, String);

impl Deployment<'_> {
    /// Gets everything ready beside what runs.
    ///
    /// # Errors
    /// Says which step failed. Nothing that runs was touched; a new container may have been made.
    pub(super) async fn prepare(&mut self, target: &Target) -> Result<Prepared, Failed> {
        self.close_the_intake_early().await;
        let image = self.fetch(target).await?;
        self.note(Record::Image(image.clone()));
        let engine = &self.server.engine;
        let list = engine.list_containers(true).await;
        let containers = list.map_err(|error| ("load-configs", None, error.to_string()))?;
        let mut olds = Vec::new();
        for kind in ServiceKind::ALL {
            olds.push((kind, self.find_old(kind, &containers).await?));
        }
        if self.is_unchanged(&image, &olds).await {
            return Ok(Prepared::Unchanged);
        }
        for (kind, old) in &olds {
            if let Some(old) = old {
                let container = self.old_record(old);
                self.note(Record::Old { service: *kind, container });
            }
        }
        for kind in ServiceKind::ALL {
            self.create(kind, &image).await?;
        }
        match &self.run.failure {
            Some(failure) => Err(("journal", None, failure.reason.clone())),
            None => Ok(Prepared::Ready),
        }
    }

    /// A rollout's order is in no hurry, so its host takes no further job from its first instant
    /// on. Only a worker that can open its intake again is told this early: what fails before the
    /// drain must cost it nothing.
    async fn close_the_intake_early(&mut self) {
        let place = &self.server.config.worker.place;
        if orders::patience(self.server, &self.run.begin.actor).is_none() {
            return;
        }
        if !worker::read(place).await.is_ok_and(|reading| reading.accepting == Some(true)) {
            return;
        }
        self.note(Record::Doing { step: DeployStep::CloseIntake });
        if let Err(refusal) = worker::close_intake(place).await {
            tracing::warn!(deploy = self.run.begin.deploy, error = %refusal, "the worker's intake is not closed before the pull: it may take another job");
        }
    }

    /// Opens the intake again after a preparation that came to no swap.
    pub(super) async fn open_the_intake_again(&mut self) {
        if !self.run.closed_the_intake() || self.server.is_terminating() {
            return;
        }
        if let Err(trouble) = resume_worker(self.server).await {
            let (reason, _) = trouble.into_parts();
            let text = format!(
                "the worker's intake stays closed, open it by `deploy-server resume`: {reason}"
            );
            tracing::error!(deploy = self.run.begin.deploy, "{text}");
            self.notes.push(text);
        }
    }

    async fn fetch(&mut self, target: &Target) -> Result<Image, Failed> {
        let failed = |error: docker::Error| ("pull-image", None, error.to_string());
        let repository = self.server.config.images.full();
        let (tag, pulled) = match target {
            Target::Tag(tag) => (tag.clone(), tag.clone()),
            Target::Proven { tag, digest } => {
                if let Some(image) = self.on_disk(repository.as_deref(), digest).await {
                    return Ok(self.by_tag_or_id(tag, &image, Some(digest.clone())).await);
                }
                (tag.clone(), digest.clone())
            }
            Target::Version(version) => {
                let known = self.server.engine.inspect_image(&version.image_id).await;
                if let Some(image) = known.map_err(failed)? {
                    return Ok(self
                        .by_tag_or_id(&version.image_tag, &image, version.digest.clone())
                        .await);
                }
                let digest = version.digest.clone().ok_or_else(|| {
                    let id = &version.image_id;
                    (
                        "pull-image",
                        None,
                        format!(
                            "image {id} is no longer on this host, and no digest of it is known"
                        ),
                    )
                })?;
                (version.image_tag.clone(), digest)
            }
        };
        let repository = repository.ok_or_else(|| {
            let reason = "ECR_REGISTRY is not set: this host does not know where to pull from";
            ("pull-image", None, reason.to_owned())
        })?;
        self.ticket.step("pull-image");
        self.note(Record::Doing { step: DeployStep::Pull });
        let (image, digest) = self.pull(&repository, &pulled).await?;
        // An engine that does not say it leaves the image's own list, which is in no order.
        let digest = digest.or_else(|| image.only_digest_in(&repository).map(str::to_owned));
        Ok(self.by_tag_or_id(&tag, &image, digest).await)
    }

    /// The image of this digest, where it is on this host already: then no registry is needed.
    async fn on_disk(&mut self, repository: Option<&str>, digest: &str) -> Option<ImageDetail> {
        let reference = format!("{}@{digest}", repository?);
        let found = self.server.engine.inspect_image(&reference).await.ok().flatten()?;
        let text =
            format!("the image {reference} was on this host already, so no registry was asked");
        tracing::info!(deploy = self.run.begin.deploy, "{text}");
        self.notes.push(text);
        Some(found)
    }

    async fn pull(
        &self,
        repository: &str,
        tag: &str,
    ) -> Result<(ImageDetail, Option<String>), Failed> {
        let server = self.server;
        let mut renewed = false;
        loop {
            let credential = server.registry.credential().await;
            let credential = credential.map_err(|error| ("ecr-auth", None, error.to_string()))?;
            let header = credential.as_ref().map(crate::ecr::Credential::header);
            match server.engine.pull_image(repository, tag, header.as_ref()).await {
                Err(error) if error.is_refused_credential() && credential.is_some() && !renewed => {
                    server.registry.forget();
                    renewed = true;
                }
                result => return result.map_err(|error| ("pull-image", None, error.to_string())),
            }
        }
    }

    /// A name that people can read, when it means this very image; else the image's id.
    async fn by_tag_or_id(&self, tag: &str, image: &ImageDetail, digest: Option<String>) -> Image {
        let named = match self.server.config.images.full() {
            Some(repository) if !tag.starts_with("sha256:") => {
                let reference = format!("{repository}:{tag}");
                let found = self.server.engine.inspect_image(&reference).await;
                let same = found.is_ok_and(|found| found.is_some_and(|found| found.id == image.id));
                same.then_some(reference)
            }
            _ => None,
        };
        Image { reference: named.unwrap_or_else(|| image.id.clone()), id: image.id.clone(), digest }
    }

    /// The container that plays `kind` now. The port must be its own or nobody's.
    async fn find_old(
        &self,
        kind: ServiceKind,
        containers: &[ContainerSummary],
    ) -> Result<Option<ContainerDetail>, Failed> {
        let config = &self.server.config;
        let service = config.service(kind);
        let port = service.place.port;
        let failed = |reason: String| ("port-preflight", Some(kind), reason);
        let taken = !listener::on_port(port).sockets.is_empty();
        let mut owner = None;
        if taken {
            // A paused one has its port as well.
            for container in containers.iter().filter(|it| find::life(it) != Life::Down) {
                let detail = self.server.engine.inspect_container(&container.id).await;
                let detail = detail.map_err(|error| failed(error.to_string()))?;
                if detail.is_some_and(|detail| find::has_port(&detail, port)) {
                    owner = Some(container);
                    break;
                }
            }
        }
        let owner_id = owner.map(|owner| owner.id.as_str());
        let old = find::current(config, service, containers, owner_id);
        if taken && (owner_id.is_none() || old.map(|old| old.id.as_str()) != owner_id) {
            let who = match owner {
                Some(container) => format!("container {}", container.name()),
                None => listener::owner_of(port).map_or_else(
                    || "an unknown process".to_owned(),
                    |pid| format!("process {pid} ({})", listener::name_of(pid)),
                ),
            };
            return Err(failed(format!(
                "port_conflict: port {port} belongs to {who}, which is not ours"
            )));
        }
        match old {
            None => Ok(None),
            Some(old) => {
                let detail = self.server.engine.inspect_container(&old.id).await;
                detail.map_err(|error| failed(error.to_string()))
            }
        }
    }

    fn old_record(&self, old: &ContainerDetail) -> OldContainer {
        let drained = self.server.state.stopped_by_drain();
        OldContainer {
            id: old.id.clone(),
            name: old.name().to_owned(),
            runs: old.state.running || old.state.restarting || drained.as_deref() == Some(&old.id),
            policy: old.host_config.restart_policy.name.clone(),
        }
    }

    async fn is_unchanged(
        &self,
        image: &Image,
        olds: &[(ServiceKind, Option<ContainerDetail>)],
    ) -> bool {
        if self.run.begin.force {
            return false;
        }
        let host = self.server.secrets.environment();
        for (kind, old) in olds {
            let service = self.server.config.service(*kind);
            let Some(old) = old else { return false };
            let spec =
                service.spec(&service.environment(&host), self.server.config.timing.stop_grace);
            let same = old.image == image.id
                && old.name() == service.container
                && old.label(label::SPEC) == Some(&spec);
            if !same || !old.is_running() {
                return false;
            }
            let sample = gate::look(service, Some(old), None).await;
            // A worker that drains because this deploy closed its intake is as well as before.
            let drains = || async {
                *kind == ServiceKind::Worker
                    && self.run.closed_the_intake()
                    && worker::read(&service.place).await.is_ok_and(|reading| reading.is_draining)
            };
            let answers = sample.answer.is_ok() || drains().await;
            if sample.listener != gate::Listener::Ours || !answers {
                return false;
            }
        }
        true
    }

    async fn create(&mut self, kind: ServiceKind, image: &Image) -> Result<(), Failed> {
        self.ticket.step(DeployStep::Create(kind).public_name());
        self.note(Record::Doing { step: DeployStep::Create(kind) });
        let server = self.server;
        let service = server.config.service(kind);
        let failed = |error: docker::Error| {
            (DeployStep::Create(kind).public_name(), Some(kind), error.to_string())
        };
        clear_name(server, service, &service.next_name()).await.map_err(failed)?;
        let marks = Marks {
            deploy: self.run.begin.deploy.clone(),
            generation: self.run.begin.generation,
            image_tag: self.run.begin.image_tag.clone(),
        };
        let environment = service.environment(&server.secrets.environment());
        let grace = server.config.timing.stop_grace;
        let body = service.create_body(&image.reference, &environment, &marks, grace);
        let id =
            server.engine.create_container(&service.next_name(), &body).await.map_err(failed)?;
        self.note(Record::Created { service: kind, id: id.clone() });
        let made = server.engine.inspect_container(&id).await.map_err(failed)?;
        match made {
            // Somebody may have moved the tag between the pull and now.
            Some(made) if made.image == image.id => Ok(()),
            _ => Err((
                DeployStep::Create(kind).public_name(),
                Some(kind),
                format!("the new container was not made from image {}", image.id),
            )),
        }
    }
}
