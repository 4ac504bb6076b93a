//! What a function is started from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// A function: name, binary, environment and limits. The environment's values are left out of
/// Debug.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionConfig {
    /// Name.
    pub name: String,
    /// The executable; `bootstrap` in a real package.
    pub binary: PathBuf,
    /// Variables beside those that Lambda sets.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Longest time for one invocation.
    #[serde(default = "default_timeout", rename = "timeout_seconds", deserialize_with = "seconds")]
    pub timeout: Duration,
    /// Told to the process, not enforced.
    #[serde(default = "default_memory")]
    pub memory_mb: u32,
    /// Reserved concurrency: most processes at a time.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// How often a failed asynchronous invocation is tried again: 0 to 2.
    #[serde(default = "default_retries")]
    pub async_retries: u32,
    /// Region in the ARN and the environment.
    #[serde(default = "default_region")]
    pub region: String,
    /// Account in the ARN.
    #[serde(default = "default_account")]
    pub account: String,
}

fn default_timeout() -> Duration {
    Duration::from_secs(3)
}
fn default_memory() -> u32 {
    128
}
fn default_concurrency() -> usize {
    1
}
fn default_retries() -> u32 {
    2
}
fn default_region() -> String {
    "us-east-1".to_owned()
}
fn default_account() -> String {
    "000000000000".to_owned()
}

fn seconds<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let value = f64::deserialize(input)?;
    if !(0.1..=900.0).contains(&value) {
        return Err(serde::de::Error::custom("timeout_seconds must be between 0.1 and 900"));
    }
    Ok(Duration::from_secs_f64(value))
}

impl FunctionConfig {
    /// Lambda's defaults: 3 s, 128 MB; one process at a time.
    pub fn new(name: impl Into<String>, binary: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            binary: binary.into(),
            env: BTreeMap::new(),
            timeout: default_timeout(),
            memory_mb: default_memory(),
            concurrency: default_concurrency(),
            async_retries: default_retries(),
            region: default_region(),
            account: default_account(),
        }
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Adds variables.
    #[must_use]
    pub fn envs(mut self, vars: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(vars);
        self
    }

    /// Longest time for one invocation.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Memory size as the process is told.
    #[must_use]
    pub fn memory_mb(mut self, megabytes: u32) -> Self {
        self.memory_mb = megabytes;
        self
    }

    /// Most processes at a time.
    #[must_use]
    pub fn concurrency(mut self, processes: usize) -> Self {
        self.concurrency = processes;
        self
    }

    /// Retries of failed asynchronous invocations.
    #[must_use]
    pub fn async_retries(mut self, retries: u32) -> Self {
        self.async_retries = retries;
        self
    }

    /// The function's ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }

    /// The whole environment of a process: Lambda's variables, then the function's own.
    pub(super) fn process_env(&self, runtime_api: &str, stream: &str) -> BTreeMap<String, String> {
        let root = self.binary.parent().map(|p| p.display().to_string()).unwrap_or_default();
        let handler = self
            .binary
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let lambda = [
            ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", self.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_mb.to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", stream.to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("AWS_ACCESS_KEY_ID", "ASIADOUBLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "double".to_owned()),
            ("AWS_SESSION_TOKEN", "double".to_owned()),
            ("LAMBDA_TASK_ROOT", root),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
            ("_HANDLER", handler),
            ("TZ", ":UTC".to_owned()),
            ("LANG", "en_US.UTF-8".to_owned()),
        ];
        let mut env: BTreeMap<String, String> =
            lambda.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if let Ok(path) = std::env::var("PATH") {
            env.insert("PATH".to_owned(), path);
        }
        env.extend(self.env.clone());
        env
    }
}

impl fmt::Debug for FunctionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionConfig")
            .field("name", &self.name)
            .field("binary", &self.binary)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("memory_mb", &self.memory_mb)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
