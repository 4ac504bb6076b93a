//! Drives the rollout in progress: find its commands, look what became of them, and take the next
//! step.

use super::host::Standing;
use super::next::{Case, Next, targets};
use super::view::{Known, View};
use super::{
    Call, CallResult, Decision, Ended, Evidence, Host, Inputs, Pace, Part, Reason, Record,
    RolloutOrder, Sending, Sent, Stable, State, Step, StoredState, WebhookCall,
};
use crate::count::count;
use crate::run_command::CommandStatus;
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::reading::Reading;
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;

/// A command that was sent may be missing from SSM's lists for this long.
pub(super) const UNLISTED_S: u32 = 30;
/// Whoever reserved a rollout and died is waited for this long.
const ABANDONED_S: u32 = 300;
/// Between two commands of a rollout: whatever kept a host from the first may need a moment.
const PAUSE_S: u32 = 5;
/// So many hosts that no command could be sent to are remembered by name.
const UNREACHED: usize = 10;
/// The event of an older command does not bring a rollout back.
const REBUILD_S: u32 = 86_400;

/// Decides what to ask or to do next; see the module for the whole.
pub fn decide(inputs: &Inputs) -> Decision {
    let seen = &inputs.seen;
    if let Some(detail) = &seen.call_error {
        return over(Reason::CallFailed { detail: detail.clone() });
    }
    let stored = match &seen.stored {
        None => return one(Call::ReadStored, Reason::Looking),
        Some(Reading::Unknown(source)) => {
            return over(Reason::StoredUnknown { source: source.clone() });
        }
        Some(Reading::Known(stored)) => stored,
    };
    let pass = Pass { inputs, stored };
    if let Some(call) = &seen.webhook_call {
        return pass.after_webhook(call);
    }
    match &stored.record {
        Some(record) => pass.drive(record),
        None => pass.idle(),
    }
}

fn over(because: Reason) -> Decision {
    Decision { calls: Vec::new(), because }
}

fn one(call: Call, because: Reason) -> Decision {
    Decision { calls: vec![call], because }
}

struct Pass<'a> {
    inputs: &'a Inputs,
    stored: &'a StoredState,
}

