//! Which containers of the host are ours: exact names, exact labels, and the owner of the port.
//! Never a prefix.

use std::collections::BTreeMap;

use super::decide::{Life, Role, Seen, ServiceWorld, World};
use super::model::Run;
use crate::config::Config;
use crate::docker::{ContainerDetail, ContainerSummary};
use crate::listener;
use crate::service::{Service, ServiceKind, label};

/// Kamal's labels: the application, and what part of it a container is.
const KAMAL_SERVICE: &str = "service";
const KAMAL_ROLE: &str = "role";
const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// The container that plays `service` now: the one that owns its port, else one that runs, else the
/// newest.
#[must_use]
pub fn current<'a>(
    config: &Config,
    service: &Service,
    containers: &'a [ContainerSummary],
    port_owner: Option<&str>,
) -> Option<&'a ContainerSummary> {
    containers.iter().filter(|container| plays(config, service, container)).max_by_key(
        |container| {
            let owns = port_owner == Some(container.id.as_str());
            (owns, life(container) != Life::Down, container.created)
        },
    )
}

/// True for the container under the service's own name and for the ones that compose and Kamal made
/// for it.
#[must_use]
pub fn plays(config: &Config, service: &Service, container: &ContainerSummary) -> bool {
    let name = container.name();
    let is_aside = name.starts_with(&service.leftover_prefix());
    if is_aside || name == service.next_name() || name == service.prev_name() {
        return false;
    }
    let label = |key: &str| container.labels.get(key).map(String::as_str);
    let composed = label(COMPOSE_PROJECT) == Some(config.compose_project.as_str())
        && label(COMPOSE_SERVICE)
            .is_some_and(|of| of == service.kind.name() || of == service.container);
    // Old compose files were run without a project that we know; their names are as good as labels.
    let numbered = ["-1", "_1"].iter().any(|end| name == format!("{}{end}", service.container));
    name == service.container || composed || numbered || is_kamals(config, service, container)
}

/// True for a container that Kamal made for this service: its labels, and its name, which is made
/// of them (`ghosthands-worker-staging-VERSION`).
fn is_kamals(config: &Config, service: &Service, container: &ContainerSummary) -> bool {
    let label = |key: &str| container.labels.get(key).map(String::as_str);
    let (Some(of), Some(role)) = (label(KAMAL_SERVICE), label(KAMAL_ROLE)) else { return false };
    let roles = match service.kind {
        // Kamal calls the first role `web` where nobody says otherwise.
        ServiceKind::Api => ["api", "web"],
        ServiceKind::Worker => ["worker", "workers"],
    };
    of == config.kamal_service
        && roles.contains(&role)
        && container.name().starts_with(&format!("{of}-{role}-"))
}

/// Whether a port of the host is this container's: one of its processes listens on it, or the
/// engine forwards it there.
#[must_use]
pub fn has_port(container: &ContainerDetail, port: u16) -> bool {
    container.publishes(port) || listener::belongs_to(port, container.state.pid)
}

/// The version that a container runs, as its labels and its image name tell.
#[must_use]
pub fn image_tag_of(container: &ContainerSummary) -> String {
    container.labels.get(label::IMAGE_TAG).cloned().unwrap_or_else(|| {
        let image = container.image.as_str();
        let (_, last) = image.rsplit_once('/').unwrap_or(("", image));
        last.split_once(':').map_or(last, |(_, tag)| tag).to_owned()
    })
}

/// What Docker shows of one deploy.
#[must_use]
pub fn world(
    config: &Config,
    run: &Run,
    containers: &[ContainerSummary],
    terminating: bool,
) -> World {
    let by_id: BTreeMap<&str, &ContainerSummary> =
        containers.iter().map(|container| (container.id.as_str(), container)).collect();
    let services = ServiceKind::ALL.into_iter().map(|kind| {
        let service = config.service(kind);
        let old = run.old.get(&kind);
        let see = |id: &str| {
            let container = by_id.get(id)?;
            let name = container.name();
            let role = if name.starts_with(&service.leftover_prefix()) {
                Role::Aside
            } else if name == service.next_name() {
                Role::Next
            } else if name == service.prev_name() {
                Role::Prev
            } else {
                Role::Current
            };
            Some(Seen { life: life(container), role })
        };
        let next = run.created.get(&kind).and_then(|id| see(id));
        let old_id = old.map(|old| old.id.as_str());
        let prev_taken = containers.iter().any(|container| {
            container.name() == service.prev_name() && Some(container.id.as_str()) != old_id
        });
        (kind, ServiceWorld { old: old_id.and_then(see), next, prev_taken })
    });
    World { services: services.collect(), terminating }
}

#[must_use]
pub fn life(container: &ContainerSummary) -> Life {
    match container.state.as_str() {
        "running" | "paused" => Life::Running,
        "restarting" => Life::Restarting,
        _ => Life::Down,
    }
}
