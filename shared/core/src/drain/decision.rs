//! What is to be asked or done next, and why, in a form that a machine can compare and a person can
//! read.

use super::DrainOrder;
use crate::reasons::reasons;
use fleet_protocol::ids::InstanceId;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Unknown;
use serde::{Deserialize, Serialize};

/// What one look at the inputs came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// To be made now, all at once; their answers belong into the inputs. None: the pass is over.
    pub calls: Vec<Call>,
    /// One for each instance that is on its way out.
    pub verdicts: Vec<Verdict>,
    /// What else an operator would want to know.
    pub notes: Vec<Note>,
}

/// One call, with no choices left in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// `DescribeAutoScalingGroups`, so many seconds from now.
    DescribeGroup { after_s: u32 },
    /// `DescribeLifecycleHooks`
    DescribeHook,
    /// `RecordLifecycleActionHeartbeat`
    Heartbeat { instance: InstanceId },
    /// `DescribeInstances`
    DescribeMachines { instances: Vec<InstanceId> },
    /// `ListCommandInvocations`
    ListCommands { instance: InstanceId },
    /// `DescribeScalingActivities`: since when instances leave that SSM does not know.
    DescribeActivities,
    /// `SendCommand`
    Send { instance: InstanceId, order: DrainOrder },
    /// `CompleteLifecycleAction` with `CONTINUE`. There is no way to spell `ABANDON`.
    Complete { instance: InstanceId },
    /// `TerminateInstanceInAutoScalingGroup` without decrement: the desired capacity is another
    /// function's.
    Replace { instance: InstanceId },
}

impl Call {
    /// Whether it changes anything.
    pub fn acts(&self) -> bool {
        match self {
            Call::Heartbeat { .. }
            | Call::Send { .. }
            | Call::Complete { .. }
            | Call::Replace { .. } => true,
            Call::DescribeGroup { .. }
            | Call::DescribeHook
            | Call::DescribeMachines { .. }
            | Call::ListCommands { .. }
            | Call::DescribeActivities => false,
        }
    }
}

/// How it stands with one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub instance: InstanceId,
    pub lifecycle: LifecycleState,
    pub because: Reason,
    /// Seconds since it was first told to take no more work.
    pub waited_s: Option<u32>,
    /// Seconds until no job may run there any longer; 0 once that is over. A notice by AWS, which
    /// may end it sooner, does not count.
    pub left_s: Option<u32>,
    /// This pass let it go.
    pub released: bool,
}

reasons! {
    /// The rule that bound for one instance.
    Reason {
        JustHeld { ago_s: i64 } => "it was held {ago_s} s ago; the next pass looks at it";
        Looking => "it is leaving: it is held, and its commands and its machine are looked at";
        MachineGone { state: String } => "its machine is {state}: no job runs there";
        Drained { stopped: bool } => "its host proved that nothing runs and nothing more will be taken{}", if *stopped { "; the worker is stopped" } else { "" };
        CommandsUnknown { source: Unknown } => "its commands could not be read, so it is held as it is: {}", source.detail;
        Ask { last: LastAnswer } => "its host is told to take no more work and to wait for its job: {last}";
        Unmanaged => "SSM does not know its machine, so nobody can tell it anything; its own watch of the metadata drains it, and it is asked again with every pass";
        NotTold { detail: String } => "it could not be told to take no more work, and is told again with the next pass: {detail}";
        Waiting { asked_s: i64, window_s: u32 } => "its host was asked {asked_s} s ago and answers within {window_s} s";
        NotListed { sent_s: i64 } => "a command was sent {sent_s} s ago and is not listed yet";
        TooSoon { last: LastAnswer, wait_s: i64 } => "it is asked again in {wait_s} s: {last}";
        PastLimit { limit_s: u32, last: LastAnswer } => "no job may take longer than {limit_s} s, so the worker is stopped with its own grace: {last}";
        LastCall { limit_s: u32, last: LastAnswer } => "no job may take longer than {limit_s} s, and its host never said that it takes no more, so it is told once more before the worker is stopped: {last}";
        NoticeOver { last: LastAnswer } => "AWS takes the machine back, so the worker is stopped while it can still release its job: {last}";
        Stopping { asked_s: i64 } => "its worker was told to stop {asked_s} s ago";
        GaveUp { silent_s: i64 } => "its worker was to stop {silent_s} s ago and no proof came: nothing is left to wait for";
        SpotNotice => "AWS takes the machine back within two minutes: its host is told, and the group replaces it";
        RebalanceNotice => "AWS may take the machine back: the group replaces it, and it drains like any other";
        GroupRebalances => "AWS may take the machine back, and the group itself replaces it";
        Released => "its action is over";
    }
}

reasons! {
    /// What the newest command came to.
    LastAnswer {
        First => "nobody told it so far";
        Busy { jobs: u32 } => "its last answer was that {jobs} jobs run";
        Unsure { message: String } => "its last answer was no proof ({message})";
        NoProof { wrong: String } => "its last answer was no proof ({wrong})";
        Unreadable { what: String } => "its last command told nothing: {what}";
        Silent => "its last command ended without a word";
        Awaited { asked_s: i64 } => "it was asked {asked_s} s ago, and its answer ends that command before the next tick";
        Lost { after_s: i64 } => "its last command was lost: nothing came of it in {after_s} s";
        Broken { detail: String } => "its last command never came to an end ({detail})";
        Stale { age_s: i64 } => "its proof is {age_s} s old";
    }
}

reasons! {
    /// Something that did not bind, and that an operator would want to know.
    Note {
        GroupUnknown { source: Unknown } => "the group is unknown, so nothing is done: {}", source.detail;
        MachinesUnknown { source: Unknown } => "whether machines run is unknown: {}", source.detail;
        ActivitiesUnknown { source: Unknown } => "since when instances leave is unknown: {}", source.detail;
        HookUnknown { source: Unknown } => "the lifecycle hook is unknown: {}", source.detail;
        /// A difference between the hook and what a drain needs. It costs jobs, sooner or later.
        HookDrift { wrong: String } => "{wrong}";
        Skew { seconds: i64 } => "the function's clock is {seconds} s ahead of AWS's; ages are taken by AWS's";
        HeartbeatFailed { instance: InstanceId, detail: String } => "{instance} could not be held: {detail}";
        NotHeld { instance: InstanceId } => "{instance} waits, but not for our hook, or not any more";
        NotManaged { instance: InstanceId } => "SSM does not know {instance}: its agent never registered, or the machine is going";
        /// A worker that cannot close its intake took these in its last instant.
        Caught { instance: InstanceId, jobs: u32 } => "{jobs} jobs were caught when the worker of {instance} was stopped";
        Interrupted { instance: InstanceId, jobs: u32 } => "{jobs} jobs ran on {instance} when its worker was stopped because its time was up";
        StoppedUnasked { instance: InstanceId } => "the worker of {instance} was stopped because its time was up, and could not be asked whether a job ran";
        WarmPool { instance: InstanceId, lifecycle: LifecycleState } => "{instance} is {lifecycle}: warm pools are not supported, and it is left alone";
        UnknownState { instance: InstanceId, lifecycle: LifecycleState } => "{instance} is {lifecycle}, a state that this version does not know: it is left alone";
        NotOurs { instance: InstanceId } => "{instance} is not in the group, so what was said of it is none of ours";
    }
}

impl Reason {
    /// Whether a person has to be told at once.
    pub fn pages(&self) -> bool {
        matches!(self, Reason::PastLimit { .. } | Reason::LastCall { .. } | Reason::GaveUp { .. })
    }
}