impl Pass<'_> {
    fn idle(&self) -> Decision {
        let Some(hint) = self.inputs.hint.as_ref().filter(|hint| !self.is_over(hint)) else {
            return self.rest(Reason::Idle);
        };
        match self.inputs.seen.commands.get(hint) {
            None => one(Call::ReadCommand { id: hint.clone() }, Reason::Looking),
            Some(Reading::Unknown(source)) => over(Reason::SsmUnknown { source: source.clone() }),
            Some(Reading::Known(evidence)) => match evidence.as_ref().and_then(|e| self.rebuilt(e))
            {
                Some(record) if self.inputs.seen.lock.is_none() => one(
                    Call::CreateRecord { record: Box::new(record) },
                    Reason::Rebuilt { id: hint.clone() },
                ),
                _ => self.rest(Reason::Idle),
            },
        }
    }

    fn is_over(&self, id: &CommandId) -> bool {
        let over = |stable: &Stable| {
            stable.pointer.deployment_id.as_ref() == Some(id) || stable.ended(id).is_some()
        };
        self.stored.stable.as_ref().is_some_and(over)
    }

    /// The record of a rollout that lost it; not of one that a person cancelled, for then there is
    /// nothing left to drive.
    fn rebuilt(&self, root: &Evidence) -> Option<Record> {
        let command = &root.command;
        let old = self.inputs.now >= command.requested.plus_seconds(REBUILD_S);
        if old || command.status == CommandStatus::Cancelled {
            return None;
        }
        Record::rebuild(command, self.stored.stable.as_ref(), self.inputs.now)
    }

    /// Nothing is left to do, but perhaps something to tell.
    fn rest(&self, because: Reason) -> Decision {
        let webhook_pending = self
            .stored
            .stable
            .as_ref()
            .filter(|stable| stable.webhook_pending && self.inputs.webhook);
        let Some(stable) = webhook_pending else { return over(because) };
        one(Call::SendWebhook { stable: Box::new(stable.clone()) }, Reason::WebhookPending)
    }

    /// VALET was told, which may have taken long: only what was read since is written back, and the
    /// pass is over.
    fn after_webhook(&self, call: &WebhookCall) -> Decision {
        if let CallResult::Failed { detail } = &call.result {
            return over(Reason::WebhookFailed { detail: detail.clone() });
        }
        if !call.reread {
            return one(Call::ReadStored, Reason::WebhookPending);
        }
        let stable = self.stored.stable.as_ref();
        match stable
            .filter(|stable| stable.webhook_pending && stable.pointer.deployment_id == call.id)
        {
            Some(stable) => {
                let told = Stable { webhook_pending: false, ..stable.clone() };
                one(Call::WriteStable { stable: Box::new(told) }, Reason::WebhookPending)
            }
            None => over(Reason::WebhookTaken),
        }
    }

    fn drive(&self, record: &Record) -> Decision {
        let seen = &self.inputs.seen;
        if seen.unsaved {
            return self.write(record.clone(), Reason::Sent);
        }
        if seen.sent.is_some() {
            return self.rest(Reason::Sent);
        }
        if let Some(intent) = record.commands.iter().find(|sent| sent.id.is_none())
            && !seen.intended
        {
            return self.find(record, intent);
        }
        let calls = self.questions(record);
        if !calls.is_empty() {
            return Decision { calls, because: Reason::Looking };
        }
        let mut commands = Vec::new();
        for sent in &record.commands {
            let reading = sent.id.as_ref().and_then(|id| seen.commands.get(id));
            match reading {
                Some(Reading::Unknown(source)) => {
                    return over(Reason::SsmUnknown { source: source.clone() });
                }
                Some(Reading::Known(None)) if self.age_s(sent) < i64::from(UNLISTED_S) => {
                    return self.rest(Reason::NotListed { sent_s: self.age_s(sent) });
                }
                Some(Reading::Known(Some(evidence))) => commands.push((sent.step, evidence)),
                Some(Reading::Known(None)) | None => {}
            }
        }
        let members = match &seen.members {
            Some(Reading::Known(members)) => members,
            Some(Reading::Unknown(source)) => {
                return over(Reason::GroupUnknown { source: source.clone() });
            }
            None => return over(Reason::Looking),
        };
        let view = View::of(&Known {
            kind: record.kind,
            image_tag: Some(&record.image_tag),
            before: record.before.as_ref(),
            expected: &record.expected,
            commands: &commands,
            members: Some(members),
            over: false,
        });
        let live = |(_, evidence): &&(Step, &Evidence)| self.is_live(evidence);
        if let Some((_, evidence)) = commands.iter().find(live) {
            return self.attend(record, evidence, &view);
        }
        // What this pass has just written down does not count as done.
        let mut record = record.clone();
        record.commands.retain(|sent| sent.id.is_some());
        let stable = self.stored.stable.as_ref();
        let cancelled = self.stored.is_cancelled(&record);
        let now = self.inputs.now;
        let case = Case { record: &record, stable, view: &view, members, cancelled, now };
        let managed = match &seen.managed {
            Some(Reading::Unknown(source)) => {
                return over(Reason::SsmUnknown { source: source.clone() });
            }
            Some(Reading::Known(managed)) => Some(managed),
            None => None,
        };
        match case.next(managed) {
            None => one(Call::DescribeManaged, Reason::Looking),
            Some(Next::Wait { booting }) => self.rest(Reason::Booting { hosts: booting }),
            Some(Next::Miss { hosts }) if record.missed.is_none() => {
                let missed = Record { missed: Some(now), ..record };
                self.write(missed, Reason::Missing { hosts })
            }
            Some(Next::Miss { hosts }) => self.rest(Reason::Missing { hosts }),
            Some(Next::Send { step, round, hosts }) => self.send(&record, step, round, hosts),
            Some(Next::MoveStable { hosts }) => self.move_stable(&record, &view, hosts),
            Some(Next::End(state)) => self.end(&record, &view, state),
        }
    }

    fn age_s(&self, sent: &Sent) -> i64 {
        self.inputs.now.since(sent.at) / 1000
    }

    fn write(&self, record: Record, because: Reason) -> Decision {
        one(Call::Write { record: Box::new(record), version: self.stored.version }, because)
    }

    /// Looks for the command that somebody was about to send.
    fn find(&self, record: &Record, intent: &Sent) -> Decision {
        let recent = match &self.inputs.seen.recent {
            None => {
                let since = UnixMs(intent.at.0 - 120_000);
                return one(Call::ListRecent { since }, Reason::Looking);
            }
            Some(Reading::Unknown(source)) => {
                return over(Reason::SsmUnknown { source: source.clone() });
            }
            Some(Reading::Known(recent)) => recent,
        };
        let is_it = |order: &RolloutOrder| match (&order.part, intent.step) {
            (Part::Root { key, .. }, Step::Apply) => *key == record.key,
            (Part::Later { step, round, of }, _) => {
                *step == intent.step && *round == intent.round && Some(of) == record.id()
            }
            _ => false,
        };
        let mut named = record.clone();
        let place = named.commands.iter().position(|sent| sent == intent);
        if let Some(found) = recent.iter().find(|command| is_it(&command.order)) {
            if let Some(place) = place {
                named.commands[place].id = Some(found.id.clone());
            }
            return self.write(named, Reason::Found { id: found.id.clone() });
        }
        let sent_s = self.age_s(intent);
        let patience = if intent.step == Step::Apply { ABANDONED_S } else { UNLISTED_S };
        if sent_s < i64::from(patience) {
            self.rest(Reason::NotListed { sent_s })
        } else if intent.step == Step::Apply {
            one(Call::Close, Reason::Abandoned)
        } else {
            named.commands.retain(|sent| sent.id.is_some());
            self.write(named, Reason::NeverSent { step: intent.step })
        }
    }

    /// What has to be known before anything is decided.
    fn questions(&self, record: &Record) -> Vec<Call> {
        let seen = &self.inputs.seen;
        let ids = record.commands.iter().filter_map(|sent| sent.id.as_ref());
        let unread = ids.filter(|id| !seen.commands.contains_key(*id));
        let mut calls: Vec<Call> = unread.map(|id| Call::ReadCommand { id: id.clone() }).collect();
        if seen.members.is_none() {
            calls.push(Call::DescribeGroup);
        }
        calls
    }

    /// Whether SSM still works on it. Hosts that left the group with the order in hand are not
    /// waited for: SSM hears of them in hours.
    fn is_live(&self, evidence: &Evidence) -> bool {
        let open = evidence.invocations.iter().filter(|invocation| invocation.status.is_live());
        let mut open = open.peekable();
        if !evidence.command.status.is_live() {
            return open.any(|invocation| self.is_here(&invocation.instance));
        }
        let all_listed = evidence.invocations.len() >= evidence.command.targets.len();
        !all_listed
            || open.peek().is_none()
            || open.any(|invocation| self.is_here(&invocation.instance))
    }

    fn is_here(&self, instance: &InstanceId) -> bool {
        let members = self.inputs.seen.members.as_ref().and_then(Reading::known);
        members
            .and_then(|members| members.get(instance))
            .is_some_and(|state| state.takes_rollouts())
    }

    /// It runs: nothing to do but to take back what nobody can carry out any more.
    fn attend(&self, record: &Record, evidence: &Evidence, view: &View) -> Decision {
        let id = &evidence.command.id;
        let live = evidence.command.status.is_live();
        let asked = self.inputs.seen.cancelled.contains(id);
        if live && !asked && self.stored.is_cancelled(record) {
            return one(Call::Cancel { id: id.clone(), instances: Vec::new() }, Reason::Cancelling);
        }
        let gone = evidence.invocations.iter().filter(|invocation| {
            invocation.status.is_live()
                && invocation.detail != "Cancelling"
                && !self.is_here(&invocation.instance)
        });
        let gone: Vec<InstanceId> = gone.map(|invocation| invocation.instance.clone()).collect();
        let open = count(view.hosts.iter().filter(|host| host.standing == Standing::Open));
        let because = Reason::Running { open, of: count(view.hosts.iter()) };
        if live && !asked && !gone.is_empty() {
            return one(Call::Cancel { id: id.clone(), instances: gone }, because);
        }
        self.rest(because)
    }

    /// Writes down what is about to be sent, and then sends it: a pass that dies in between leaves
    /// a trace of what it may have sent.
    fn send(&self, record: &Record, step: Step, round: u8, hosts: Vec<InstanceId>) -> Decision {
        let hosts_n = count(hosts.iter());
        let (because, tag) = match step {
            Step::Undo => (Reason::Undo { hosts: hosts_n, round }, record.before.as_ref()),
            Step::Apply | Step::Sweep => {
                (Reason::Sweep { hosts: hosts_n, round }, Some(&record.image_tag))
            }
        };
        let Some(root) = record.id() else { return over(Reason::Looking) };
        if self.inputs.seen.intended {
            let part = Part::Later { step, round, of: root.clone() };
            // Going back is not stopped by a host that cannot.
            let mut pace = Pace::of(record.strategy, hosts_n);
            if step == Step::Undo {
                pace.max_errors = hosts_n;
            }
            let sending = Sending {
                order: RolloutOrder { kind: record.kind, strategy: record.strategy, part },
                image_tag: tag.cloned(),
                force: record.force,
                targets: targets(hosts),
                pace,
            };
            return one(Call::Send(Box::new(sending)), because);
        }
        let wait_s = record.commands.last().map_or(0, |last| i64::from(PAUSE_S) - self.age_s(last));
        if wait_s > 0 && step == Step::Sweep {
            return self.rest(Reason::Paused { wait_s });
        }
        let mut intended = record.clone();
        intended.commands.push(Sent { step, round, id: None, at: self.inputs.now });
        self.write(intended, because)
    }

    fn move_stable(&self, record: &Record, view: &View, hosts: u32) -> Decision {
        let Some(ended) = self.ended(record, view, State::Succeeded) else {
            return over(Reason::Looking);
        };
        let old = self.stored.stable.as_ref();
        let stable = Stable {
            pointer: StablePointer {
                image_tag: record.image_tag.clone(),
                // Hosts that prove different digests under one tag prove no digest.
                digest: match view.digests.as_slice() {
                    [digest] => Some(digest.clone()),
                    _ => None,
                },
                deployment_id: Some(ended.id.clone()),
                at: Some(moment(self.inputs.now)),
                before: before(record, old),
            },
            kind: record.kind,
            webhook_pending: self.inputs.webhook,
            ended: old.map(|old| old.ended.clone()).unwrap_or_default(),
        };
        one(Call::WriteStable { stable: Box::new(stable.with(ended)) }, Reason::Proven { hosts })
    }

    /// Remembers what it came to, and lets the next rollout in.
    fn end(&self, record: &Record, view: &View, state: State) -> Decision {
        let because = Reason::Over { state };
        let (Some(stable), Some(ended)) = (&self.stored.stable, self.ended(record, view, state))
        else {
            return one(Call::Close, because);
        };
        if stable.ended(&ended.id) == Some(&ended) {
            return one(Call::Close, because);
        }
        one(Call::WriteStable { stable: Box::new(stable.with(ended)) }, because)
    }

    fn ended(&self, record: &Record, view: &View, state: State) -> Option<Ended> {
        let id = record.id()?.clone();
        let known = self.stored.stable.as_ref().and_then(|stable| stable.ended(&id));
        let later = record.commands.iter().skip(1).filter(|sent| sent.id.is_some());
        let unreached = |host: &&Host| host.was_never_sent();
        Some(Ended {
            key: record.key.clone(),
            state,
            at: known.map_or(self.inputs.now, |known| known.at),
            then: later.cloned().collect(),
            unreached: view
                .live()
                .filter(unreached)
                .take(UNREACHED)
                .map(|host| host.instance_id.clone())
                .collect(),
            id,
        })
    }
}

/// The version to go back to from the new one: deploying the same version twice does not forget the
/// one before it.
fn before(record: &Record, old: Option<&Stable>) -> Option<ImageTag> {
    match old {
        Some(old) if old.pointer.image_tag == record.image_tag => old.pointer.before.clone(),
        Some(old) => Some(old.pointer.image_tag.clone()),
        None => None,
    }
}

fn moment(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| format!("{} ms", at.0), |at| at.to_string())
}
