//! The two services of a host, and the container each of them runs in.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::redact;
use crate::secrets::{ATM_DEPLOY_SECRET, SOURCE};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    Api,
    Worker,
}

/// What the host configuration says about one service.
#[derive(Debug, Clone)]
pub struct Service {
    pub kind: ServiceKind,
    /// The name its container has while it is the current one.
    pub container: String,
    pub place: Place,
    /// `None` runs what the image says.
    pub command: Option<Vec<String>>,
    pub memory_mb: u64,
    pub confinement: Confinement,
    /// Names of variables that its container gets beside the usual ones; a `*` at the end takes
    /// every name that begins so.
    pub more_variables: Vec<String>,
}

/// What the processes of a container may become. The default is nothing more than they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Capabilities that are kept, without `CAP_`; every other one is dropped.
    pub capabilities: Vec<String>,
    /// Whether a set-user-id program may make its caller more than it was.
    pub new_privileges: bool,
}

/// Where a service answers HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
}

/// The facts that a container carries about itself, as labels.
#[derive(Debug, Clone)]
pub struct Marks {
    pub deploy: String,
    pub generation: u64,
    pub image_tag: String,
}

pub mod label {
    pub const MANAGED: &str = "gh.managed";
    pub const SERVICE: &str = "gh.service";
    pub const DEPLOY: &str = "gh.deploy";
    pub const GENERATION: &str = "gh.generation";
    pub const IMAGE_TAG: &str = "gh.image_tag";
    /// A fingerprint of everything the container was made from, so that "nothing to do" can be
    /// told.
    pub const SPEC: &str = "gh.spec";
}

/// The seed's prefixes, with what its list had lost on the way (`EC2_`, `GOOGLE_`, `S3_`, `LOG_`).
/// `IMAGE_…`, `COMMIT_…`, `BUILD_…` are left out: they would overrule what the new image says about
/// itself.
const PASSED_ON: [&str; 19] = [
    "DATABASE_",
    "SUPABASE_",
    "REDIS_",
    "GH_",
    "GHOSTHANDS_",
    "ANTHROPIC_",
    "DEEPSEEK_",
    "SILICONFLOW_",
    "OPENAI_",
    "GOOGLE_",
    "AWS_",
    "S3_",
    "ECR_",
    "EC2_",
    "CORS_",
    "LOG_",
    "NODE_ENV",
    "MAX_CONCURRENT_",
    "JOB_DISPATCH_",
];
/// Only the worker has a screen.
const PASSED_TO_WORKER: [&str; 2] = ["KASM_", "VNC_"];
/// The host's own variables and the control plane's: its secrets above all.
const KEPT_ON_THE_HOST: [&str; 9] = [
    "GH_DEPLOY_",
    "GH_CLEANUP_",
    "GH_CONTAINER_",
    "GH_METADATA_",
    "FLEET_",
    "VALET_DEPLOY_",
    "VALET_FLEET_",
    "VALET_WEBHOOK_",
    "REGISTRY_",
];

/// Whether no container ever gets a variable of this name, whatever the settings say.
#[must_use]
pub fn is_kept_on_the_host(name: &str) -> bool {
    [ATM_DEPLOY_SECRET, SOURCE].contains(&name)
        || KEPT_ON_THE_HOST.iter().any(|prefix| name.starts_with(prefix))
}

// === impl ServiceKind ===

impl ServiceKind {
    pub const ALL: [Self; 2] = [Self::Api, Self::Worker];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }

    /// Where it says that it is alive.
    #[must_use]
    pub fn health_path(self) -> &'static str {
        match self {
            Self::Api => "/health",
            Self::Worker => "/worker/health",
        }
    }

    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Api => 3100,
            Self::Worker => 3101,
        }
    }

    pub(crate) fn default_memory_mb(self) -> &'static str {
        match self {
            Self::Api => "512",
            Self::Worker => "2048",
        }
    }

    pub(crate) fn default_command(self) -> &'static str {
        match self {
            Self::Api => "bun packages/ghosthands/src/api/server.ts",
            Self::Worker => "bun packages/ghosthands/src/workers/main.ts",
        }
    }

    /// The variable that tells the service its port.
    fn port_variable(self) -> &'static str {
        match self {
            Self::Api => "GH_API_PORT",
            Self::Worker => "GH_WORKER_PORT",
        }
    }

    /// The seed's values for this service, where the host and the secret say nothing else.
    fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Api => &[],
            Self::Worker => &[("MAX_CONCURRENT_JOBS", "1"), ("GH_HEADLESS", "false")],
        }
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

// === impl Service ===

impl Service {
    /// The name of a container that is created and not yet current.
    #[must_use]
    pub fn next_name(&self) -> String {
        format!("{}.next", self.container)
    }

    /// The name of the one that was current before.
    #[must_use]
    pub fn prev_name(&self) -> String {
        format!("{}.prev", self.container)
    }

