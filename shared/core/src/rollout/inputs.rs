//! What one pass was told and has seen so far.

use super::Targets;
use super::{Command, Invocation, Members, Pace, Record, RolloutOrder, Stable};
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything a pass depends on: with the same inputs it decides the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Whether VALET is told of a new stable version.
    pub webhook: bool,
    /// The function's clock when the pass began.
    pub now: UnixMs,
    /// The command that an event named. It is where to look, and never a fact.
    pub hint: Option<CommandId>,
    pub seen: Seen,
}

/// The answers so far. `None` is a question that was not asked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub stored: Option<Reading<StoredState>>,
    /// How often they were read in this pass.
    pub looks: u32,
    /// Our newest commands, whoever sent them.
    pub recent: Option<Reading<Vec<Command>>>,
    /// `Known(None)`: SSM lists no such command, or not yet.
    pub commands: BTreeMap<CommandId, Reading<Option<Evidence>>>,
    pub members: Option<Reading<Members>>,
    /// Who has an agent, and whether it is online.
    pub managed: Option<Reading<BTreeMap<InstanceId, bool>>>,
    /// The record in memory is ahead of the one that is stored.
    pub unsaved: bool,
    /// This pass wrote down that it is about to send a command.
    pub intended: bool,
    pub sent: Option<SendResult>,
    pub lock: Option<LockResult>,
    pub webhook_call: Option<WebhookCall>,
    /// Commands that this pass cancelled.
    pub cancelled: Vec<CommandId>,
    /// A change that failed. The pass ends, and the next one looks anew.
    pub call_error: Option<String>,
}

/// What VALET said to the news of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookCall {
    /// The rollout that proved it.
    pub id: Option<CommandId>,
    pub result: CallResult,
    /// The parameters were read since.
    pub reread: bool,
}

/// The three parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredState {
    pub record: Option<Record>,
    /// The version of the record's parameter: whoever writes it learns whether somebody else did
    /// meanwhile.
    pub version: i64,
    pub stable: Option<Stable>,
    /// The rollout that somebody cancelled last. It is beside the record, so that a pass that
    /// writes what it read earlier takes no wish back.
    pub cancelled: Option<CommandId>,
}

/// A command and what came of it on each host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub command: Command,
    pub invocations: Vec<Invocation>,
}

/// One call, with no choices left in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// `GetParameters`
    ReadStored,
    /// `ListCommands` of our document
    ListRecent { since: UnixMs },
    /// `ListCommands` and `ListCommandInvocations` of one command
    ReadCommand { id: CommandId },
    /// `DescribeAutoScalingGroups`
    DescribeGroup,
    /// `DescribeInstanceInformation`
    DescribeManaged,
    /// `PutParameter` that fails where the record exists: the lock.
    CreateRecord { record: Box<Record> },
    /// `PutParameter`
    Write { record: Box<Record>, version: i64 },
    /// `DeleteParameter`
    Close,
    /// `PutParameter`
    WriteStable { stable: Box<Stable> },
    /// `SendCommand`
    Send(Box<Sending>),
    /// `PutParameter`: whoever drives this rollout takes it back.
    RequestCancel { id: CommandId },
    /// `CancelCommand`; without instances the whole command
    Cancel { id: CommandId, instances: Vec<InstanceId> },
    /// The deploy webhook
    SendWebhook { stable: Box<Stable> },
}

/// A command to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    pub order: RolloutOrder,
    pub image_tag: Option<ImageTag>,
    pub force: bool,
    pub targets: Targets,
    pub pace: Pace,
}

