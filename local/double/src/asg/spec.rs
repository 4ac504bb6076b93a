//! What a group is created from.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::model::HookSpec;

/// What a group is created from. [`GroupSpec::new`] fills everything but the name and the bounds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Name.
    pub name: String,
    /// Least desired capacity.
    pub min: u32,
    /// Greatest desired capacity.
    pub max: u32,
    /// Desired capacity at the start; the minimum when absent.
    #[serde(default)]
    pub desired: Option<u32>,
    /// Seconds from launch to service; the double's default when absent.
    #[serde(default)]
    pub boot_seconds: Option<f64>,
    /// Seconds from the end of the hooks to gone; the double's default when absent.
    #[serde(default)]
    pub shutdown_seconds: Option<f64>,
    /// Hooks from the first instance on.
    #[serde(default)]
    pub hooks: Vec<HookSpec>,
    /// Tags, not propagated.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether new instances are protected from scale-in.
    #[serde(default)]
    pub protect_new: bool,
    /// Whether an abandoned terminate hook retains its instance.
    #[serde(default)]
    pub retain_on_abandon: bool,
}

impl GroupSpec {
    /// A group of `min` instances.
    pub fn new(name: impl Into<String>, min: u32, max: u32) -> Self {
        Self {
            name: name.into(),
            min,
            max,
            desired: None,
            boot_seconds: None,
            shutdown_seconds: None,
            hooks: Vec::new(),
            tags: BTreeMap::new(),
            protect_new: false,
            retain_on_abandon: false,
        }
    }

    /// Desired capacity at the start.
    #[must_use]
    pub fn desired(mut self, desired: u32) -> Self {
        self.desired = Some(desired);
        self
    }

    /// Time from launch to service.
    #[must_use]
    pub fn boot(mut self, boot: Duration) -> Self {
        self.boot_seconds = Some(boot.as_secs_f64());
        self
    }

    /// Time from the end of the hooks to gone.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Duration) -> Self {
        self.shutdown_seconds = Some(shutdown.as_secs_f64());
        self
    }

    /// An abandoned terminate hook retains its instance (`InstanceLifecyclePolicy`).
    #[must_use]
    pub fn retain_on_abandon(mut self) -> Self {
        self.retain_on_abandon = true;
        self
    }

    /// Adds a hook.
    #[must_use]
    pub fn hook(mut self, hook: HookSpec) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }
}
