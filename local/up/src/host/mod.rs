//! One host of the fleet: the shipped deploy-server, and the two services of the host as its
//! containers.
//!
//! A host has a folder, ports and a unix socket of its own. Its Docker Engine is a
//! [`process_engine`], so no root and no Docker is needed; the deploy-server is the real binary and
//! does not know the difference. What is in service came there by a real `deploy-server bootstrap`
//! or `deploy`.
//!
//! ```no_run
//! use fleet_local::host::{Host, HostOptions, Version, registry};
//!
//! let images = registry(&[Version::new("v1"), Version::new("v2")])?;
//! let mut options = HostOptions::new("i-0abc", images);
//! options.image_tag = Some("v1".to_owned());
//! let host = Host::start(options)?;
//! assert_eq!(host.command(&["deploy", "v2"])?.exit_code, 0);
//! assert_eq!(host.in_service().worker.as_deref(), Some("v2"));
//! # Ok::<(), fleet_local::Error>(())
//! ```
//!
//! Commands of the AWS double run on it when the double gets [`Host::runner`] for the instance.
//! Every call here blocks; asynchronous code uses `spawn_blocking`. Dropping a host is a power cut:
//! everything of it is killed and its folder removed. [`Host::power_off`] is how a machine shuts
//! down.

mod images;
mod options;
mod report;
mod server;

pub use images::{Behaviour, Version, registry};
pub use options::{HostOptions, Report, Timing, WorkerKind};
pub use process_engine::{Container, Engine, Registry, Status};

use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_double::ShellRunner;
use serde_json::Value;

use crate::paths::Scratch;
use crate::ports::Port;
use crate::process::{self, Process, Signal, User};
use crate::{Error, random, worker};

/// A server that listens later has lost its machine's only processor to others for a long time.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long a host tries to boot into the version of the stable pointer.
const BOOTSTRAP_SECONDS: &str = "60";

/// The two services of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Api,
    Worker,
}

impl Service {
    /// The name of its container while it is in service.
    #[must_use]
    pub fn container(self) -> &'static str {
        match self {
            Self::Api => "ghosthands-api",
            Self::Worker => "ghosthands-worker",
        }
    }
}

/// What a local command of the deploy-server answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// Its exit code; -1 when a signal ended it.
    pub exit_code: i32,
    /// Its one line of JSON; null when it printed none.
    pub reply: Value,
}

/// Which version runs in each service, as the engine knows it, not as anybody says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InService {
    pub api: Option<String>,
    pub worker: Option<String>,
}

/// A running host.
pub struct Host {
    // Dropped in this order: the server before its engine, all before their folder.
    server: Mutex<Option<Process>>,
    engine: Engine,
    folder: Scratch,
    deploy_port: Port,
    api_port: Port,
    worker_port: Port,
    secret: String,
    options: Box<HostOptions>,
}