/// What a call that changes something came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum CallResult {
    Done,
    Failed { detail: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum SendResult {
    Sent {
        id: CommandId,
    },
    /// SSM said no: nothing was sent.
    Refused {
        detail: String,
    },
    /// There was no answer: it may have been sent.
    Lost {
        detail: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum LockResult {
    Acquired,
    /// Another rollout is in progress.
    Held,
    Failed {
        detail: String,
    },
}

/// The answer to one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Stored(Reading<StoredState>),
    Recent(Reading<Vec<Command>>),
    Command(CommandId, Reading<Option<Evidence>>),
    Members(Reading<Members>),
    Managed(Reading<BTreeMap<InstanceId, bool>>),
    RecordCreated(Box<Record>, LockResult),
    Written(Box<Record>, CallResult),
    Closed(CallResult),
    StableWritten(Box<Stable>, CallResult),
    Sent(SendResult),
    CancelRequested(CallResult),
    Cancelled(CommandId, CallResult),
    WebhookSent(Option<CommandId>, CallResult),
}

impl Inputs {
    /// A pass that has seen nothing yet.
    pub fn new(webhook: bool, now: UnixMs, hint: Option<CommandId>) -> Inputs {
        Inputs { webhook, now, hint, seen: Seen::default() }
    }
}

impl StoredState {
    /// Somebody cancelled this rollout.
    pub(super) fn is_cancelled(&self, record: &Record) -> bool {
        self.cancelled.is_some() && self.cancelled.as_ref() == record.id()
    }
}

impl Seen {
    /// Takes an answer in.
    pub fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Stored(stored) => {
                self.stored = Some(stored);
                self.looks += 1;
                if let Some(call) = &mut self.webhook_call {
                    call.reread = true;
                }
            }
            Answer::Recent(recent) => self.recent = Some(recent),
            Answer::Command(id, evidence) => drop(self.commands.insert(id, evidence)),
            Answer::Members(members) => self.members = Some(members),
            Answer::Managed(managed) => self.managed = Some(managed),
            Answer::RecordCreated(record, reserve) => {
                match &reserve {
                    LockResult::Acquired => self.write(Some(*record), 1),
                    LockResult::Held => {}
                    LockResult::Failed { detail } => self.call_error = Some(detail.clone()),
                }
                self.lock = Some(reserve);
            }
            Answer::Written(record, CallResult::Done) => {
                let version = self.stored().map_or(0, |stored| stored.version) + 1;
                self.intended = record.commands.iter().any(|sent| sent.id.is_none());
                self.unsaved = false;
                self.write(Some(*record), version);
            }
            Answer::Closed(CallResult::Done) => self.write(None, 0),
            Answer::StableWritten(stable, CallResult::Done) => {
                if let Some(Reading::Known(stored)) = &mut self.stored {
                    stored.stable = Some(*stable);
                }
            }
            Answer::Sent(sent) => {
                match &sent {
                    SendResult::Sent { id } => self.name(id),
                    SendResult::Refused { detail } | SendResult::Lost { detail } => {
                        self.call_error = Some(detail.clone());
                    }
                }
                self.intended = false;
                self.sent = Some(sent);
            }
            Answer::Cancelled(id, done) => {
                self.cancelled.push(id);
                if let CallResult::Failed { detail } = done {
                    self.call_error = Some(detail);
                }
            }
            Answer::WebhookSent(id, result) => {
                self.webhook_call = Some(WebhookCall { id, result, reread: false })
            }
            Answer::CancelRequested(CallResult::Done) => {}
            Answer::CancelRequested(CallResult::Failed { detail })
            | Answer::Written(_, CallResult::Failed { detail })
            | Answer::Closed(CallResult::Failed { detail })
            | Answer::StableWritten(_, CallResult::Failed { detail }) => {
                self.call_error = Some(detail)
            }
        }
    }

    /// The parameters, once they are known.
    pub fn stored(&self) -> Option<&StoredState> {
        self.stored.as_ref().and_then(Reading::known)
    }

    fn write(&mut self, record: Option<Record>, version: i64) {
        if let Some(Reading::Known(stored)) = &mut self.stored {
            stored.record = record;
            stored.version = version;
        }
    }

    /// The command that was intended has its id.
    fn name(&mut self, id: &CommandId) {
        let Some(Reading::Known(StoredState { record: Some(record), .. })) = &mut self.stored
        else {
            return;
        };
        if let Some(sent) = record.commands.iter_mut().find(|sent| sent.id.is_none()) {
            sent.id = Some(id.clone());
            self.unsaved = true;
        }
    }
}
