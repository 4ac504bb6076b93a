//! Configuration of the host server, read once from the environment; every error is reported at
//! once, none is defaulted.
//!
//! | Variable | Default | Meaning |
//! |---|---|---|
//! | `GH_DEPLOY_SECRET` | required | what `X-Deploy-Secret` must say; at least 16 characters |
//! | `ATM_DEPLOY_SECRET` | none | the same, under the name that VALET and ATM use; accepted beside it |
//! | `GH_DEPLOY_SECRET_PREVIOUS` | none | also accepted, while callers change over |
//! | `GH_DEPLOY_PORT` | 8000 | TCP port |
//! | `GH_DEPLOY_HOSTNAME` | 0.0.0.0 | TCP address to bind |
//! | `GH_DEPLOY_SOCKET` | /run/ghosthands-deploy/control.sock | root-only socket for the local commands; `ListenStream=` of deploy-server.socket says the same |
//! | `GH_DEPLOY_STATE_DIR` | /var/lib/ghosthands-deploy | journal, history, terminating marker |
//! | `DOCKER_SOCKET` | /var/run/docker.sock | Docker Engine |
//! | `GH_ENVIRONMENT` | from `NODE_ENV`, else staging | the environment's name, such as `staging`; 1 to 32 lower-case letters, digits and hyphens |
//! | `ECR_REGISTRY`, `ECR_REPOSITORY` | none, ghosthands | where images come from; a request cannot name another place |
//! | `GH_API_HOST`, `GH_API_PORT` | 127.0.0.1, 3100 | where the API answers |
//! | `GH_WORKER_HOST`, `GH_WORKER_PORT` | 127.0.0.1, 3101 | where the worker answers |
//! | `GH_API_CONTAINER`, `GH_WORKER_CONTAINER` | ghosthands-api, ghosthands-worker | container names this server owns |
//! | `GH_API_COMMAND`, `GH_WORKER_COMMAND` | the seed's | command, split at spaces; `image` means the image's own |
//! | `GH_API_MEMORY_MB`, `GH_WORKER_MEMORY_MB` | 512, 2048 | memory limit of the container |
//! | `GH_DEPLOY_COMPOSE_PROJECT` | ghosthands | containers of this compose project are adopted |
//! | `GH_DEPLOY_KAMAL_SERVICE` | ghosthands | containers that Kamal made for this service are adopted |
//! | `GH_DEPLOY_HEALTHY_SECONDS` | 10 | how long a new container must stay healthy |
//! | `GH_DEPLOY_START_SECONDS` | 90 | how long it may take to become healthy |
//! | `GH_DEPLOY_DRAIN_SECONDS` | 300 | how long a deploy waits for the running job |
//! | `GH_DEPLOY_ANSWER_SECONDS` | 55 | how long a caller from the network waits for a deploy's end; 202 then |
//! | `GH_DEPLOY_STOP_SECONDS` | 35 | grace between SIGTERM and SIGKILL |
//! | `EC2_INSTANCE_ID` | none | ties the terminating marker to this machine |
//!
//! | `GH_CONTAINER_ENV` | none | variables that containers get beside the usual ones, separated by commas; a `*` at the end takes every name that begins so |
//! | `GH_CONTAINER_CAPABILITIES` | none | Linux capabilities that containers keep, such as `CHOWN,SETUID`; all others are dropped |
//! | `GH_CONTAINER_NEW_PRIVILEGES` | false | `true` lets set-user-id programs in containers work |
//!
//! Everything named `GH_DEPLOY_…` stays on the host: no container ever gets it, and
//! `GH_CONTAINER_ENV` cannot name it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_protocol::{environment, variable};

use crate::secrets::dotenv;
use crate::service::{self, Confinement, Place, Service, ServiceKind};

/// A shorter secret can be guessed over the network in reasonable time.
const SHORTEST_SECRET: usize = 16;

/// The environment as the server sees it: names to values.
pub type Strings = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub control_socket: PathBuf,
    pub state_dir: PathBuf,
    pub docker_socket: PathBuf,
    pub environment: String,
    pub images: ImageSource,
    pub api: Service,
    pub worker: Service,
    pub compose_project: String,
    pub kamal_service: String,
    pub timing: Timing,
    pub instance_id: Option<String>,
}

