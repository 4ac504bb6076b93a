//! The deploy-server of a host: its folder, its environment, its process.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::images::{API, LIGHT_WORKER, QUEUE_WORKER, REGISTRY, REPOSITORY};
use super::options::{HostOptions, WorkerKind};
use crate::Error;
use crate::process::{self, User};

/// Below the host's folder.
pub(super) const PROGRAM: &str = "bin/deploy-server";
pub(super) const LOG: &str = "deploy-server.log";

pub(super) struct Ports {
    pub(super) deploy: u16,
    pub(super) api: u16,
    pub(super) worker: u16,
}

/// Makes what a machine image has: the program on the `PATH`, and folders of the host's own for
/// what `cleanup` cleans.
pub(super) fn furnish(folder: &Path, program: &Path) -> Result<(), Error> {
    for name in ["bin", "tmp", "logs"] {
        fs::create_dir(folder.join(name)).map_err(Error::io("furnish the host's folder"))?;
    }
    let program = program.canonicalize().map_err(Error::io("find the deploy-server"))?;
    std::os::unix::fs::symlink(program, folder.join(PROGRAM))
        .map_err(Error::io("furnish the host's folder"))
}

pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// Whether somebody listens there.
pub(super) fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

pub(super) fn shell_environment(folder: &Path) -> Vec<(String, String)> {
    vec![
        (
            "PATH".to_owned(),
            format!("{}:/usr/local/bin:/usr/bin:/bin", folder.join("bin").display()),
        ),
        ("GH_DEPLOY_SOCKET".to_owned(), socket(folder).display().to_string()),
    ]
}

/// The server, as systemd starts it with the environment file of this host.
pub(super) fn command(
    folder: &Path,
    docker: &Path,
    ports: &Ports,
    secret: &str,
    options: &HostOptions,
) -> Result<Command, Error> {
    let log = fs::OpenOptions::new().append(true).create(true).open(folder.join(LOG));
    let log = log.map_err(Error::io("open the deploy-server's log"))?;
    let path = |name: &str| folder.join(name).display().to_string();
    let seconds = |duration: std::time::Duration| duration.as_secs_f64().to_string();
    let timing = options.timing;
    let own = [
        ("GH_DEPLOY_SECRET", secret.to_owned()),
        ("GH_DEPLOY_HOSTNAME", "127.0.0.1".to_owned()),
        ("GH_DEPLOY_PORT", ports.deploy.to_string()),
        ("GH_DEPLOY_STATE_DIR", path("state")),
        ("GH_DEPLOY_HEALTHY_SECONDS", seconds(timing.healthy)),
        ("GH_DEPLOY_START_SECONDS", seconds(timing.start)),
        ("GH_DEPLOY_DRAIN_SECONDS", seconds(timing.drain)),
        ("GH_DEPLOY_STOP_SECONDS", seconds(timing.stop)),
        ("DOCKER_SOCKET", docker.display().to_string()),
        ("GH_ENVIRONMENT", options.environment.clone()),
        ("ECR_REGISTRY", REGISTRY.to_owned()),
        ("ECR_REPOSITORY", REPOSITORY.to_owned()),
        ("GH_API_HOST", "127.0.0.1".to_owned()),
        ("GH_API_PORT", ports.api.to_string()),
        ("GH_API_COMMAND", API.to_owned()),
        ("GH_WORKER_HOST", "127.0.0.1".to_owned()),
        ("GH_WORKER_PORT", ports.worker.to_string()),
        ("GH_WORKER_ID", options.instance_id.clone()),
        ("EC2_INSTANCE_ID", options.instance_id.clone()),
        ("EC2_IP", "127.0.0.1".to_owned()),
        ("AWS_ASG_NAME", options.group.clone()),
        // Without these a cleanup would clean this machine.
        ("GH_CLEANUP_TMP_DIR", path("tmp")),
        ("GH_LOG_DIR", path("logs")),
        ("GH_CLEANUP_LOG", path("cleanup.log")),
        ("GH_CLEANUP_JOURNALCTL", path("bin/journalctl")),
    ];
    let mut command = process::command(&folder.join(PROGRAM), User::Same);
    command
        .arg("serve")
        .env_clear()
        .envs(shell_environment(folder))
        .envs(own)
        .envs(worker_settings(&options.worker))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(options.aws.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(endpoint) = &options.metadata {
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
        command.env("AWS_EC2_METADATA_DISABLED", "false");
    }
    command.envs(&options.variables);
    Ok(command)
}

fn worker_settings(worker: &WorkerKind) -> Vec<(&'static str, String)> {
    match worker {
        WorkerKind::Light => vec![("GH_WORKER_COMMAND", LIGHT_WORKER.to_owned())],
        WorkerKind::Queue { source, heartbeat, poll } => {
            let (heartbeat, poll) = (heartbeat.as_secs_f64(), poll.as_secs_f64());
            let command =
                format!("{QUEUE_WORKER} --heartbeat-seconds {heartbeat} --poll-seconds {poll}");
            vec![
                ("GH_WORKER_COMMAND", command),
                ("DATABASE_URL", source.url.clone()),
                ("DATABASE_CA", source.ca_file.display().to_string()),
            ]
        }
    }
}