/// Without the deploy secret.
impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("options", &self.options)
            .field("folder", &self.folder)
            .field("deploy_port", &self.deploy_port())
            .field("api_port", &self.api_port())
            .field("worker_port", &self.worker_port())
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Starts a host and waits until its deploy-server answers and, with an image tag, until that
    /// version is in service.
    ///
    /// # Errors
    /// A program is missing (the text says how to build it), or the first version does not come
    /// into service.
    pub fn start(options: HostOptions) -> Result<Self, Error> {
        let program = options.deploy_server()?;
        if let WorkerKind::Queue { .. } = options.worker {
            worker::install()?;
        }
        let folder = Scratch::new()?;
        server::furnish(folder.path(), &program)?;
        let observer = options.report.clone().map(report::observer);
        let engine =
            Engine::start(&folder.path().join("docker.sock"), options.images.clone(), observer)
                .map_err(|error| Error::Failed(format!("{}: {error}", options.instance_id)))?;
        let host = Self {
            server: Mutex::new(None),
            engine,
            folder,
            deploy_port: Port::reserve()?,
            api_port: Port::reserve()?,
            worker_port: Port::reserve()?,
            secret: random::hex()?,
            options: Box::new(options),
        };
        host.start_server()?;
        if let Some(tag) = &host.options.image_tag {
            // Once: whoever names a version here wants to know at once whether it comes.
            let ran = host.command(&["bootstrap", "--tag", tag, "--timeout", "0"])?;
            if ran.exit_code != 0 {
                return Err(Error::Failed(format!(
                    "{}: version {tag} does not come into service: {}",
                    host.options.instance_id, ran.reply
                )));
            }
        }
        Ok(host)
    }

    /// The instance's id.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.options.instance_id
    }

    /// The deploy-server's port on 127.0.0.1.
    #[must_use]
    pub fn deploy_port(&self) -> u16 {
        self.deploy_port.number()
    }

    /// The API's port.
    #[must_use]
    pub fn api_port(&self) -> u16 {
        self.api_port.number()
    }

    /// The worker's port.
    #[must_use]
    pub fn worker_port(&self) -> u16 {
        self.worker_port.number()
    }

    /// What `X-Deploy-Secret` must say.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The host's Docker Engine; `docker -H unix://…` works on its socket, too.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Where the deploy-server keeps its journal, its history and its terminating marker.
    #[must_use]
    pub fn state_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    /// What the deploy-server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(server::LOG)).unwrap_or_default()
    }

    /// The last lines that a service printed.
    #[must_use]
    pub fn service_log(&self, service: Service, lines: usize) -> Vec<String> {
        self.engine.log(service.container(), lines)
    }

    /// What runs now under the services' own names.
    #[must_use]
    pub fn in_service(&self) -> InService {
        let tag = |service: Service| {
            let container = self.engine.container(service.container())?;
            let own = container.name == service.container();
            (own && container.status == Status::Running).then_some(container.image_tag)
        };
        InService { api: tag(Service::Api), worker: tag(Service::Worker) }
    }

    /// Runs `deploy-server ARGUMENTS --json` on the host, as an operator's shell does, and waits
    /// for its end.
    ///
    /// # Errors
    /// The command cannot be started. That it fails is no error here: see its exit code.
    pub fn command(&self, arguments: &[&str]) -> Result<Ran, Error> {
        self.run(arguments, [])
    }

    fn run(
        &self,
        arguments: &[&str],
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Ran, Error> {
        let mut command = process::command(&self.folder.path().join(server::PROGRAM), User::Same);
        command
            .args(arguments)
            .arg("--json")
            .env_clear()
            .envs(self.shell_environment())
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut running = Process::start("deploy-server", command)?;
        let mut text = String::new();
        if let Some(mut output) = running.child().stdout.take() {
            use std::io::Read as _;
            output.read_to_string(&mut text).map_err(Error::io("read a command's output"))?;
        }
        let status = running.child().wait().map_err(Error::io("wait for a command"))?;
        let reply = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Ran { exit_code: status.code().unwrap_or(-1), reply })
    }

    /// Brings the version into service that the fleet has proven, as a machine does when it boots:
    /// `deploy-server bootstrap`, which reads the `stable` pointer by the host's settings of AWS.
    /// It tries for a minute, not for an hour as a machine does: somebody is waiting for the end.
    ///
    /// # Errors
    /// As [`Host::command`].
    pub fn bootstrap(&self) -> Result<Ran, Error> {
        let environment = ("GH_ENVIRONMENT".to_owned(), self.options.environment.clone());
        let settings = self.options.aws.iter().cloned().chain([environment]);
        self.run(&["bootstrap", "--timeout", BOOTSTRAP_SECONDS], settings)
    }

    /// What a shell on this host has in its environment: `deploy-server` on its `PATH`, and the
    /// socket of this host.
    #[must_use]
    pub fn shell_environment(&self) -> Vec<(String, String)> {
        server::shell_environment(self.folder.path())
    }

    /// Runs the double's commands as the agent of this host does.
    #[must_use]
    pub fn runner(&self) -> ShellRunner {
        let shell = ShellRunner::new().env_clear();
        self.shell_environment()
            .into_iter()
            .fold(shell, |shell, (name, value)| shell.env(name, value))
    }

    /// The deploy-server's process id; `None` after [`Host::kill_server`].
    #[must_use]
    pub fn server_pid(&self) -> Option<u32> {
        self.server().as_ref().map(Process::id)
    }

    /// Kills the deploy-server (`kill -9`). The containers run on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill_server(&self) -> Result<(), Error> {
        match self.server().take() {
            Some(mut server) => server.stop(Signal::KILL, Duration::from_secs(10)),
            None => Ok(()),
        }
    }

    /// Starts the deploy-server if it does not run, as systemd does after a crash, and waits until
    /// it answers.
    ///
    /// # Errors
    /// It ends again, or does not answer.
    pub fn start_server(&self) -> Result<(), Error> {
        let mut slot = self.server();
        if let Some(server) = &mut *slot
            && server.ended()?.is_none()
        {
            return Ok(());
        }
        let name = format!("deploy-server of {}", self.options.instance_id);
        let mut server = Process::start(&name, self.server_command()?)?;
        let socket = server::socket(self.folder.path());
        let began = Instant::now();
        while !server::answers(&socket) {
            let ended = server.ended()?;
            if ended.is_some() || began.elapsed() >= START_LIMIT {
                let what =
                    ended.map_or_else(|| "does not answer".to_owned(), |status| status.to_string());
                return Err(Error::Failed(format!("{name}: {what}; its log:\n{}", self.log())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        *slot = Some(server);
        Ok(())
    }

    /// Sends a signal to a service's process: `KILL` is a crash (its restart policy applies),
    /// `STOP` makes it silent.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, service: Service, signal: Signal) -> Result<(), Error> {
        let pid = self.engine.container(service.container()).and_then(|container| container.pid);
        let pid = pid.ok_or_else(|| Error::Failed(format!("{service:?} does not run")))?;
        process::signal_pid(pid, signal)
    }

    /// Kills the worker as the kernel does when memory runs out.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_worker(&self) -> Result<(), Error> {
        self.signal(Service::Worker, Signal::KILL)
    }

    /// Shuts the machine down: everything gets SIGTERM and, after `grace`, SIGKILL.
    ///
    /// # Errors
    /// The system refuses to signal the deploy-server.
    pub fn power_off(&self, grace: Duration) -> Result<(), Error> {
        let server = self.server().take();
        if let Some(server) = &server {
            server.signal(Signal::TERM)?;
        }
        self.engine.shut_down(grace);
        match server {
            Some(mut server) => server.stop(Signal::TERM, grace),
            None => Ok(()),
        }
    }

    fn server_command(&self) -> Result<std::process::Command, Error> {
        let ports = server::Ports {
            deploy: self.deploy_port(),
            api: self.api_port(),
            worker: self.worker_port(),
        };
        let folder: &Path = self.folder.path();
        server::command(folder, self.engine.socket(), &ports, &self.secret, &self.options)
    }

    fn server(&self) -> MutexGuard<'_, Option<Process>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