/// Where images come from. Host configuration only.
#[derive(Debug, Clone)]
pub struct ImageSource {
    pub registry: Option<String>,
    pub repository: String,
}

#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A new container must be healthy this long, without a break, before it is committed.
    pub healthy_for: Duration,
    /// It must begin to be so within this time.
    pub start_within: Duration,
    /// How long a deploy waits for the running job before it gives up (or goes on, when forced).
    pub drain_within: Duration,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// A caller from the network who waits for a deploy is answered within this.
    pub answer_within: Duration,
}

/// Everything that is wrong with the environment, one line each.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors(pub Vec<String>);

// === impl Config ===

impl Config {
    /// Reads the whole configuration.
    ///
    /// # Errors
    /// Every problem found, each naming its variable and what it may be.
    pub fn from_env(env: &Strings) -> Result<Self, ConfigErrors> {
        let mut read = Reader { env, errors: Vec::new() };
        read.secret();
        let port = read.port("GH_DEPLOY_PORT", 8000);
        let hostname = read.text("GH_DEPLOY_HOSTNAME", "0.0.0.0");
        let address: IpAddr = read.parsed("GH_DEPLOY_HOSTNAME", &hostname, "an IP address");
        let config = Self {
            listen: SocketAddr::new(address, port),
            control_socket: read.path("GH_DEPLOY_SOCKET", "/run/ghosthands-deploy/control.sock"),
            state_dir: read.path("GH_DEPLOY_STATE_DIR", "/var/lib/ghosthands-deploy"),
            docker_socket: read.path("DOCKER_SOCKET", "/var/run/docker.sock"),
            environment: read.environment(),
            images: read.images(),
            api: read.service(ServiceKind::Api),
            worker: read.service(ServiceKind::Worker),
            compose_project: read.text("GH_DEPLOY_COMPOSE_PROJECT", "ghosthands"),
            kamal_service: read.text("GH_DEPLOY_KAMAL_SERVICE", "ghosthands"),
            timing: Timing {
                healthy_for: read.seconds("GH_DEPLOY_HEALTHY_SECONDS", 10.0),
                start_within: read.seconds("GH_DEPLOY_START_SECONDS", 90.0),
                drain_within: read.seconds("GH_DEPLOY_DRAIN_SECONDS", 300.0),
                stop_grace: read.seconds("GH_DEPLOY_STOP_SECONDS", 35.0),
                answer_within: read.seconds("GH_DEPLOY_ANSWER_SECONDS", 55.0),
            },
            instance_id: read.given("EC2_INSTANCE_ID"),
        };
        read.distinct(&config);
        if read.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(read.errors)) }
    }

    #[must_use]
    pub fn service(&self, kind: ServiceKind) -> &Service {
        match kind {
            ServiceKind::Api => &self.api,
            ServiceKind::Worker => &self.worker,
        }
    }
}

impl ImageSource {
    /// The full repository (`registry/repository`), or `None` when no registry is configured.
    #[must_use]
    pub fn full(&self) -> Option<String> {
        self.registry.as_ref().map(|registry| format!("{registry}/{}", self.repository))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the configuration has {} error(s):", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(out, "\n  {error}"))
    }
}

/// Where the local commands find the server, without needing the rest of the configuration.
#[must_use]
pub fn control_socket(env: &Strings) -> PathBuf {
    let given =
        env.get("GH_DEPLOY_SOCKET").map(String::as_str).filter(|path| !variable::is_empty(path));
    Path::new(given.unwrap_or("/run/ghosthands-deploy/control.sock")).to_owned()
}

/// Reads variables and collects what is wrong with them.
struct Reader<'a> {
    env: &'a Strings,
    errors: Vec<String>,
}

