//! Containers that a machine image brought along: they were made on another machine, and carry its
//! worker id and its instance id.
//!
//! Such a worker would take jobs under the other's name and write the other's registry row. It is
//! stopped before anything else is done; the next deploy or bootstrap makes one of this machine.

use super::decide::Life;
use super::find;
use crate::docker::ContainerDetail;
use crate::server::Server;
use crate::service::ServiceKind;
use secrecy::ExposeSecret as _;

/// The variables that say whose container it is.
const IDENTITY: [&str; 2] = ["EC2_INSTANCE_ID", "GH_WORKER_ID"];

/// Stops the containers of other machines, the worker first. Returns false where the engine does
/// not answer: then it has to be looked again.
pub async fn stop(server: &Server) -> bool {
    let host = server.secrets.environment();
    let ours = IDENTITY.map(|name| (name, host.get(name).map(|value| value.expose_secret())));
    let containers = match server.engine.list_containers(true).await {
        Ok(containers) => containers,
        Err(error) => {
            tracing::error!(error = %error, "whether another machine's containers run here cannot be seen: the Docker Engine does not answer");
            return false;
        }
    };
    for kind in [ServiceKind::Worker, ServiceKind::Api] {
        let service = server.config.service(kind);
        let Some(found) = find::current(&server.config, service, &containers, None) else {
            continue;
        };
        let Ok(Some(detail)) = server.engine.inspect_container(&found.id).await else { continue };
        let Some(name) = differs(&detail, &ours) else { continue };
        tracing::error!(
            container = found.name(),
            variable = name,
            "a container of another machine is stopped: the machine image brought it along; `deploy-server bootstrap` makes this machine's own"
        );
        let quiet = server.engine.set_restart_policy(&found.id, "no").await;
        let stopped = match find::life(found) {
            Life::Down => Ok(()),
            _ => server.engine.stop_container(&found.id, server.config.timing.stop_grace).await,
        };
        if let Err(error) = quiet.and(stopped) {
            tracing::error!(error = %error, container = found.name(), "another machine's container cannot be stopped");
        }
    }
    true
}

/// Whether a container with these variables was made on another machine than `instance`, by the
/// engine's files alone. A worker's id tells it only where it is an instance's.
pub(crate) fn is_of_another<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
    instance: &str,
) -> bool {
    let worker = || variable("GH_WORKER_ID").filter(|id| id.starts_with("i-"));
    variable("EC2_INSTANCE_ID").or_else(worker).is_some_and(|theirs| theirs != instance)
}

/// The variable by which a container is another machine's. What either side does not say proves
/// nothing.
fn differs(
    detail: &ContainerDetail,
    ours: &[(&'static str, Option<&str>)],
) -> Option<&'static str> {
    ours.iter().find_map(|(name, ours)| {
        let theirs = detail.variable(name)?;
        (*ours).is_some_and(|ours| ours != theirs).then_some(*name)
    })
}

#[cfg(test)]
mod tests {
    use super::differs;
    use crate::docker::ContainerDetail;

    #[test]
    fn a_container_is_anothers_only_where_both_sides_say_who_they_are() {
        let detail = |env: &[&str]| -> ContainerDetail {
            let text = serde_json::json!({ "Id": "c", "Name": "/w", "State": {}, "Config": { "Env": env } });
            serde_json::from_value(text).unwrap()
        };
        let ours = [("EC2_INSTANCE_ID", Some("i-2")), ("GH_WORKER_ID", Some("w2"))];
        let whose = |env: &[&str]| differs(&detail(env), &ours);
        assert_eq!(whose(&["EC2_INSTANCE_ID=i-1", "GH_WORKER_ID=w2"]), Some("EC2_INSTANCE_ID"));
        assert_eq!(whose(&["GH_WORKER_ID=w1"]), Some("GH_WORKER_ID"));
        assert_eq!(whose(&["EC2_INSTANCE_ID=i-2", "GH_WORKER_ID=w2"]), None);
        assert_eq!(whose(&[]), None);
        let unknown = [("EC2_INSTANCE_ID", None)];
        assert_eq!(differs(&detail(&["EC2_INSTANCE_ID=i-1"]), &unknown), None);
    }
}
