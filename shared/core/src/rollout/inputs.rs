//! What one pass was told and has seen so far.

use super::Targets;
use super::{
    Command, FiredAlarm, Invocation, Limits, Members, OrderId, Outcomes, Record, RolloutOrder,
    Stable,
};
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
    #[serde(default)]
    pub limits: Limits,
    /// The CloudWatch alarms that stop a rollout when they fire.
    #[serde(default)]
    pub alarms: Vec<String>,
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
    /// Nothing was asked since they were read last.
    pub fresh: bool,
    /// Our newest commands, whoever sent them.
    pub recent: Option<Reading<Vec<Command>>>,
    /// `Known(None)`: SSM lists no such command, or not yet.
    pub commands: BTreeMap<CommandId, Reading<Option<Evidence>>>,
    pub members: Option<Reading<Members>>,
    /// Who has an agent, and whether it is online.
    pub managed: Option<Reading<BTreeMap<InstanceId, bool>>>,
    /// Those of [`Inputs::alarms`] that fire.
    #[serde(default)]
    pub alarms: Option<Reading<Vec<FiredAlarm>>>,
    /// The record in memory is ahead of the one that is stored.
    pub unsaved: bool,
    /// This pass wrote down that it is about to send a command.
    pub intended: bool,
    pub sent: Option<SendResult>,
    pub lock: Option<LockResult>,
    pub webhook_call: Option<WebhookCall>,
    /// A change that failed. The pass ends, and the next one looks anew.
    pub call_error: Option<String>,
}

/// What VALET said to the deploy webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookCall {
    /// The rollout that proved the version.
    pub id: Option<CommandId>,
    pub result: CallResult,
    /// The parameters were read since.
    pub reread: bool,
}

/// The parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredState {
    /// Records take turns: a rollout's is in the slot of its number, even or odd.
    pub slots: [Slot; 2],
    pub stable: Option<Stable>,
    /// The version of the pointer's parameter.
    pub stable_version: i64,
    /// The rollout that somebody cancelled last. It is beside the record, so that a pass that
    /// writes what it read earlier takes no wish back.
    pub cancelled: Option<CommandId>,
    /// The rollout that somebody paused, likewise.
    pub paused: Option<CommandId>,
    /// The rollout that somebody let go on last, and when. It takes the place of a pause.
    #[serde(default)]
    pub continued: Option<(CommandId, UnixMs)>,
    /// How jobs end, as the autoscale function counted them last.
    #[serde(default)]
    pub outcomes: Option<Outcomes>,
}

/// One parameter for records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub record: Option<Record>,
    /// The parameter's version, 0 where there is none: whoever writes it learns whether somebody
    /// else did meanwhile.
    pub version: i64,
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
    /// `DescribeAlarms` of CloudWatch
    DescribeAlarms { names: Vec<String> },
    /// `PutParameter`: the lock, which is ours if nobody wrote since `version`.
    CreateRecord { record: Box<Record>, version: i64 },
    /// `PutParameter`, to the slot of the record's number
    Write { record: Box<Record>, version: i64 },
    /// `PutParameter`
    WriteStable { stable: Box<Stable>, version: i64 },
    /// `SendCommand`
    Send(Box<Sending>),
    /// `PutParameter`: whoever drives this rollout takes it back.
    RequestCancel { id: CommandId },
    /// `PutParameter`: whoever drives this rollout sends no new order.
    RequestPause { id: CommandId },
    /// `PutParameter`, the same: it goes on, by the word of a person at this moment.
    RequestContinue { id: CommandId, at: UnixMs },
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
    /// What its hosts call it.
    pub host_order: Option<OrderId>,
    /// How long that order waits for the running job, in seconds.
    pub job_limit_s: Option<u32>,
    pub targets: Targets,
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
    /// Somebody else wrote meanwhile.
    Held,
    Failed {
        detail: String,
    },
}

/// The answer to one call.
#[expect(clippy::large_enum_variant, reason = "few are held at a time, and only for a moment")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Stored(Reading<StoredState>),
    Recent(Reading<Vec<Command>>),
    Command(CommandId, Reading<Option<Evidence>>),
    Members(Reading<Members>),
    Managed(Reading<BTreeMap<InstanceId, bool>>),
    Alarms(Reading<Vec<FiredAlarm>>),
    RecordCreated(Box<Record>, LockResult),
    Written(Box<Record>, CallResult),
    StableWritten(Box<Stable>, CallResult),
    Sent(SendResult),
    CancelRequested(CallResult),
    PauseRequested(CallResult),
    Cancelled(CommandId, CallResult),
    WebhookSent(Option<CommandId>, CallResult),
}

