//! What is to be done next, and why.

use super::{Call, Step};
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

reasons! {
    /// The rule that bound.
    Reason {
        Looking => "it is looked at";
        Idle => "no rollout is in progress";
        KeptUnknown { source: Unknown } => "what is kept could not be read, so nothing is done: {}", source.detail;
        SsmUnknown { source: Unknown } => "SSM's commands could not be read, so nothing is done: {}", source.detail;
        GroupUnknown { source: Unknown } => "the group could not be read, so nothing is done: {}", source.detail;
        Trouble { detail: String } => "a change failed, and the next pass looks anew: {detail}";
        Rebuilt { id: CommandId } => "the record of {id} was lost; it is made anew from its command";
        NotListed { sent_s: i64 } => "a command was to be sent {sent_s} s ago and is not listed yet";
        Found { id: CommandId } => "the command that was about to be sent is {id}";
        NeverSent { step: Step } => "the {step:?} command that was about to be sent never was";
        Abandoned => "it was reserved and never sent, and nobody asked again";
        Running { open: u32, of: u32 } => "{open} of {of} hosts have not answered yet";
        Cancelling => "it is being cancelled";
        Paused { wait_s: i64 } => "the next order goes out in {wait_s} s at the earliest";
        Missing { hosts: u32 } => "{hosts} hosts in service have to be asked, and their agents are not online yet";
        Booting { hosts: u32 } => "{hosts} instances still boot; they may have begun with the version before";
        Sweep { hosts: u32, round: u8 } => "{hosts} hosts lack the version for reasons that are not the version: they are asked again, round {round} of 3";
        Undo { hosts: u32, round: u8 } => "the version failed, so the {hosts} hosts that may run it go back, round {round} of 3";
        Proven { hosts: u32 } => "all {hosts} hosts in service proved the version: it is stable now";
        Over { state: State } => "it is over: {state:?}";
        Told => "VALET has taken the news";
        Telling => "VALET is told of the stable version";
        TellFailed { detail: String } => "VALET did not take the news, and is told again: {detail}";
        Sent => "a command was sent";
    }
}
