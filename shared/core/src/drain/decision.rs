//! What is to be asked or done next, and why, in a form that a machine can compare and a person can
//! read.

use super::DrainOrder;
use super::policy::NOT_TOLD_PAGES_S;
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
    /// `DescribeScalingActivities`: since when instances leave, and when they were launched.
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
    #[must_use]
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
        JustHeld { ago_s: i64 } => "its heartbeat was recorded {ago_s} s ago; the next pass looks at it";
        Looking => "its heartbeat is recorded, and its drain commands and the state of its machine are read";
        MachineGone { state: String } => "EC2 says that its machine is {state}: no job runs there";
        Drained { stopped: bool } => "its host proved that nothing runs and nothing more will be taken{}", if *stopped { "; the worker is stopped" } else { "" };
        CommandsUnknown { source: Unknown } => "its drain commands could not be read, so it is held and nothing is sent: {}", source.detail;
        Ask { last: LastAnswer } => "a drain command is sent, to take no more jobs and to wait for the one that runs: {last}";
        Unmanaged => "SSM does not know its machine, so no drain command can reach it; the host's own watch of the instance metadata drains it, and every pass sends the command again";
        NotTold { waited_s: Option<i64>, detail: String } => "no drain command could be sent to it{}, and the next pass sends it again: {detail}", in_all(*waited_s);
        Waiting { asked_s: i64, window_s: u32 } => "its host was sent a drain command {asked_s} s ago and answers it within {window_s} s";
        NotListed { sent_s: i64 } => "a drain command was sent {sent_s} s ago and SSM does not list it yet";
        TooSoon { last: LastAnswer, wait_s: i64 } => "the next drain command is sent in {wait_s} s: {last}";
        PastLimit { limit_s: u32, last: LastAnswer } => "no job may take longer than {limit_s} s, so a command is sent and its worker is stopped with its own grace: {last}";
        LastCall { limit_s: u32, last: LastAnswer } => "no job may take longer than {limit_s} s, and its host never said that its worker takes no more, so one more drain command is sent before its worker is stopped: {last}";
        NoticeOver { last: LastAnswer } => "AWS takes the machine back, so a command is sent and its worker is stopped while it can still release its job: {last}";
        Stopping { asked_s: i64 } => "the command to stop its worker was sent {asked_s} s ago";
        GaveUp { silent_s: i64 } => "its worker was to stop {silent_s} s ago and no proof came, so its lifecycle action is completed: nothing is left to wait for";
        SpotNotice => "AWS takes the machine back within two minutes: a drain command is sent, and the group replaces it";
        RebalanceNotice => "AWS may take the machine back: the group replaces it, and it drains like any other";
        GroupRebalances => "AWS may take the machine back, and the group itself replaces it";
        RebalanceOff => "AWS may take the machine back; DRAIN_REBALANCE_EVERY_SECONDS is 0, so it is not replaced for that";
        RebalanceHeld { why: String } => "AWS may take the machine back; that is advice, and it is not followed now because {why}";
        RetirementNotice => "AWS has announced to stop or retire its machine: the group replaces it, and it drains like any other";
        Released => "its lifecycle action is over";
    }
}

reasons! {
    /// What the newest command came to.
    LastAnswer {
        First => "no drain command sent yet";
        Busy { jobs: u32 } => "its host last answered that {jobs} jobs run";
        Unsure { message: String } => "its host last answered without a proof ({message})";
        NoProof { wrong: String } => "its host last answered without a proof ({wrong})";
        Unreadable { what: String } => "its last drain command printed nothing that can be read: {what}";
        Silent => "its last drain command ended and printed nothing";
        Awaited { asked_s: i64 } => "its drain command of {asked_s} s ago ends before the next tick";
        Lost { after_s: i64 } => "its last drain command was lost: no answer came in {after_s} s";
        Broken { detail: String } => "its last drain command did not run to its end ({detail})";
        Stale { age_s: i64 } => "its host proved it {age_s} s ago, which is too old";
    }
}

reasons! {
    /// Something that did not bind, and that an operator would want to know.
    Note {
        GroupUnknown { source: Unknown } => "the Auto Scaling group could not be read, so nothing is done: {}", source.detail;
        MachinesUnknown { source: Unknown } => "EC2 did not say whether machines run: {}", source.detail;
        ActivitiesUnknown { source: Unknown } => "the group's scaling activities could not be read: {}", source.detail;
        HookUnknown { source: Unknown } => "the lifecycle hook could not be read: {}", source.detail;
        /// A difference between the hook and what a drain needs. It costs jobs, sooner or later.
        HookDrift { wrong: String } => "{wrong}";
        Skew { seconds: i64 } => "the function's clock is {seconds} s ahead of AWS's; ages are taken by AWS's";
        HeartbeatFailed { instance: InstanceId, detail: String } => "the heartbeat of {instance} was not recorded: {detail}";
        NotHeld { instance: InstanceId } => "{instance} waits, and not for this function's hook, or not any more";
        NotManaged { instance: InstanceId } => "SSM does not know {instance}: its agent never registered, or the machine is going";
        /// A worker that cannot close its intake took these in its last instant.
        Caught { instance: InstanceId, jobs: u32 } => "{jobs} jobs were caught when the worker of {instance} was stopped";
        Interrupted { instance: InstanceId, jobs: u32 } => "{jobs} jobs ran on {instance} when its worker was stopped because its time was up";
        StoppedUnasked { instance: InstanceId } => "the worker of {instance} was stopped because its time was up, and could not be asked whether a job ran";
        /// A step beside the drain that did not come about and stopped nothing.
        SaidBeside { instance: InstanceId, note: String } => "{instance} drains, and its host says beside that: {note}";
        WarmPool { instance: InstanceId, lifecycle: LifecycleState } => "{instance} is {lifecycle}: warm pools are not supported, and it is left alone";
        UnknownState { instance: InstanceId, lifecycle: LifecycleState } => "{instance} is {lifecycle}, a state that this version does not know: it is left alone";
        NotOurs { instance: InstanceId } => "an event named {instance}, which is not in the group: it is passed over";
    }
}

fn in_all(waited_s: Option<i64>) -> String {
    waited_s.map_or_else(String::new, |s| format!(" in the {s} s since the group began to end it"))
}

impl Reason {
    /// Whether a person has to be told at once.
    #[must_use]
    pub fn pages(&self) -> bool {
        match self {
            Reason::PastLimit { .. } | Reason::LastCall { .. } | Reason::GaveUp { .. } => true,
            Reason::NotTold { waited_s, .. } => waited_s.is_some_and(|s| s >= NOT_TOLD_PAGES_S),
            _ => false,
        }
    }
}