impl Inputs {
    /// A pass that has seen nothing yet.
    #[must_use]
    pub fn new(webhook: bool, limits: Limits, now: UnixMs, hint: Option<CommandId>) -> Inputs {
        Inputs { webhook, limits, alarms: Vec::new(), now, hint, seen: Seen::default() }
    }
}

impl StoredState {
    /// The parameters as they were read. The pointer's and the records' versions tell what is
    /// newer.
    #[must_use]
    pub fn new(slots: [Slot; 2], stable: Option<Stable>, stable_version: i64) -> StoredState {
        StoredState {
            slots,
            stable,
            stable_version,
            cancelled: None,
            paused: None,
            continued: None,
            outcomes: None,
        }
    }

    /// The record of the newest rollout, which may be over.
    #[must_use]
    pub fn newest(&self) -> Option<&Record> {
        self.slots.iter().filter_map(|slot| slot.record.as_ref()).max_by_key(|record| record.number)
    }

    /// The rollout in progress.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.newest().filter(|record| record.over.is_none())
    }

    /// The number of the next rollout.
    pub(super) fn next_number(&self) -> u32 {
        self.newest().map_or(1, |record| record.number.saturating_add(1))
    }

    /// The version of the parameter that a record of this number is written to.
    #[must_use]
    pub fn version(&self, number: u32) -> i64 {
        self.slots[slot(number)].version
    }

    /// Somebody cancelled this rollout.
    pub(super) fn is_cancelled(&self, record: &Record) -> bool {
        self.cancelled.is_some() && self.cancelled.as_ref() == record.id()
    }

    /// Somebody paused this rollout.
    pub(super) fn is_paused(&self, record: &Record) -> bool {
        self.paused.is_some() && self.paused.as_ref() == record.id()
    }

    /// When somebody let this rollout go on.
    pub(super) fn continued(&self, record: &Record) -> Option<UnixMs> {
        let ours = |(id, at): &(CommandId, UnixMs)| (Some(id) == record.id()).then_some(*at);
        self.continued.as_ref().and_then(ours)
    }

    /// A person has to say whether this rollout goes on: its canary's jobs do not.
    #[must_use]
    pub fn needs_decision(&self, record: &Record, limits: &Limits, now: UnixMs) -> bool {
        record.needs_decision(limits, self.outcomes_of(record), self.continued(record), now)
    }

    /// The numbers of this rollout's trial under way, and of no other.
    pub(super) fn outcomes_of(&self, record: &Record) -> Option<&Outcomes> {
        let trial = record.trial_to_count()?;
        self.outcomes.as_ref().filter(|outcomes| outcomes.are_of(record.id(), trial))
    }

    fn put(&mut self, record: Record, version: i64) {
        let slot = slot(record.number);
        self.slots[slot] = Slot { record: Some(record), version };
    }

    /// What is known after another read: SSM may answer with what was there before a write.
    fn merged(self, read: StoredState) -> StoredState {
        // Of one version, memory may be ahead by the id of a command that was just sent.
        let newer =
            |known: Slot, read: Slot| if known.version >= read.version { known } else { read };
        let [even, odd] = self.slots;
        let [read_even, read_odd] = read.slots;
        let stale = self.stable_version > read.stable_version;
        StoredState {
            slots: [newer(even, read_even), newer(odd, read_odd)],
            stable: if stale { self.stable } else { read.stable },
            stable_version: self.stable_version.max(read.stable_version),
            cancelled: read.cancelled,
            paused: read.paused,
            continued: read.continued,
            outcomes: read.outcomes,
        }
    }
}

/// Which of the two parameters a record of this number is written to.
#[must_use]
pub fn slot(number: u32) -> usize {
    usize::from(!number.is_multiple_of(2))
}