impl Reader<'_> {
    /// The value, without blanks around it; an empty variable counts as not set.
    fn given(&self, name: &str) -> Option<String> {
        let value = self.env.get(name).filter(|value| !variable::is_empty(value));
        value.map(|value| value.trim().to_owned())
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.given(name).unwrap_or_else(|| default.to_owned())
    }

    fn parsed<T>(&mut self, name: &str, value: &str, what: &str) -> T
    where
        T: std::str::FromStr + Placeholder,
    {
        value.parse().unwrap_or_else(|_| {
            self.errors.push(format!("{name}={value:?} is not {what}"));
            T::placeholder()
        })
    }

    fn port(&mut self, name: &str, default: u16) -> u16 {
        let value = self.text(name, &default.to_string());
        self.parsed(name, &value, "a TCP port (0 to 65535)")
    }

    fn seconds(&mut self, name: &str, default: f64) -> Duration {
        let value = self.text(name, &default.to_string());
        let seconds: f64 = self.parsed(name, &value, "a number of seconds");
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if seconds <= 86_400.0 => duration,
            _ => {
                self.errors.push(format!("{name}={value:?} is not between 0 and 86400 seconds"));
                Duration::ZERO
            }
        }
    }

    fn path(&mut self, name: &str, default: &str) -> PathBuf {
        let value = self.text(name, default);
        if !value.starts_with('/') {
            self.errors.push(format!("{name}={value:?} is not an absolute path"));
        }
        PathBuf::from(value)
    }

    /// Only checked here; it is compared where it lives, so that a refresh can change it.
    fn secret(&mut self) {
        let names = ["GH_DEPLOY_SECRET", "ATM_DEPLOY_SECRET"];
        let given = names.map(|name| (name, self.given(name)));
        if given.iter().all(|(_, secret)| secret.is_none()) {
            self.errors.push(
                "GH_DEPLOY_SECRET is not set: put it into the Secrets Manager secret or the environment file".to_owned(),
            );
        }
        for (name, secret) in given {
            if secret.is_some_and(|secret| secret.len() < SHORTEST_SECRET) {
                self.errors.push(format!("{name} is shorter than {SHORTEST_SECRET} characters"));
            }
        }
    }

    fn environment(&mut self) -> String {
        let default = match self.given("NODE_ENV").as_deref() {
            Some("production") => "production",
            _ => "staging",
        };
        let name = self.text("GH_ENVIRONMENT", default);
        if !environment::is_name(&name) {
            self.errors.push(format!(
                "GH_ENVIRONMENT={name:?} is not an environment. {}",
                environment::RULE
            ));
        }
        name
    }

    fn images(&mut self) -> ImageSource {
        let source = ImageSource {
            registry: self.given("ECR_REGISTRY"),
            repository: self.text("ECR_REPOSITORY", "ghosthands"),
        };
        let registry = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
        if let Some(name) = source.registry.as_ref().filter(|name| !name.chars().all(registry)) {
            self.errors.push(format!("ECR_REGISTRY={name:?} is not a registry host (host[:port])"));
        }
        let repository =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        if !source.repository.chars().all(repository) {
            let name = &source.repository;
            self.errors.push(format!("ECR_REPOSITORY={name:?} is not a repository name"));
        }
        source
    }

    fn service(&mut self, kind: ServiceKind) -> Service {
        let upper = kind.name().to_ascii_uppercase();
        let port = self.port(&format!("GH_{upper}_PORT"), kind.default_port());
        let memory = self.text(&format!("GH_{upper}_MEMORY_MB"), kind.default_memory_mb());
        let container =
            self.text(&format!("GH_{upper}_CONTAINER"), &format!("ghosthands-{}", kind.name()));
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !container.chars().all(legal) {
            self.errors.push(format!("GH_{upper}_CONTAINER={container:?} is not a container name"));
        }
        let command = self.text(&format!("GH_{upper}_COMMAND"), kind.default_command());
        Service {
            kind,
            container,
            place: Place { host: self.text(&format!("GH_{upper}_HOST"), "127.0.0.1"), port },
            command: (command != "image")
                .then(|| command.split_whitespace().map(str::to_owned).collect()),
            memory_mb: self.parsed(
                &format!("GH_{upper}_MEMORY_MB"),
                &memory,
                "a number of megabytes",
            ),
            confinement: self.confinement(),
            more_variables: self.more_variables(),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        let text = self.given(name).unwrap_or_default();
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }

    /// An error is reported once, although both services are read.
    fn complain(&mut self, error: String) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    fn confinement(&mut self) -> Confinement {
        let name = "GH_CONTAINER_CAPABILITIES";
        let capabilities = self.list(name);
        let legal = |c: char| c.is_ascii_uppercase() || c == '_';
        for wrong in capabilities.iter().filter(|one| !one.chars().all(legal)) {
            self.complain(format!("{name} has {wrong:?}, which is no capability such as CHOWN"));
        }
        let name = "GH_CONTAINER_NEW_PRIVILEGES";
        let new_privileges = match self.text(name, "false").as_str() {
            "true" => true,
            "false" => false,
            other => {
                self.complain(format!("{name}={other:?} is neither true nor false"));
                false
            }
        };
        Confinement { capabilities, new_privileges }
    }

    fn more_variables(&mut self) -> Vec<String> {
        let name = "GH_CONTAINER_ENV";
        let variables = self.list(name);
        for one in &variables {
            let stem = one.strip_suffix('*').unwrap_or(one);
            if !dotenv::is_name(stem) {
                self.complain(format!("{name} has {one:?}, which is no variable name"));
            } else if service::is_kept_on_the_host(stem) {
                self.complain(format!("{name} has {one:?}, which no container ever gets"));
            }
        }
        variables
    }

    fn distinct(&mut self, config: &Config) {
        if config.api.container == config.worker.container {
            self.errors.push("GH_API_CONTAINER and GH_WORKER_CONTAINER are the same".to_owned());
        }
        let ports = [
            ("GH_API_PORT", config.api.place.port),
            ("GH_WORKER_PORT", config.worker.place.port),
            ("GH_DEPLOY_PORT", config.listen.port()),
        ];
        for (i, (name, port)) in ports.iter().enumerate() {
            for (other, same) in &ports[i + 1..] {
                if port == same && *port != 0 {
                    self.errors.push(format!("{name} and {other} are both {port}"));
                }
            }
        }
    }
}

