//! What a command is made of, and the names AWS has for its states.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// Where one invocation stands: AWS's `Status` and `StatusDetails` in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum InvocationState {
    /// Not picked up by the agent yet, or not sent yet.
    Pending,
    /// Picked up.
    InProgress,
    /// Could not be delivered, will be tried again.
    Delayed,
    /// A cancel was asked for while it ran.
    Cancelling,
    /// Exit code 0.
    Success,
    /// Another exit code.
    Failed,
    /// Cancelled before it ended.
    Cancelled,
    /// Not picked up in time, or nothing was heard of it until the command expired.
    DeliveryTimedOut,
    /// Ran longer than its document allows.
    ExecutionTimedOut,
    /// The machine is gone or does not answer.
    Undeliverable,
    /// Never sent, because the command reached its error limit.
    Terminated,
    /// The document is for another operating system.
    InvalidPlatform,
}

impl InvocationState {
    /// `Status` of the API.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Delayed => "Delayed",
            Self::Cancelling => "Cancelling",
            Self::Success => "Success",
            Self::Failed | Self::Undeliverable | Self::InvalidPlatform => "Failed",
            Self::Cancelled | Self::Terminated => "Cancelled",
            Self::DeliveryTimedOut | Self::ExecutionTimedOut => "TimedOut",
        }
    }

    /// `StatusDetails` of the API.
    #[must_use]
    pub fn details(self) -> &'static str {
        match self {
            Self::Undeliverable => "Undeliverable",
            Self::InvalidPlatform => "InvalidPlatform",
            Self::Terminated => "Terminated",
            Self::DeliveryTimedOut => "DeliveryTimedOut",
            Self::ExecutionTimedOut => "ExecutionTimedOut",
            other => other.status(),
        }
    }

    /// True when nothing will change any more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::InProgress | Self::Delayed | Self::Cancelling)
    }

    /// True for what counts toward `MaxErrors` and `ErrorCount`.
    #[must_use]
    pub fn is_error(self) -> bool {
        matches!(self, Self::Failed | Self::ExecutionTimedOut)
    }
}

/// Where a whole command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum CommandState {
    /// Nobody has picked it up.
    Pending,
    /// Somebody has.
    InProgress,
    /// A cancel was asked for.
    Cancelling,
    /// Every invocation that counts succeeded.
    Success,
    /// The error limit was reached, or nobody could be reached.
    Failed,
    /// Ended, not stopped by errors, and not a success everywhere.
    Incomplete,
    /// Nobody picked it up in time.
    DeliveryTimedOut,
    /// Cancelled.
    Cancelled,
    /// No managed instance has the tag. AWS calls it a success of nothing.
    NoInstancesInTag,
}

impl CommandState {
    /// `Status` of the API.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Cancelling => "Cancelling",
            Self::Success | Self::NoInstancesInTag => "Success",
            Self::Failed | Self::Incomplete => "Failed",
            Self::DeliveryTimedOut => "TimedOut",
            Self::Cancelled => "Cancelled",
        }
    }

    /// `StatusDetails` of the API.
    #[must_use]
    pub fn details(self) -> &'static str {
        match self {
            Self::Incomplete => "Incomplete",
            Self::DeliveryTimedOut => "DeliveryTimedOut",
            Self::NoInstancesInTag => "NoInstancesInTag",
            other => other.status(),
        }
    }
}

/// How a document's step ended on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandOutput {
    /// Exit code; 0 is success.
    pub exit_code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Time on the double's clock from the delivery to the report.
    pub took: Duration,
}

impl CommandOutput {
    /// An end with this exit code, no output, at once.
    #[must_use]
    pub fn exit(exit_code: i32) -> Self {
        Self { exit_code, stdout: String::new(), stderr: String::new(), took: Duration::ZERO }
    }

    /// With this standard output.
    #[must_use]
    pub fn stdout(mut self, text: impl Into<String>) -> Self {
        self.stdout = text.into();
        self
    }

    /// With this standard error.
    #[must_use]
    pub fn stderr(mut self, text: impl Into<String>) -> Self {
        self.stderr = text.into();
        self
    }

    /// Reported this long after the delivery, on the double's clock.
    #[must_use]
    pub fn took(mut self, took: Duration) -> Self {
        self.took = took;
        self
    }
}

/// A command on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invocation {
    /// The host.
    pub instance: String,
    /// Where it stands.
    pub state: InvocationState,
    /// When rate control let it go.
    pub sent_at: Option<Timestamp>,
    /// When the agent picked it up.
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    pub ended_at: Option<Timestamp>,
    /// What came back; output that was lost is empty.
    pub output: Option<CommandOutput>,
    /// How often the agent picked it up.
    pub deliveries: u32,
    /// When the agent picks it up next.
    pub(crate) pickup: Option<Timestamp>,
    /// A result on its way, and when it arrives.
    pub(crate) report: Option<(Timestamp, CommandOutput)>,
    /// The agent died with it: nothing will be reported.
    pub(crate) abandoned: bool,
    /// The agent killed it at its time limit and could not report that yet.
    pub(crate) overdue: bool,
    pub(crate) fault: Option<super::CommandFault>,
}

impl Invocation {
    pub(super) fn new(instance: String) -> Self {
        Self {
            instance,
            state: InvocationState::Pending,
            sent_at: None,
            started_at: None,
            ended_at: None,
            output: None,
            deliveries: 0,
            pickup: None,
            report: None,
            abandoned: false,
            overdue: false,
            fault: None,
        }
    }
}

/// One `SendCommand` and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// 1, 2, 3, … in the order of sending.
    pub seq: u64,
    /// `CommandId`, a UUID.
    pub id: String,
    /// The document's name.
    pub document: String,
    /// Comment, at most 100 characters.
    pub comment: String,
    /// Parameters as they were given.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// `InstanceIds` as they were given.
    pub instance_ids: Vec<String>,
    /// `Targets` as they were given: key and values.
    pub targets: Vec<(String, Vec<String>)>,
    /// `MaxConcurrency` as given, or its default.
    pub max_concurrency: String,
    /// `MaxErrors` as given, or its default.
    pub max_errors: String,
    /// When it was sent.
    pub requested: Timestamp,
    /// When everything that is not done by then is given up.
    pub expires: Timestamp,
    /// Delivery window of each invocation, seconds.
    pub timeout_seconds: u32,
    /// Where it stands.
    pub state: CommandState,
    /// One per host.
    pub invocations: Vec<Invocation>,
    /// Parameters with the document's defaults.
    pub(crate) effective: BTreeMap<String, Vec<String>>,
    /// The execution time limit.
    pub(crate) execution: Duration,
    pub(crate) script: String,
    pub(crate) directory: Option<String>,
    /// The step's name.
    pub(crate) step: String,
    pub(crate) linux: bool,
    pub(crate) rate: super::limits::Rate,
    pub(crate) cancelled: bool,
}

impl Command {
    /// The invocations for which `which` holds.
    pub fn count(&self, which: impl Fn(InvocationState) -> bool) -> usize {
        self.invocations.iter().filter(|i| which(i.state)).count()
    }
}