impl Seen {
    /// Takes an answer in.
    pub fn take(&mut self, answer: Answer) {
        self.fresh = matches!(answer, Answer::Stored(Reading::Known(_)));
        match answer {
            Answer::Stored(read) => {
                self.stored = Some(match (self.stored.take(), read) {
                    (Some(Reading::Known(known)), Reading::Known(read)) => {
                        Reading::Known(known.merged(read))
                    }
                    (_, read) => read,
                });
                self.looks += 1;
                if let Some(call) = &mut self.webhook_call {
                    call.reread = true;
                }
            }
            Answer::Recent(recent) => self.recent = Some(recent),
            Answer::Command(id, evidence) => drop(self.commands.insert(id, evidence)),
            Answer::Members(members) => self.members = Some(members),
            Answer::Managed(managed) => self.managed = Some(managed),
            Answer::Alarms(alarms) => self.alarms = Some(alarms),
            Answer::RecordCreated(record, lock) => {
                match &lock {
                    LockResult::Acquired => self.write(*record),
                    LockResult::Held => {}
                    LockResult::Failed { detail } => self.call_error = Some(detail.clone()),
                }
                self.lock = Some(lock);
            }
            Answer::Written(record, CallResult::Done) => {
                self.intended = record.commands.iter().any(|sent| sent.id.is_none());
                self.unsaved = false;
                self.write(*record);
            }
            Answer::StableWritten(stable, CallResult::Done) => {
                if let Some(Reading::Known(stored)) = &mut self.stored {
                    stored.stable = Some(*stable);
                    stored.stable_version += 1;
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
            Answer::WebhookSent(id, result) => {
                self.webhook_call = Some(WebhookCall { id, result, reread: false });
            }
            Answer::CancelRequested(CallResult::Done)
            | Answer::PauseRequested(CallResult::Done)
            | Answer::Cancelled(_, CallResult::Done) => {}
            Answer::CancelRequested(CallResult::Failed { detail })
            | Answer::PauseRequested(CallResult::Failed { detail })
            | Answer::Cancelled(_, CallResult::Failed { detail })
            | Answer::Written(_, CallResult::Failed { detail })
            | Answer::StableWritten(_, CallResult::Failed { detail }) => {
                self.call_error = Some(detail);
            }
        }
    }

    /// The parameters, once they are known.
    pub fn stored(&self) -> Option<&StoredState> {
        self.stored.as_ref().and_then(Reading::known)
    }

    fn write(&mut self, record: Record) {
        if let Some(Reading::Known(stored)) = &mut self.stored {
            let version = stored.version(record.number) + 1;
            stored.put(record, version);
        }
    }

    /// The command that was intended has its id.
    fn name(&mut self, id: &CommandId) {
        let Some(Reading::Known(stored)) = &mut self.stored else { return };
        let Some(mut record) = stored.record().cloned() else { return };
        if record.name(id) {
            let version = stored.version(record.number);
            stored.put(record, version);
            self.unsaved = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Key, Kind, Step, Strategy};

    fn record(number: u32, commands: usize) -> Record {
        let sent = |n| super::super::Sent {
            step: Step::Survey,
            round: u16::try_from(n).unwrap(),
            id: Some(CommandId::new(format!("c-{n}"))),
            at: UnixMs(1),
        };
        let (key, tag) = (Key::of_hash("abcdef012345"), ImageTag::parse("v2").unwrap());
        Record {
            commands: (0..commands).map(sent).collect(),
            ..Record::begun(number, key, Kind::Deploy, tag, Strategy::Canary, UnixMs(1))
        }
    }

    #[test]
    fn a_read_that_misses_what_was_just_written_is_not_believed() {
        let old = StoredState::new(
            [Slot::default(), Slot { record: Some(record(1, 1)), version: 4 }],
            None,
            7,
        );
        let mut seen = Seen::default();
        seen.take(Answer::Stored(Reading::Known(old.clone())));
        seen.take(Answer::Written(Box::new(record(1, 2)), CallResult::Done));
        seen.take(Answer::Stored(Reading::Known(old.clone())));
        let stored = seen.stored().unwrap();
        assert_eq!((stored.version(1), stored.record().unwrap().commands.len()), (5, 2));
        assert!(seen.fresh);
        let mut newer = old;
        newer.slots[1] = Slot { record: Some(record(1, 3)), version: 6 };
        seen.take(Answer::Stored(Reading::Known(newer)));
        assert_eq!(seen.stored().unwrap().record().unwrap().commands.len(), 3);
    }

    #[test]
    fn two_rollouts_in_a_row_have_different_parameters() {
        for number in 0..9 {
            assert_ne!(slot(number), slot(number + 1));
        }
    }
}
