//! The parts of the engine's answers that this server reads. Fields that an engine may leave out
//! have defaults.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineVersion {
    pub version: String,
    pub api_version: String,
    /// The oldest API version that it still speaks.
    #[serde(default, rename = "MinAPIVersion")]
    pub min_api_version: String,
}

/// One row of `GET /containers/json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerSummary {
    pub id: String,
    /// With the leading slash of the API; [`ContainerSummary::name`] takes it off.
    #[serde(default)]
    pub names: Vec<String>,
    #[serde(default)]
    pub image: String,
    #[serde(default, rename = "ImageID")]
    pub image_id: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub state: String,
    /// Seconds since the Unix epoch.
    #[serde(default)]
    pub created: i64,
    #[serde(default)]
    pub ports: Vec<Port>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    #[serde(default)]
    pub private_port: u16,
    pub public_port: Option<u16>,
    #[serde(default, rename = "Type")]
    pub protocol: String,
}

impl ContainerSummary {
    /// The container's own name. Links add names with a second slash, which are not it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names
            .iter()
            .filter_map(|name| name.strip_prefix('/'))
            .find(|name| !name.contains('/'))
            .unwrap_or_default()
    }
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerDetail {
    pub id: String,
    pub name: String,
    /// The image id, `sha256:…`.
    #[serde(default)]
    pub image: String,
    #[serde(default)]
    pub restart_count: u64,
    pub state: ContainerState,
    #[serde(default)]
    pub config: ContainerConfig,
    #[serde(default)]
    pub host_config: HostConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerState {
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub running: bool,
    #[serde(default)]
    pub restarting: bool,
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    pub exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    pub oom_killed: bool,
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub started_at: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    #[serde(default)]
    pub image: String,
    /// `null` when the container has none.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// `NAME=value` each. Never shown: values may be secrets.
    #[serde(default)]
    env: Option<Vec<String>>,
}

impl std::fmt::Debug for ContainerConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = out.debug_struct("ContainerConfig");
        shown.field("image", &self.image).field("labels", &self.labels).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// `3101/tcp` to the host's ports that the engine forwards there.
    #[serde(default)]
    port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortBinding {
    #[serde(default)]
    host_port: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    #[serde(default)]
    pub name: String,
}

impl ContainerDetail {
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether the engine forwards this port of the host to it; a container on the host's network
    /// has its ports itself.
    #[must_use]
    pub fn publishes(&self, port: u16) -> bool {
        let bindings = self.host_config.port_bindings.iter().flatten();
        let mut ports = bindings.flat_map(|(_, bindings)| bindings.iter().flatten());
        ports.any(|binding| binding.host_port.parse() == Ok(port))
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        let mut pairs = self.config.env.iter().flatten().filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Really running: a container between two restarts says `Running: true` as well.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state.running && !self.state.restarting
    }
}

/// `GET /images/{name}/json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageDetail {
    pub id: String,
    #[serde(default)]
    pub repo_digests: Option<Vec<String>>,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub size: u64,
}

impl ImageDetail {
    /// The registry digest (`sha256:…`) under which `repository` knows this image; `None` also
    /// where it knows it by several, because nothing tells which of them a tag means.
    #[must_use]
    pub fn only_digest_in(&self, repository: &str) -> Option<&str> {
        let pairs =
            self.repo_digests.iter().flatten().filter_map(|reference| reference.split_once('@'));
        let mut digests = pairs.filter_map(|(name, digest)| (name == repository).then_some(digest));
        digests.next().filter(|_| digests.next().is_none())
    }
}

/// One row of `GET /images/json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageSummary {
    pub id: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub repo_digests: Option<Vec<String>>,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Seconds since the Unix epoch, when the image was built (not when it was pulled).
    #[serde(default)]
    pub created: i64,
    #[serde(default)]
    pub size: i64,
    /// -1 when the engine did not count.
    #[serde(default)]
    pub containers: i64,
}
