//! What an Auto Scaling group is made of, and what the double reports about it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The lifecycle states the double can be in (warm pools, standby and detaching are not modelled).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifecycleState {
    /// Booting.
    Pending,
    /// Booted; a launch hook waits.
    #[serde(rename = "Pending:Wait")]
    PendingWait,
    /// In service.
    InService,
    /// Shutting down in a group without terminate hooks.
    Terminating,
    /// A terminate hook waits; the machine still runs.
    #[serde(rename = "Terminating:Wait")]
    TerminatingWait,
    /// A terminate hook was abandoned and the group retains such instances: the machine runs on
    /// until it is terminated by hand.
    #[serde(rename = "Terminating:Retained")]
    TerminatingRetained,
    /// The hooks are done and the machine shuts down.
    #[serde(rename = "Terminating:Proceed")]
    TerminatingProceed,
}

impl LifecycleState {
    /// The spelling of the AWS API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::PendingWait => "Pending:Wait",
            Self::InService => "InService",
            Self::Terminating => "Terminating",
            Self::TerminatingWait => "Terminating:Wait",
            Self::TerminatingRetained => "Terminating:Retained",
            Self::TerminatingProceed => "Terminating:Proceed",
        }
    }

    /// True for the states that count toward the desired capacity.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Pending | Self::PendingWait | Self::InService)
    }
}

/// Which way a hook's instances are going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// `autoscaling:EC2_INSTANCE_LAUNCHING`
    Launching,
    /// `autoscaling:EC2_INSTANCE_TERMINATING`
    Terminating,
}

impl Direction {
    /// The spelling of the AWS API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
            Self::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
        }
    }

    /// Reads the spelling of the AWS API.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Launching, Self::Terminating].into_iter().find(|d| d.as_str() == text)
    }
}

/// What becomes of an instance when its hook ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HookResult {
    /// The transition goes on; other hooks may finish first.
    Continue,
    /// Other hooks are skipped; a launching instance is terminated.
    Abandon,
}

impl HookResult {
    /// The spelling of the AWS API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }

    /// Reads the spelling of the AWS API.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Continue, Self::Abandon].into_iter().find(|r| r.as_str() == text)
    }
}

/// A lifecycle hook as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSpec {
    /// Name, unique in the group.
    pub name: String,
    /// Which transition it holds up.
    pub direction: Direction,
    /// 30 to 7200 seconds.
    pub heartbeat_seconds: u32,
    /// What happens when nobody answers.
    pub default_result: HookResult,
    /// Free text sent along in every event.
    #[serde(default)]
    pub metadata: Option<String>,
}

impl HookSpec {
    /// A terminate hook with AWS's default result, ABANDON.
    pub fn terminating(name: impl Into<String>, heartbeat_seconds: u32) -> Self {
        Self {
            name: name.into(),
            direction: Direction::Terminating,
            heartbeat_seconds,
            default_result: HookResult::Abandon,
            metadata: None,
        }
    }

    /// Longest stay in the wait state: 100 heartbeats or 48 hours, whichever is less.
    #[must_use]
    pub fn global_seconds(&self) -> u32 {
        self.heartbeat_seconds.saturating_mul(100).min(48 * 3600)
    }
}

/// One hook that is waiting for one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookAction {
    /// The hook as it was when the wait began.
    pub hook: HookSpec,
    /// Identifies this wait; 36 characters.
    pub token: String,
    /// When the heartbeat runs out.
    pub heartbeat_until: Timestamp,
    /// When the wait ends whatever the heartbeats say.
    pub global_until: Timestamp,
}

impl HookAction {
    /// The earlier of the two limits.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.heartbeat_until.min(self.global_until)
    }
}

/// One machine of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// `i-` and 17 hexadecimal digits.
    pub id: String,
    /// Where it is in its life.
    pub state: LifecycleState,
    /// What the group believes about its health.
    pub healthy: bool,
    /// Scale-in protection.
    pub protected: bool,
    /// Start of the launch.
    pub launched_at: Timestamp,
    /// When it came into service.
    pub in_service_at: Option<Timestamp>,
    /// Availability zone.
    pub zone: String,
    /// The template as it was at launch; an update of the group does not change it.
    pub template: LaunchTemplate,
    /// Hooks it waits for.
    pub actions: Vec<HookAction>,
    /// False once the machine is gone behind the group's back.
    pub running: bool,
    /// When that happened.
    pub lost_at: Option<Timestamp>,
    /// When EC2 takes the machine back, after an interruption warning.
    pub reclaim_at: Option<Timestamp>,
    /// When EC2 recommended to replace the machine.
    pub rebalance_at: Option<Timestamp>,
    /// End of the boot or of the shutdown that is going on.
    pub(crate) timer: Option<Timestamp>,
    /// The activity that is in progress for it.
    pub(crate) activity: Option<String>,
}

