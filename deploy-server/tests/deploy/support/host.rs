//! One host: a deploy-server with its own state, ports and container names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::engine::{self, Engine, REGISTRY_PASSWORD, REGISTRY_USER};
use super::http::{self, Reply};
use super::{free_port, until};

pub(crate) const SECRET: &str = "deploy-canary-secret-0123456789";

pub(crate) struct Host {
    pub(crate) engine: &'static Engine,
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) api_port: u16,
    pub(crate) worker_port: u16,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) env: BTreeMap<String, String>,
    server: Option<Child>,
}

impl Host {
    /// A host that is configured and whose server does not run yet.
    pub(crate) fn new() -> Self {
        Self::on(engine::shared())
    }

    /// The same, on an engine of its own.
    pub(crate) fn on(engine: &'static Engine) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().expect("a folder");
        let (port, api_port, worker_port) = (free_port(), free_port(), free_port());
        let path = |file: &str| folder.path().join(file).display().to_string();
        let env = [
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("GH_DEPLOY_SECRET", SECRET.to_owned()),
            ("GH_DEPLOY_PORT", port.to_string()),
            ("GH_DEPLOY_HOSTNAME", "127.0.0.1".to_owned()),
            ("GH_DEPLOY_SOCKET", path("control.sock")),
            ("GH_DEPLOY_STATE_DIR", path("state")),
            ("DOCKER_SOCKET", engine.socket.display().to_string()),
            ("GH_ENVIRONMENT", "staging".to_owned()),
            ("ECR_REGISTRY", engine.registry.clone()),
            ("ECR_REPOSITORY", "ghosthands".to_owned()),
            ("REGISTRY_USERNAME", REGISTRY_USER.to_owned()),
            ("REGISTRY_PASSWORD", REGISTRY_PASSWORD.to_owned()),
            ("GH_API_PORT", api_port.to_string()),
            ("GH_WORKER_PORT", worker_port.to_string()),
            ("GH_API_CONTAINER", format!("{name}-api")),
            ("GH_WORKER_CONTAINER", format!("{name}-worker")),
            ("GH_API_COMMAND", "/run.sh api".to_owned()),
            ("GH_WORKER_COMMAND", "/run.sh worker".to_owned()),
            ("GH_DEPLOY_COMPOSE_PROJECT", name.clone()),
            ("GH_DEPLOY_HEALTHY_SECONDS", "0.5".to_owned()),
            ("GH_DEPLOY_START_SECONDS", "60".to_owned()),
            ("GH_DEPLOY_DRAIN_SECONDS", "3".to_owned()),
            ("GH_DEPLOY_STOP_SECONDS", "3".to_owned()),
            // A slow machine is told how a deploy ended, too; what comes before that has its tests.
            ("GH_DEPLOY_ANSWER_SECONDS", "110".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("EC2_INSTANCE_ID", "i-0123456789abcdef0".to_owned()),
            ("DATABASE_URL", "postgres://canary".to_owned()),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { engine, name, port, api_port, worker_port, folder, env, server: None }
    }

    /// A host whose server runs.
    pub(crate) fn started() -> Self {
        let mut host = Self::new();
        host.start();
        host
    }

    /// A host on which `tag` is in service.
    #[track_caller]
    pub(crate) fn running(tag: &str) -> Self {
        Self::running_with(tag, &[])
    }

    /// The same, with other settings.
    #[track_caller]
    pub(crate) fn running_with(tag: &str, settings: &[(&str, &str)]) -> Self {
        let mut host = Self::new();
        for (name, value) in settings {
            host.env.insert((*name).to_owned(), (*value).to_owned());
        }
        host.start();
        let reply = host.deploy(tag);
        assert_eq!(reply.status, 200, "{reply:?}");
        host
    }

    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
        self.wait_until_up();
    }

    /// Starts the server with more variables, and does not wait for it.
    pub(crate) fn start_with(&mut self, more: &[(&str, &str)]) {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.log_path());
        let child = Command::new(env!("CARGO_BIN_EXE_deploy-server"))
            .arg("serve")
            .env_clear()
            .envs(&self.env)
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn();
        self.server = Some(child.expect("the server starts"));
    }

    #[track_caller]
    pub(crate) fn wait_until_up(&self) {
        until("the server listens", Duration::from_secs(10), || {
            http::try_send(self.port, "GET", "/deploys", &[], None)
        });
    }

