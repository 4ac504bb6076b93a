//! What the host says about itself: `/health`, `/workers`, `/containers`, `/version`.
//!
//! The names are the predecessor's, because its clients read them; the values are what was seen.
//! Probes run side by side and answer within two seconds, well below the ten that clients wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet_protocol::host_reply::ServiceStatus;
use fleet_protocol::worker::WorkerStatus;
use serde::Serialize;
use serde_json::{Value, json};

use crate::deploy::decide::Life;
use crate::deploy::find;
use crate::deploy::gate;
use crate::docker::{ContainerSummary, Error};
use crate::listener;
use crate::ops::{Running, What};
use crate::probe;
use crate::server::Server;
use crate::service::{ServiceKind, label};
use crate::worker::{self, Seen, WorkerState};

/// Many watchers cost the services no more than one would.
pub(crate) const FRESH_FOR: Duration = Duration::from_millis(250);
const ENGINE_WITHIN: Duration = Duration::from_secs(3);

/// One look at everything.
#[derive(Debug)]
pub struct Look {
    at: Instant,
    pub worker: Seen,
    pub api_healthy: bool,
    pub containers: Result<Vec<ContainerSummary>, String>,
}

/// The last look, shared by whoever asks within a moment.
#[derive(Debug, Default)]
pub struct Readings {
    last: Mutex<Option<Arc<Look>>>,
    /// How often something changed since the start.
    changes: AtomicU64,
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok` or `degraded`.
    pub status: &'static str,
    /// Jobs in hand. `null` when the worker cannot be asked: unknown is not zero.
    pub active_workers: Option<u32>,
    /// True only when a fresh reading says that nothing runs.
    pub deploy_safe: bool,
    pub api_healthy: bool,
    pub worker_status: WorkerState,
    pub current_deploy: Option<CurrentDeploy>,
    pub uptime_ms: u128,
    pub accepting: Option<bool>,
    pub terminating: bool,
    pub docker_reachable: bool,
    /// What else holds the lock.
    pub operation: Option<&'static str>,
    pub image_tag: Option<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentDeploy {
    pub id: String,
    pub image_tag: String,
    pub elapsed_ms: u128,
    pub step: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    pub worker_id: String,
    pub container_id: String,
    pub container_name: String,
    pub status: WorkerState,
    /// `null` when the worker cannot be asked.
    pub active_jobs: Option<u32>,
    pub status_port: u16,
    /// Seconds, which is what every client of it reads; the worker says milliseconds.
    pub uptime: Option<u64>,
    pub image: String,
    pub accepting: Option<bool>,
    pub image_tag: Option<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerView {
    pub id: String,
    pub name: String,
    pub image: String,
    pub image_id: String,
    pub status: String,
    pub state: String,
    pub ports: Vec<String>,
    pub created_at: String,
    /// Only the labels that this server sets; other people's may hold anything.
    pub labels: std::collections::BTreeMap<String, String>,
}

// === impl Look ===

impl Look {
    /// When it was taken.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Whether the worker takes the next job, or will when it is done with the one it has.
    fn takes_work(&self) -> bool {
        self.worker
            .as_ref()
            .is_ok_and(|reading| !reading.is_draining && reading.accepting != Some(false))
    }
}

// === impl Readings ===

impl Readings {
    /// A look that is at most a moment old. Callers who come while somebody looks share what is
    /// seen.
    pub async fn look(&self, server: &Server) -> Arc<Look> {
        let _looking = self.looking.lock().await;
        if let Some(look) = self.last().clone().filter(|look| look.at.elapsed() < FRESH_FOR) {
            return look;
        }
        let place = &server.config.api.place;
        let path = ServiceKind::Api.health_path();
        let (worker, api, containers) = tokio::join!(
            worker::read(&server.config.worker.place),
            probe::get(place, path, worker::ANSWER_WITHIN),
            tokio::time::timeout(ENGINE_WITHIN, server.engine.list_containers(true)),
        );
        let api_healthy =
            api.is_ok_and(|reply| gate::judge(ServiceKind::Api, &reply, None).is_ok());
        let containers = match containers {
            Ok(listed) => listed.map_err(|error: Error| error.to_string()),
            Err(_) => Err("the Docker Engine does not answer".to_owned()),
        };
        let look = Arc::new(Look { at: Instant::now(), worker, api_healthy, containers });
        *self.last() = Some(Arc::clone(&look));
        look
    }

    /// Something changed: the next caller looks anew.
    pub fn forget(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        *self.last() = None;
    }

    /// Another number than before means that what was seen before is stale.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Arc<Look>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /health`.
pub async fn health(server: &Server) -> Health {
    let look = server.readings.look(server).await;
    let worker = worker_view(server, &look);
    let running = server.ops.running();
    let known = worker.status != WorkerState::Unknown;
    // A host whose worker takes nothing is of no use, however well it answers.
    let well = look.api_healthy && look.takes_work() && look.containers.is_ok();
    let idle = (known && !look.takes_work()).then(|| match worker.status {
        WorkerState::Stopped => "the worker is stopped".to_owned(),
        _ => "the worker is drained: it takes no job".to_owned(),
    });
    let reason = [
        (!look.api_healthy).then(|| "the API does not answer healthily".to_owned()),
        worker.reason.clone(),
        idle,
        look.containers.as_ref().err().cloned(),
    ];
    let reason: Vec<String> = reason.into_iter().flatten().collect();
    Health {
        status: if well { "ok" } else { "degraded" },
        active_workers: worker.active_jobs,
        deploy_safe: worker.active_jobs == Some(0),
        api_healthy: look.api_healthy,
        worker_status: worker.status,
        current_deploy: running.as_deref().and_then(current_deploy),
        uptime_ms: server.uptime_ms(),
        accepting: worker.accepting,
        terminating: server.is_terminating(),
        docker_reachable: look.containers.is_ok(),
        operation: running.map(|running| running.what.name()),
        image_tag: worker.image_tag,
        reason: (!reason.is_empty()).then(|| reason.join("; ")),
    }
}

fn current_deploy(running: &Running) -> Option<CurrentDeploy> {
    match &running.what {
        What::Deploy { id, image_tag, .. } => Some(CurrentDeploy {
            id: id.clone(),
            image_tag: image_tag.clone(),
            elapsed_ms: running.began.elapsed().as_millis(),
            step: running.current_step(),
        }),
        _ => None,
    }
}

/// `GET /workers`: an array of one, as ever.
pub async fn workers(server: &Server) -> [WorkerView; 1] {
    let look = server.readings.look(server).await;
    [worker_view(server, &look)]
}

fn worker_view(server: &Server, look: &Look) -> WorkerView {
    let service = &server.config.worker;
    let containers = look.containers.as_deref().unwrap_or_default();
    let container = find::current(&server.config, service, containers, None);
    let reading = look.worker.as_ref();
    // Docker's word that it does not run is better than a silence on its port, unless somebody else
    // plays it.
    let stopped = look.worker.is_err()
        && look.containers.is_ok()
        && container.is_none_or(|container| find::life(container) == Life::Down)
        && listener::on_port(service.place.port).sockets.is_empty();
    let status = match &look.worker {
        Ok(reading) => WorkerState::of(reading),
        Err(_) if stopped => WorkerState::Stopped,
        Err(_) => WorkerState::Unknown,
    };
    let active = reading.map(|reading| reading.active_jobs).ok();
    WorkerView {
        worker_id: reading
            .ok()
            .and_then(|reading| reading.worker_id.clone())
            .unwrap_or_else(|| "unknown".to_owned()),
        container_id: container.map(|it| short(&it.id)).unwrap_or_default(),
        container_name: container.map_or(service.container.as_str(), |it| it.name()).to_owned(),
        status,
        active_jobs: active.or_else(|| stopped.then_some(0)),
        status_port: service.place.port,
        uptime: reading.ok().and_then(|reading| reading.uptime_ms).map(|ms| ms / 1000),
        image: container.map(|it| it.image.clone()).unwrap_or_default(),
        accepting: reading.ok().and_then(|reading| reading.accepting),
        image_tag: container.map(find::image_tag_of),
        reason: look.worker.as_ref().err().filter(|_| !stopped).map(ToString::to_string),
    }
}

/// `GET /containers`: what runs on the host.
///
/// # Errors
/// When the Docker Engine cannot be asked; the predecessor said "none".
pub async fn containers(server: &Server) -> Result<Vec<ContainerView>, String> {
    let look = server.readings.look(server).await;
    let containers = look.containers.as_ref().map_err(Clone::clone)?;
    let running = containers.iter().filter(|container| find::life(container) != Life::Down);
    Ok(running.map(ContainerView::from).collect())
}

impl From<&ContainerSummary> for ContainerView {
    fn from(container: &ContainerSummary) -> Self {
        let created_ms = container.created.saturating_mul(1000);
        let ours = |key: &str| {
            [label::MANAGED, label::SERVICE, label::DEPLOY, label::GENERATION, label::IMAGE_TAG]
                .contains(&key)
        };
        Self {
            id: short(&container.id),
            name: container.name().to_owned(),
            image: container.image.clone(),
            image_id: container.image_id.clone(),
            status: container.status.clone(),
            state: container.state.clone(),
            ports: container
                .ports
                .iter()
                .map(|port| match port.public_port {
                    Some(public) => format!("{public}→{}/{}", port.private_port, port.protocol),
                    None => format!("{}/{}", port.private_port, port.protocol),
                })
                .collect(),
            created_at: crate::server::rfc3339(created_ms),
            labels: container
                .labels
                .iter()
                .filter(|(key, _)| ours(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }
    }
}

/// `GET /version`: this server, what the API says about itself, and what each service runs.
pub async fn version(server: &Server) -> Value {
    let api = probe::get(&server.config.api.place, "/health/version", worker::ANSWER_WITHIN);
    let (look, api) = tokio::join!(server.readings.look(server), api);
    let said: Option<Value> = api
        .ok()
        .filter(|reply| reply.status == 200)
        .and_then(|reply| serde_json::from_slice(&reply.body).ok());
    let containers = look.containers.as_deref().unwrap_or_default();
    let last = server.state.last_deployed();
    let services: Vec<ServiceStatus> = ServiceKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let service = server.config.service(kind);
            let container = find::current(&server.config, service, containers, None)?;
            let labels = &container.labels;
            let same = last.as_ref().filter(|last| last.image_id == container.image_id);
            let tag =
                same.map_or_else(|| find::image_tag_of(container), |last| last.image_tag.clone());
            Some(ServiceStatus {
                service: kind.name().to_owned(),
                image_tag: Some(tag),
                digest: same.and_then(|last| last.digest.clone()),
                image_id: Some(container.image_id.clone()),
                deploy_id: labels.get(label::DEPLOY).cloned(),
                state: Some(container.state.clone()),
            })
        })
        .collect();
    json!({
        "deployServer": "ghosthands-deploy-server",
        "version": env!("CARGO_PKG_VERSION"),
        "ghosthands": said.unwrap_or_else(|| json!({ "status": "unreachable" })),
        "uptimeMs": server.uptime_ms(),
        "environment": server.config.environment,
        "services": services,
    })
}

/// `GET /drain`: whether the worker is drained now, from a reading of this moment. Unknown is never
/// drained.
pub async fn drain(server: &Server) -> Value {
    let look = server.readings.look(server).await;
    let worker = worker_view(server, &look);
    let stopped = worker.status == WorkerState::Stopped;
    let drained = stopped || look.worker.as_ref().is_ok_and(WorkerStatus::is_drained);
    let in_progress = server.ops.running().is_some_and(|running| running.what == What::Drain);
    json!({
        "drained": drained,
        "drainedWorkers": u8::from(drained),
        "activeJobs": worker.active_jobs,
        "accepting": worker.accepting,
        "workerStatus": worker.status,
        "workerStopped": stopped,
        "inProgress": in_progress,
        "terminating": server.is_terminating(),
        "instanceId": server.config.instance_id,
        "reason": worker.reason,
        "observedAt": crate::server::rfc3339(crate::clock::now_ms()),
    })
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