/// A line of the group's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Identifier, a UUID.
    pub id: String,
    /// `Launching a new EC2 instance: i-…` or `Terminating EC2 instance: i-…`.
    pub description: String,
    /// Why, in AWS's words.
    pub cause: String,
    /// Start.
    pub start: Timestamp,
    /// End, when it ended.
    pub end: Option<Timestamp>,
    /// `PreInService`, `MidLifecycleAction`, `MidTerminatingLifecycleAction`, `InProgress`,
    /// `Successful`, `Cancelled`, `Failed`.
    pub status: &'static str,
    /// Why it failed, in AWS's words.
    pub message: Option<String>,
    /// Percent.
    pub progress: u8,
    /// Zone of the instance, for the `Details` document.
    pub zone: String,
}

/// A tag of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Value.
    pub value: String,
    /// Whether new instances carry it too.
    pub propagate: bool,
}

/// An instance refresh: its state is kept, replacing instances is not modelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refresh {
    /// Identifier, a UUID.
    pub id: String,
    /// `InProgress` or `Cancelled`.
    pub status: &'static str,
    /// Start.
    pub start: Timestamp,
    /// End, when it ended.
    pub end: Option<Timestamp>,
    /// Instances in service when it started.
    pub instances: usize,
}

/// A reference to a launch template; its existence is not checked, EC2 is not modelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaunchTemplate {
    /// `lt-…`
    pub id: String,
    /// Name.
    pub name: String,
    /// Version: of a group as it was asked for, of an instance a number.
    pub version: String,
}

impl LaunchTemplate {
    /// What an instance is launched from: the only version there is stands for `$Default` and
    /// `$Latest`.
    pub(super) fn resolved(&self) -> Self {
        let mut resolved = self.clone();
        if resolved.version.starts_with('$') {
            resolved.version = "1".to_owned();
        }
        resolved
    }
}

/// A group and everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// ARN of the service-linked role that acts for it.
    pub role: String,
    /// Least desired capacity.
    pub min: u32,
    /// Greatest desired capacity.
    pub max: u32,
    /// Desired capacity.
    pub desired: u32,
    /// Time of creation.
    pub created: Timestamp,
    /// Launch to service.
    pub boot: Duration,
    /// End of the hooks to gone.
    pub shutdown: Duration,
    /// `DefaultCooldown`, seconds.
    pub cooldown_seconds: u32,
    /// `HealthCheckGracePeriod`, seconds.
    pub grace_seconds: u32,
    /// What it launches.
    pub template: LaunchTemplate,
    /// Its zones; the double launches in the first.
    pub zones: Vec<String>,
    /// `VPCZoneIdentifier` as given.
    pub subnets: Option<String>,
    /// Whether new instances are protected from scale-in.
    pub protect_new: bool,
    /// `InstanceLifecyclePolicy`: an abandoned terminate hook retains its instance.
    pub retain_on_abandon: bool,
    /// What launches fail with, while they fail.
    pub launch_failure: Option<String>,
    /// `CapacityRebalance`; kept and shown, not acted on.
    pub capacity_rebalance: bool,
    /// Suspended processes and why.
    pub suspended: BTreeMap<String, String>,
    /// Hooks by name.
    pub hooks: BTreeMap<String, HookSpec>,
    /// Tags by key.
    pub tags: BTreeMap<String, Tag>,
    /// Instances in launch order, those on their way out included.
    pub instances: Vec<Instance>,
    /// History, newest first.
    pub activities: VecDeque<Activity>,
    /// Instance refreshes, newest first.
    pub refreshes: Vec<Refresh>,
    /// `Delete in progress` after a forced delete.
    pub deleting: bool,
    /// When the last scaling activity's cooldown ends.
    pub(crate) cooldown_until: Timestamp,
    /// Why the desired capacity last changed; the first half of the next activity's cause.
    pub(crate) reason: String,
}

impl Group {
    /// Instances that count toward the desired capacity.
    #[must_use]
    pub fn counted(&self) -> usize {
        self.instances.iter().filter(|i| i.state.counts()).count()
    }

    /// Instances in service.
    #[must_use]
    pub fn in_service(&self) -> usize {
        self.instances.iter().filter(|i| i.state == LifecycleState::InService).count()
    }

    pub(crate) fn suspends(&self, process: &str) -> bool {
        self.suspended.contains_key(process)
    }
}

/// A step in an instance's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransitionKind {
    /// The boot begins.
    Launching,
    /// The boot is over and a launch hook waits.
    PendingWait,
    /// In service.
    InService,
    /// A terminate hook waits; the machine runs on.
    TerminatingWait,
    /// The machine shuts down: its processes get SIGTERM.
    ShuttingDown,
    /// Gone: its processes get SIGKILL.
    Terminated,
    /// The machine died behind the group's back; the group goes through the termination all the
    /// same.
    Lost,
}

/// One step in one instance's life, numbered in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// 1, 2, 3, …
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Group.
    pub group: String,
    /// ARN of the group.
    pub group_arn: String,
    /// Instance.
    pub instance: String,
    /// What happened.
    pub kind: TransitionKind,
    /// The scaling activity it belongs to, as it is at that moment; none for a machine that just
    /// dies.
    pub activity: Option<Activity>,
    /// The hooks that wait, for the two wait kinds.
    pub actions: Vec<HookAction>,
}