    /// SIGKILL, as a crash.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it can be killed");
            server.wait().expect("it ends");
        }
    }

    /// Waits for the server to end by itself.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self, within: Duration) -> std::process::ExitStatus {
        let mut server = self.server.take().expect("it was started");
        until("the server ends", within, || server.try_wait().expect("it can be asked"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.as_ref().expect("it runs").id()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn state(&self, file: &str) -> PathBuf {
        Path::new(&self.env["GH_DEPLOY_STATE_DIR"]).join(file)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        http::send(self.port, "GET", path, &[], None)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: Option<&str>) -> Reply {
        http::send(self.port, "POST", path, &[("X-Deploy-Secret", SECRET)], body)
    }

    #[track_caller]
    pub(crate) fn deploy(&self, tag: &str) -> Reply {
        self.post("/deploy", Some(&json!({ "image_tag": tag }).to_string()))
    }

    #[track_caller]
    pub(crate) fn worker(&self, method: &str, path: &str) -> Reply {
        http::send(self.worker_port, method, path, &[("X-GhostHands-Control", "1")], None)
    }

    /// Runs a local command.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.command(&[], arguments).output().expect("the command runs")
    }

    /// A local command with more variables.
    pub(crate) fn command(&self, more: &[(&str, &str)], arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy-server"));
        command.args(arguments).env_clear().envs(&self.env).envs(more.iter().copied());
        command
    }

    pub(crate) fn container(&self, service: &str) -> String {
        format!("{}-{service}", self.name)
    }

    /// One property of the current container, by the engine's own template.
    pub(crate) fn inspect(&self, name: &str, template: &str) -> Option<String> {
        self.engine.try_docker(&["inspect", "--type", "container", "-f", template, name])
    }

    #[track_caller]
    pub(crate) fn running_id(&self, service: &str) -> String {
        let name = self.container(service);
        self.inspect(&name, "{{.Id}}").unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// The tag that a service runs now, as its environment says: the image's own word.
    pub(crate) fn running_tag(&self, service: &str) -> Option<String> {
        let name = self.container(service);
        let running = self.inspect(&name, "{{.State.Running}} {{.RestartCount}}")?;
        assert_eq!(running, "true 0", "{name}");
        self.answered_tag(service)
    }

    fn answered_tag(&self, service: &str) -> Option<String> {
        let port = if service == "api" { self.api_port } else { self.worker_port };
        let reply = http::try_send(port, "GET", "/environment", &[], None)?;
        reply.body.lines().find_map(|line| line.strip_prefix("IMAGE_TAG=")).map(str::to_owned)
    }

    /// Both services run `tag`, each in exactly one container, under its own name, and come back
    /// after a reboot.
    #[track_caller]
    pub(crate) fn assert_serves(&self, tag: &str) {
        // Two starts of the Docker command line for everything: this stands at the end of hundreds
        // of deploys.
        let (api, worker) = (self.container("api"), self.container("worker"));
        let template =
            "{{.State.Running}} {{.RestartCount}} {{.HostConfig.RestartPolicy.Name}} {{.Name}}";
        let arguments = ["inspect", "--type", "container", "-f", template, &api, &worker];
        let seen = self.engine.try_docker(&arguments).unwrap_or_else(|| panic!("{}", self.log()));
        let wanted = format!("true 0 unless-stopped /{api}\ntrue 0 unless-stopped /{worker}");
        assert_eq!(seen, wanted, "{}", self.log());
        for service in ["api", "worker"] {
            let answered = self.answered_tag(service);
            assert_eq!(answered.as_deref(), Some(tag), "{service}: {}", self.log());
        }
        let filter = format!("name=^/?{}-", self.name);
        let format = "{{.State}} {{.Names}}";
        let all = self.engine.docker(&["ps", "-a", "--filter", &filter, "--format", format]);
        let running = all.lines().filter(|line| line.starts_with("running ")).count();
        assert_eq!(running, 2, "{all}");
        assert!(!all.contains(".next"), "{all}");
    }

    #[track_caller]
    pub(crate) fn last_deploy(&self) -> Value {
        let secret = [("X-Deploy-Secret", SECRET)];
        let deploys = http::send(self.port, "GET", "/deploys", &secret, None).json();
        deploys["deploys"][0].clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        let filter = format!("name=^/?{}-", self.name);
        if let Some(ids) = self.engine.try_docker(&["ps", "-aq", "--filter", &filter]) {
            let mut arguments = vec!["rm", "-f"];
            arguments.extend(ids.lines());
            if arguments.len() > 2 {
                self.engine.try_docker(&arguments);
            }
        }
    }
}