    /// The name of a dead container that the engine cannot remove: out of the way, until it can.
    #[must_use]
    pub fn leftover_name(&self, id: &str) -> String {
        format!("{}{}", self.leftover_prefix(), id.chars().take(12).collect::<String>())
    }

    /// How the names of such containers begin.
    #[must_use]
    pub fn leftover_prefix(&self) -> String {
        format!("{}.leftover-", self.container)
    }

    /// The variables its container gets, sorted by name.
    ///
    /// Only names with a known prefix pass, and those that the host's settings add; empty values do
    /// not, and nothing of the host's own ever does. The port is the host's, because the gate asks
    /// there; no other value is forced.
    #[must_use]
    pub fn environment(
        &self,
        host: &BTreeMap<String, SecretString>,
    ) -> BTreeMap<String, SecretString> {
        let passes = |name: &str| {
            let added = |one: &String| match one.strip_suffix('*') {
                Some(stem) => name.starts_with(stem),
                None => name == one,
            };
            !is_kept_on_the_host(name)
                && (PASSED_ON.iter().any(|prefix| name.starts_with(prefix))
                    || self.more_variables.iter().any(added)
                    || (self.kind == ServiceKind::Worker
                        && PASSED_TO_WORKER.iter().any(|prefix| name.starts_with(prefix))))
        };
        let mut environment: BTreeMap<String, SecretString> = host
            .iter()
            .filter(|(name, value)| passes(name) && !value.expose_secret().is_empty())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in self.kind.defaults() {
            let name = (*name).to_owned();
            environment.entry(name).or_insert_with(|| SecretString::from(*value));
        }
        let port = SecretString::from(self.place.port.to_string());
        environment.insert(self.kind.port_variable().to_owned(), port);
        environment
    }

    /// A line of the container's log with the values of its variables replaced by their names: logs
    /// are shown to everybody who may ask for a deploy's record.
    #[must_use]
    pub fn redact(&self, line: &str, environment: &BTreeMap<String, SecretString>) -> String {
        redact::redact(line, environment)
    }

    /// The body of the create call. It holds the environment in the clear: it goes to the engine
    /// and nowhere else.
    #[must_use]
    pub fn create_body(
        &self,
        image: &str,
        environment: &BTreeMap<String, SecretString>,
        marks: &Marks,
        stop_grace: Duration,
    ) -> Value {
        let mut body = self.base_body(environment, stop_grace);
        let fingerprint = fingerprint(&body);
        let variables = body["Env"].as_array_mut().expect("base_body makes an array");
        // The service may echo it, which is the strongest proof of identity there is.
        variables.push(json!(format!("GHOSTHANDS_DEPLOY_ID={}", marks.deploy)));
        body["Image"] = json!(image);
        body["Labels"] = json!({
            label::MANAGED: "true",
            label::SERVICE: self.kind.name(),
            label::DEPLOY: marks.deploy,
            label::GENERATION: marks.generation.to_string(),
            label::IMAGE_TAG: marks.image_tag,
            label::SPEC: fingerprint,
        });
        body
    }

    /// What a container made now would carry as [`label::SPEC`].
    #[must_use]
    pub fn spec(
        &self,
        environment: &BTreeMap<String, SecretString>,
        stop_grace: Duration,
    ) -> String {
        fingerprint(&self.base_body(environment, stop_grace))
    }

    fn base_body(
        &self,
        environment: &BTreeMap<String, SecretString>,
        stop_grace: Duration,
    ) -> Value {
        let variables: Vec<String> = environment
            .iter()
            .map(|(name, value)| format!("{name}={}", value.expose_secret()))
            .collect();
        let mut body = json!({
            "Env": variables,
            "StopTimeout": stop_grace.as_secs(),
            "HostConfig": {
                "NetworkMode": "host",
                // Until it is committed: a crash must be seen, and a reboot must not start two
                // owners of one port.
                "RestartPolicy": { "Name": "no" },
                "Memory": self.memory_mb * 1024 * 1024,
                "PidsLimit": 2048,
                "CapDrop": ["ALL"],
                "CapAdd": self.confinement.capabilities,
                "LogConfig": { "Type": "json-file", "Config": { "max-size": "10m", "max-file": "3" } },
            },
        });
        if !self.confinement.new_privileges {
            body["HostConfig"]["SecurityOpt"] = json!(["no-new-privileges"]);
        }
        if let Some(command) = &self.command {
            body["Cmd"] = json!(command);
        }
        match self.kind {
            // The image's entry point starts a screen server, and on host networking only one
            // service can own its port.
            ServiceKind::Api if self.command.is_some() => body["Entrypoint"] = json!([""]),
            ServiceKind::Api => {}
            // Browsers keep their frame buffers there; the engine's default of 64 MB crashes them.
            ServiceKind::Worker => body["HostConfig"]["ShmSize"] = json!(512 * 1024 * 1024),
        }
        body
    }
}