/// What stands in for a value that could not be read, so that reading goes on and finds every
/// error.
trait Placeholder {
    fn placeholder() -> Self;
}
impl Placeholder for IpAddr {
    fn placeholder() -> Self {
        Self::from([0, 0, 0, 0])
    }
}
impl Placeholder for u16 {
    fn placeholder() -> Self {
        0
    }
}
impl Placeholder for u64 {
    fn placeholder() -> Self {
        0
    }
}
impl Placeholder for f64 {
    fn placeholder() -> Self {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Strings};

    fn env(pairs: &[(&str, &str)]) -> Strings {
        let secret = ("GH_DEPLOY_SECRET", "0123456789abcdef");
        std::iter::once(&secret)
            .chain(pairs)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_seeds_defaults() {
        let config = Config::from_env(&env(&[])).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:8000");
        assert_eq!((config.api.place.port, config.worker.place.port), (3100, 3101));
        assert_eq!(config.environment, "staging");
        assert_eq!(config.timing.healthy_for.as_secs(), 10);
        assert_eq!(config.images.full(), None);
        // Any environment that the control plane and pull-secrets take.
        let other = Config::from_env(&env(&[("GH_ENVIRONMENT", "qa-2")])).unwrap();
        assert_eq!(other.environment, "qa-2");
    }

    #[test]
    fn every_error_is_reported_at_once_and_the_secret_in_none() {
        let bad = env(&[
            ("GH_DEPLOY_SECRET", "hunter2"),
            ("GH_DEPLOY_PORT", "80000"),
            ("GH_ENVIRONMENT", "../prod"),
            ("GH_DEPLOY_HEALTHY_SECONDS", "-1"),
            ("GH_API_PORT", "3101"),
            ("GH_DEPLOY_STATE_DIR", "state"),
            ("GH_WORKER_MEMORY_MB", "2g"),
        ]);
        let text = Config::from_env(&bad).unwrap_err().to_string();
        insta::assert_snapshot!(text, @r#"
        the configuration has 7 error(s):
          GH_DEPLOY_SECRET is shorter than 16 characters
          GH_DEPLOY_PORT="80000" is not a TCP port (0 to 65535)
          GH_DEPLOY_STATE_DIR="state" is not an absolute path
          GH_ENVIRONMENT="../prod" is not an environment. Use 1 to 32 lower-case letters, digits and hyphens, such as production
          GH_WORKER_MEMORY_MB="2g" is not a number of megabytes
          GH_DEPLOY_HEALTHY_SECONDS="-1" is not between 0 and 86400 seconds
          GH_API_PORT and GH_WORKER_PORT are both 3101
        "#);
    }
}
