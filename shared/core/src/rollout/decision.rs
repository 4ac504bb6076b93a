//! What is to be done next, and why.

use super::{Call, FiredAlarm, Outcomes, Step};
use crate::reasons::reasons;
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::reading::Unknown;
use serde::{Deserialize, Serialize};

/// How a deployment stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    InProgress,
    /// Every host in service proved it.
    Succeeded,
    /// Some hosts have it and some lack it, for reasons that are not the version.
    Partial,
    /// It is nowhere, or it could not be undone everywhere.
    Failed,
    /// It failed, and every host that may have had it proved the version before.
    RolledBack,
    Cancelled,
}

impl State {
    /// The states of a deployment that is over, by the words that records have.
    pub const ENDED: [(State, &str); 5] = [
        (State::Succeeded, "succeeded"),
        (State::Partial, "partial"),
        (State::Failed, "failed"),
        (State::RolledBack, "rolled_back"),
        (State::Cancelled, "cancelled"),
    ];
}

/// Whom a command is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// At most fifty, by their ids: a fixed set that can be checked.
    Hosts(Vec<InstanceId>),
    /// More than SSM takes by id: the whole group, by the tag that Auto Scaling gives its
    /// instances.
    Group,
}

/// What one look at the inputs came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// To be made now, all at once; their answers belong into the inputs. None: the pass is over.
    pub calls: Vec<Call>,
    pub because: Reason,
}

/// Rounds of calls in one pass. The simulated rollouts take fewer, whatever goes wrong.
pub const ROUNDS: u32 = 50;

reasons! {
    /// The rule that bound.
    Reason {
        Looking => "AWS is read";
        Idle => "no rollout is in progress";
        StoredUnknown { source: Unknown } => "the stable pointer and the rollout's record could not be read from SSM's Parameter Store, so nothing is done: {}", source.detail;
        SsmUnknown { source: Unknown } => "SSM Run Command could not be read, so nothing is done: {}", source.detail;
        GroupUnknown { source: Unknown } => "the Auto Scaling group could not be read, so nothing is done: {}", source.detail;
        CallFailed { detail: String } => "a call that changes something failed, and the next pass reads everything again: {detail}";
        OutOfRounds { rounds: u32, open: u32 } => "the pass stopped after {rounds} rounds of calls with {open} calls still to make; the next pass goes on";
        Rebuilt { id: CommandId } => "the record of rollout {id} was lost and is written again from its first command";
        NotListed { sent_s: i64 } => "a command was sent {sent_s} s ago, and SSM does not list it yet";
        Found { id: CommandId } => "the command that an earlier pass was about to send is {id}";
        NeverSent { step: Step } => "the {step:?} command that an earlier pass was about to send was never sent";
        Abandoned => "the rollout was recorded and its first command never sent, and nobody repeated the request: the record is closed";
        Asking => "every host in service is asked what it runs";
        Asked { open: u32 } => "{open} hosts have not answered yet what they run";
        Running { open: u32, waiting: u32, of: u32 } => "{open} of {of} hosts hold an order that has not ended; {waiting} of them wait for their running job";
        PausedByOperator { open: u32 } => "an operator paused the rollout: no new order is sent, and {open} hosts finish theirs";
        TakingBack { hosts: u32 } => "the orders of {hosts} hosts that wait for a job are taken back, and their intakes open again";
        Paused { wait_s: i64 } => "the next command goes out in {wait_s} s at the earliest";
        Missing { hosts: u32 } => "{hosts} hosts in service lack the version, and they or their SSM agents do not answer yet";
        Booting { hosts: u32 } => "{hosts} instances still boot and may have read the former stable version";
        Ordering { hosts: u32, attempt: u8 } => "{hosts} hosts are ordered to run the version when their job ends, attempt {attempt} of 3";
        Failing => "the version failed on a host: no other host gets it, and those that may run it go back";
        Judging { hosts: u32, at_most_s: u32 } => "{hosts} hosts proved the version: from now on, for {at_most_s} s at most, it is judged by their jobs";
        Baking { wait_s: i64, jobs: String } => "no other host gets the version before its jobs speak for it, for {wait_s} s more at most: {jobs}";
        Passed { jobs: String } => "the version's jobs do not fail more often than usual, so other hosts get it: {jobs}";
        PassedByOperator { jobs: String } => "the version's jobs did not suffice for a verdict, and a person let the rollout go on: {jobs}";
        NeedsDecision { jobs: String } => "the time to judge the version is up, and its jobs do not suffice for a verdict: continue the rollout, or cancel it and roll back; {jobs}";
        Watching { wait_s: i64, jobs: String } => "every host runs the version, and its jobs are judged for {wait_s} s more: {jobs}";
        FailsJobs { outcomes: Outcomes } => "the version fails more jobs than usual, so no other host gets it, and those that may run it go back: {outcomes}";
        AlarmFired { alarm: FiredAlarm } => "no other host gets the version, and those that may run it go back: {alarm}";
        AlarmsUnknown { source: Unknown } => "whether an alarm fires that stops the rollout is unknown, so no host gets a new order: {}", source.detail;
        Undo { hosts: u32, attempt: u8 } => "{hosts} hosts that may run the failed version are ordered back to the version before, attempt {attempt} of 3";
        StableMoves { hosts: u32 } => "{hosts} hosts proved the version and none failed: the stable pointer moves to it, and new instances boot to it";
        StableReverts => "the version failed after the stable pointer had moved to it: the pointer goes back to the version before";
        Proven { hosts: u32 } => "all {hosts} hosts in service proved the version";
        Over { state: State } => "the rollout ended as {state:?}";
        WebhookTaken => "VALET answered the deploy webhook with 2xx";
        WebhookPending => "the deploy webhook of the stable version is sent to VALET";
        WebhookFailed { detail: String } => "VALET did not take the deploy webhook, and it is sent again with the next pass: {detail}";
        Sent => "a command was sent";
    }
}