/// Twelve hexadecimal digits: enough to tell two environments apart, far too few to tell what is in
/// them.
fn fingerprint(body: &Value) -> String {
    let digest = Sha256::digest(body.to_string().as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Confinement, Marks, Place, Service, ServiceKind};
    use secrecy::{ExposeSecret as _, SecretString};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn service(kind: ServiceKind) -> Service {
        Service {
            kind,
            container: format!("ghosthands-{kind}"),
            place: Place { host: "localhost".to_owned(), port: kind.default_port() },
            command: Some(vec!["bun".to_owned()]),
            memory_mb: 512,
            confinement: Confinement::default(),
            more_variables: vec!["VALET_API_URL".to_owned(), "EXTRA_*".to_owned()],
        }
    }

    fn host() -> BTreeMap<String, SecretString> {
        [
            ("GH_DEPLOY_SECRET", "canary-secret"),
            ("GH_DEPLOY_SECRET_PREVIOUS", "canary-secret"),
            ("GH_DEPLOY_PORT", "8000"),
            ("DATABASE_URL", "postgres://"),
            ("EC2_IP", "1.2.3.4"),
            ("GOOGLE_API_KEY", "g"),
            ("VNC_PASSWORD", "v"),
            ("IMAGE_TAG", "old"),
            ("PATH", "/bin"),
            ("REDIS_URL", ""),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), SecretString::from(value)))
        .collect()
    }

    #[test]
    fn each_service_gets_its_own_variables_and_never_the_deploy_secret() {
        let names = |kind| service(kind).environment(&host()).into_keys().collect::<Vec<_>>();
        assert_eq!(
            names(ServiceKind::Api),
            ["DATABASE_URL", "EC2_IP", "GH_API_PORT", "GOOGLE_API_KEY"]
        );
        assert_eq!(
            names(ServiceKind::Worker),
            [
                "DATABASE_URL",
                "EC2_IP",
                "GH_HEADLESS",
                "GH_WORKER_PORT",
                "GOOGLE_API_KEY",
                "MAX_CONCURRENT_JOBS",
                "VNC_PASSWORD"
            ]
        );
    }

    #[test]
    fn settings_add_variables_and_force_none_and_no_secret_of_the_host_passes() {
        let mut host = host();
        for (name, value) in [
            ("VALET_API_URL", "https://valet"),
            ("VALET_DEPLOY_WEBHOOK_SECRET", "canary"),
            ("FLEET_OPERATOR_TOKEN", "canary"),
            ("ATM_DEPLOY_SECRET", "canary"),
            ("EXTRA_KEY", "e"),
            ("GH_HEADLESS", "true"),
            ("MAX_CONCURRENT_JOBS", "2"),
        ] {
            host.insert(name.to_owned(), SecretString::from(value));
        }
        let mut worker = service(ServiceKind::Worker);
        worker.more_variables.push("FLEET_OPERATOR_TOKEN".to_owned());
        let passed = worker.environment(&host);
        let value = |name: &str| passed.get(name).map(|v| v.expose_secret().to_owned());
        assert_eq!(value("VALET_API_URL").as_deref(), Some("https://valet"));
        assert_eq!(value("EXTRA_KEY").as_deref(), Some("e"));
        assert_eq!(value("GH_HEADLESS").as_deref(), Some("true"));
        assert_eq!(value("MAX_CONCURRENT_JOBS").as_deref(), Some("2"));
        assert!(passed.values().all(|value| value.expose_secret() != "canary"), "{passed:?}");
    }

    #[test]
    fn a_log_line_names_variables_and_shows_no_value() {
        let environment = [
            ("DATABASE_URL", "postgres://u:password@db/x"),
            ("DATABASE_PASSWORD", "password"),
            ("GH_KEY", "first line\nsecond line"),
            ("NODE_ENV", "staging"),
        ];
        let environment = environment
            .map(|(name, value)| (name.to_owned(), SecretString::from(value)))
            .into_iter()
            .collect();
        let said = service(ServiceKind::Api).redact(
            "staging: postgres://u:password@db/x refused password: second line",
            &environment,
        );
        assert_eq!(said, "staging: [DATABASE_URL] refused [DATABASE_PASSWORD]: [GH_KEY]");
    }

    #[test]
    fn the_create_body_has_limits_rotation_and_labels() {
        let marks = Marks { deploy: "d1".to_owned(), generation: 7, image_tag: "v2".to_owned() };
        let environment = BTreeMap::new();
        let worker = service(ServiceKind::Worker);
        let body = worker.create_body("r/gh:v2", &environment, &marks, Duration::from_secs(35));
        insta::assert_json_snapshot!(body);
    }

    #[test]
    fn another_value_is_another_spec() {
        let worker = service(ServiceKind::Worker);
        let grace = Duration::from_secs(35);
        let before = worker.spec(&worker.environment(&host()), grace);
        let mut changed = host();
        changed.insert("DATABASE_URL".to_owned(), SecretString::from("postgres://other"));
        assert_ne!(before, worker.spec(&worker.environment(&changed), grace));
        assert_eq!(before.len(), 12);
    }
}
