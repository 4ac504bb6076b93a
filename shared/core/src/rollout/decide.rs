//! Drives the rollout in progress: read what its commands came to, ask the hosts again where that
//! is old, and take the next step.

use super::host::Progress;
use super::next::{Next, NextInputs};
use super::read::{Read, newest_survey, trim};
use super::record::LISTED;
use super::view::{Known, View};
use super::{
    Call, CallResult, Decision, Ended, Evidence, Inputs, OrderId, Part, Reason, Record,
    RolloutOrder, Sending, Sent, Stable, State, Step, StoredState, Targets, WebhookCall,
};
use crate::count::count;
use crate::run_command::CommandStatus;
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// A command that was sent may be missing from SSM's lists for this long.
pub(super) const UNLISTED_S: u32 = 30;
/// Whoever reserved a rollout and died is waited for this long.
const ABANDONED_S: u32 = 300;
/// A host that has not answered a question by then is passed over.
const ANSWER_S: u32 = 45;
/// Hosts that hold orders are asked again after this long.
const ASK_EVERY_S: u32 = 55;
/// Nothing is ordered on answers that are older.
const TOO_OLD_S: u32 = 150;
/// The event of an older command does not bring a rollout back.
const REBUILD_S: u32 = 86_400;

/// Decides what to ask or to do next; see the module for the whole.
#[must_use]
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
    match stored.record() {
        Some(record) => pass.drive(record),
        None => pass.idle(),
    }
}

pub(super) fn over(because: Reason) -> Decision {
    Decision { calls: Vec::new(), because }
}

fn one(call: Call, because: Reason) -> Decision {
    Decision { calls: vec![call], because }
}

pub(super) struct Pass<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) stored: &'a StoredState,
}

impl Pass<'_> {
    fn idle(&self) -> Decision {
        let Some(hint) = self.inputs.hint.as_ref().filter(|hint| !self.is_over(hint)) else {
            return self.rest(Reason::Idle);
        };
        match self.inputs.seen.commands.get(hint) {
            None => one(Call::ReadCommand { id: hint.clone() }, Reason::Looking),
            Some(Reading::Unknown(source)) => over(Reason::SsmUnknown { source: source.clone() }),
            Some(Reading::Known(evidence)) => match self.root(evidence.as_ref()) {
                Err(call) => one(call, Reason::Looking),
                Ok(root) => self.resume(root),
            },
        }
    }

    /// A rollout in progress whose record was lost gets it back.
    fn resume(&self, root: Option<&Evidence>) -> Decision {
        match root.and_then(|root| self.rebuilt(root)) {
            Some(record) if self.inputs.seen.lock.is_none() => {
                let version = self.stored.version(record.number);
                let id = record.id.clone().unwrap_or_else(|| CommandId::new("unknown"));
                let call = Call::CreateRecord { record: Box::new(record), version };
                one(call, Reason::Rebuilt { id })
            }
            _ => self.rest(Reason::Idle),
        }
    }
    /// The first command of the rollout that this one belongs to, or the call that reads it.
    fn root<'e>(&'e self, evidence: Option<&'e Evidence>) -> Result<Option<&'e Evidence>, Call> {
        let Some(evidence) = evidence else { return Ok(None) };
        match &evidence.command.order.part {
            Part::Root { .. } => Ok(Some(evidence)),
            Part::Later { of, .. } if self.is_over(of) => Ok(None),
            Part::Later { of, .. } => match self.inputs.seen.commands.get(of) {
                None => Err(Call::ReadCommand { id: of.clone() }),
                Some(reading) => Ok(reading.known().and_then(Option::as_ref)),
            },
        }
    }

    fn is_over(&self, id: &CommandId) -> bool {
        let known = |stable: &Stable| {
            stable.pointer.deployment_id.as_ref() == Some(id) || stable.ended(id).is_some()
        };
        self.stored.stable.as_ref().is_some_and(known)
            || self.stored.newest().is_some_and(|record| record.id() == Some(id))
    }

    /// The record of a rollout that lost it; not of one that a person cancelled, for then there is
    /// nothing left to drive.
    fn rebuilt(&self, root: &Evidence) -> Option<Record> {
        let command = &root.command;
        let old = self.inputs.now >= command.requested.plus_seconds(REBUILD_S);
        let cancelled = self.stored.cancelled.as_ref() == Some(&command.id);
        let ended = self.is_over(&command.id);
        if old || ended || cancelled || command.status == CommandStatus::Cancelled {
            return None;
        }
        let number = self.stored.next_number();
        Record::rebuild(command, self.stored.stable.as_ref(), number, self.inputs.now)
    }

    /// Nothing is left to do, but perhaps something to tell.
    fn rest(&self, because: Reason) -> Decision {
        let pending = self
            .stored
            .stable
            .as_ref()
            .filter(|stable| stable.webhook_pending && self.inputs.webhook);
        let Some(stable) = pending else { return over(because) };
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
                let taken = Stable { webhook_pending: false, ..stable.clone() };
                self.write_stable(taken, Reason::WebhookPending)
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
        // Another pass closed it, or was about to.
        if let Some(ended) = self.remembered(record)
            && ended.state != State::Succeeded
        {
            return self.close(record, ended.state);
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
        let read = match self.read(record) {
            Ok(read) => read,
            Err(decision) => return decision,
        };
        let members = match &seen.members {
            Some(Reading::Known(members)) => members,
            Some(Reading::Unknown(source)) => {
                return over(Reason::GroupUnknown { source: source.clone() });
            }
            None => return over(Reason::Looking),
        };
        let online = match &seen.managed {
            Some(Reading::Known(online)) => online,
            Some(Reading::Unknown(source)) => {
                return over(Reason::SsmUnknown { source: source.clone() });
            }
            None => return over(Reason::Looking),
        };
        // What this pass has just written down does not count as done.
        let mut record = record.clone();
        record.commands.retain(|sent| sent.id.is_some());
        let Some((sent, survey)) = newest_survey(&read) else {
            return self.survey(&record, online, Reason::Asking);
        };
        if let Some(open) = self.unanswered(sent, survey) {
            return self.rest(Reason::Asked { open });
        }
        let commands: Vec<(Step, &Evidence)> =
            read.iter().map(|(step, _, evidence)| (*step, *evidence)).collect();
        let view = View::of(&Known {
            kind: record.kind,
            key: Some(&record.key),
            image_tag: Some(&record.image_tag),
            before: record.before.as_ref(),
            expected: &record.expected,
            commands: &commands,
            members: Some(members),
            over: false,
        });
        let case = NextInputs {
            record: &record,
            stable: self.stored.stable.as_ref(),
            view: &view,
            members,
            online,
            limits: self.inputs.limits,
            cancelled: self.stored.is_cancelled(&record),
            paused: self.stored.is_paused(&record),
            continued: self.stored.continued(&record),
            outcomes: self.stored.outcomes_of(&record),
            alarms: record.heeds_alarms().then_some(seen.alarms.as_ref()).flatten(),
            asked: sent.at,
            now: self.inputs.now,
        };
        let age_s = self.age_s(sent);
        let next = case.next();
        let mut trimmed = trim(&record, &read, &view);
        let proven = view.count(Progress::Proven);
        if proven > record.proven || matches!(next, Next::Pause { .. }) {
            trimmed.proven = trimmed.proven.max(proven);
            trimmed.progress_at = Some(self.inputs.now);
        }
        let because = match next {
            Next::Send { .. }
            | Next::End(_)
            | Next::MoveStable { .. }
            | Next::Succeed { .. }
            | Next::Judge(_)
                if age_s > i64::from(TOO_OLD_S) =>
            {
                return self.survey(&trimmed, online, Reason::Asking);
            }
            Next::Send { step, attempt, hosts } => {
                return self.send(&trimmed, step, attempt, hosts);
            }
            Next::BeginUndo => {
                let progress_at = Some(self.inputs.now);
                let moved = case.is_moved();
                let failed_jobs = case.failed_jobs().cloned();
                let alarm = case.fired_alarm().filter(|_| failed_jobs.is_none()).cloned();
                let because = match (&failed_jobs, &alarm) {
                    (Some(outcomes), _) => Reason::FailsJobs { outcomes: outcomes.clone() },
                    (None, Some(alarm)) => Reason::AlarmFired { alarm: alarm.clone() },
                    (None, None) => Reason::Failing,
                };
                let undo = Record {
                    undo: true,
                    moved,
                    missed: None,
                    progress_at,
                    failed_jobs,
                    alarm,
                    ..trimmed
                };
                return self.write(undo, because);
            }
            Next::Judge(trial) => {
                let because = case.judged(&trial);
                let progress_at = Some(self.inputs.now);
                let judged = Record { trial: Some(trial), progress_at, ..trimmed };
                return self.write(judged, because);
            }
            Next::MoveStable { hosts } => return self.move_stable(&record, &view, hosts),
            Next::RevertStable => return self.revert_stable(&record),
            Next::Succeed { hosts } => return self.succeed(&trimmed, &view, hosts),
            Next::End(state) => return self.end(&trimmed, &view, state),
            Next::Miss { hosts } if record.missed.is_none() => {
                let missed = Record { missed: Some(self.inputs.now), ..trimmed };
                return self.write(missed, Reason::Missing { hosts });
            }
            Next::Miss { hosts } => Reason::Missing { hosts },
            Next::Run { open, waiting } => {
                Reason::Running { open, waiting, of: count(view.hosts.iter()) }
            }
            Next::Pause { open } => Reason::PausedByOperator { open },
            Next::Bake { wait_s } => Reason::Baking { wait_s, jobs: case.numbers() },
            Next::NeedDecision => Reason::NeedsDecision { jobs: case.numbers() },
            Next::Watch { wait_s } => Reason::Watching { wait_s, jobs: case.numbers() },
            Next::AwaitAlarms { source } => Reason::AlarmsUnknown { source },
            Next::Boot { booting } => Reason::Booting { hosts: booting },
            Next::Rest { wait_s } => Reason::Paused { wait_s },
        };
        if age_s >= i64::from(ASK_EVERY_S) {
            return self.survey(&trimmed, online, because);
        }
        self.rest(because)
    }

    fn remembered(&self, record: &Record) -> Option<&Ended> {
        self.stored.stable.as_ref()?.ended(record.id()?)
    }

    fn age_s(&self, sent: &Sent) -> i64 {
        self.inputs.now.since(sent.at) / 1000
    }

    fn write(&self, record: Record, because: Reason) -> Decision {
        let version = self.stored.version(record.number);
        self.guarded(Call::Write { record: Box::new(record), version }, because)
    }

    /// A pointer and a record are written on nothing older than what the call before has read.
    fn guarded(&self, call: Call, because: Reason) -> Decision {
        if self.inputs.seen.fresh { one(call, because) } else { one(Call::ReadStored, because) }
    }

    pub(super) fn write_stable(&self, stable: Stable, because: Reason) -> Decision {
        let version = self.stored.stable_version;
        self.guarded(Call::WriteStable { stable: Box::new(stable), version }, because)
    }

    pub(super) fn close(&self, record: &Record, state: State) -> Decision {
        let version = self.stored.version(record.number);
        let closed = Record { over: Some(state), ..record.clone() };
        self.guarded(Call::Write { record: Box::new(closed), version }, Reason::Over { state })
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
        let root = intent.round == 0;
        let is_it = |order: &RolloutOrder| match &order.part {
            Part::Root { key, .. } => root && *key == record.key,
            Part::Later { step, round, of } => {
                *step == intent.step && *round == intent.round && Some(of) == record.id()
            }
        };
        let mut named = record.clone();
        if let Some(found) = recent.iter().find(|command| is_it(&command.order)) {
            named.name(&found.id);
            return self.write(named, Reason::Found { id: found.id.clone() });
        }
        let sent_s = self.age_s(intent);
        let patience = if root { ABANDONED_S } else { UNLISTED_S };
        if sent_s < i64::from(patience) {
            self.rest(Reason::NotListed { sent_s })
        } else if root {
            let closed = Record { over: Some(State::Failed), ..named };
            let version = self.stored.version(closed.number);
            self.guarded(Call::Write { record: Box::new(closed), version }, Reason::Abandoned)
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
        if seen.managed.is_none() {
            calls.push(Call::DescribeManaged);
        }
        let names = &self.inputs.alarms;
        if !names.is_empty() && record.heeds_alarms() && seen.alarms.is_none() {
            calls.push(Call::DescribeAlarms { names: names.clone() });
        }
        calls
    }

    /// The commands as SSM lists them. One that it has forgotten is left out.
    fn read<'a>(&'a self, record: &'a Record) -> Result<Read<'a>, Decision> {
        let mut read = Vec::new();
        for sent in &record.commands {
            let reading = sent.id.as_ref().and_then(|id| self.inputs.seen.commands.get(id));
            match reading {
                Some(Reading::Unknown(source)) => {
                    return Err(over(Reason::SsmUnknown { source: source.clone() }));
                }
                Some(Reading::Known(None)) if self.age_s(sent) < i64::from(UNLISTED_S) => {
                    return Err(self.rest(Reason::NotListed { sent_s: self.age_s(sent) }));
                }
                Some(Reading::Known(Some(evidence))) => {
                    read.push((sent.step, sent, evidence));
                }
                Some(Reading::Known(None)) | None => {}
            }
        }
        Ok(read)
    }

    /// How many hosts in service have not answered the question yet, while that is waited for.
    fn unanswered(&self, sent: &Sent, survey: &Evidence) -> Option<u32> {
        if !survey.command.status.is_live() || self.age_s(sent) >= i64::from(ANSWER_S) {
            return None;
        }
        let open = survey
            .invocations
            .iter()
            .filter(|invocation| invocation.status.is_live() && self.is_here(&invocation.instance));
        let open = count(open);
        (open > 0 || survey.invocations.is_empty()).then_some(open)
    }

    fn is_here(&self, instance: &InstanceId) -> bool {
        let members = self.inputs.seen.members.as_ref().and_then(Reading::known);
        members
            .and_then(|members| members.get(instance))
            .is_some_and(|state| state.takes_rollouts())
    }

    /// Asks every host that can answer.
    fn survey(
        &self,
        record: &Record,
        online: &BTreeMap<InstanceId, bool>,
        because: Reason,
    ) -> Decision {
        let hosts: Vec<InstanceId> = online
            .iter()
            .filter(|(id, online)| **online && self.is_here(id))
            .map(|(id, _)| id.clone())
            .collect();
        if hosts.is_empty() {
            return self.nobody(record, because);
        }
        self.command(record, Step::Survey, None, targets(hosts), because)
    }

    /// No host can be asked. Where that stays so, the rollout ends without a proof.
    fn nobody(&self, record: &Record, because: Reason) -> Decision {
        match record.missed {
            None => {
                let missed = Record { missed: Some(self.inputs.now), ..record.clone() };
                self.write(missed, Reason::Missing { hosts: 0 })
            }
            Some(missed) if self.inputs.now < missed.plus_seconds(ABANDONED_S * 2) => {
                self.rest(because)
            }
            Some(_) => self.end(record, &View::default(), State::Failed),
        }
    }

    fn send(&self, record: &Record, step: Step, attempt: u8, hosts: Vec<InstanceId>) -> Decision {
        let hosts_n = count(hosts.iter());
        let because = match step {
            Step::Undo => Reason::Undo { hosts: hosts_n, attempt },
            Step::TakeBack => Reason::TakingBack { hosts: hosts_n },
            Step::Apply | Step::Survey => Reason::Ordering { hosts: hosts_n, attempt },
        };
        let order = OrderId::new(&record.key, step, attempt);
        let record = Record { missed: None, ..record.clone() };
        self.command(&record, step, Some(order), Targets::Hosts(hosts), because)
    }

    /// Writes down what is about to be sent, and then sends it: a pass that dies in between leaves
    /// a trace of what it may have sent.
    fn command(
        &self,
        record: &Record,
        step: Step,
        host_order: Option<OrderId>,
        targets: Targets,
        because: Reason,
    ) -> Decision {
        let Some(root) = record.id() else { return over(Reason::Looking) };
        let intent = self.stored.record().and_then(|record| {
            record.commands.iter().find(|sent| sent.id.is_none()).filter(|sent| sent.step == step)
        });
        if let Some(Sent { round, .. }) = intent.filter(|_| self.inputs.seen.intended) {
            let round = *round;
            let part = Part::Later { step, round, of: root.clone() };
            let image_tag = match step {
                Step::Undo => record.before.clone(),
                _ => Some(record.image_tag.clone()),
            };
            let sending = Sending {
                order: RolloutOrder { kind: record.kind, strategy: record.strategy, part },
                image_tag,
                force: record.force && step == Step::Apply,
                job_limit_s: host_order.as_ref().map(|_| self.inputs.limits.job_limit_s),
                host_order,
                targets,
            };
            return one(Call::Send(Box::new(sending)), because);
        }
        if self.inputs.seen.intended {
            // What was about to be sent is not what is wanted any more; the next pass finds out.
            return self.rest(because);
        }
        let round = record.next_round();
        let mut intended = Record { last: round, ..record.clone() };
        intended.commands.push(Sent { step, round, id: None, at: self.inputs.now });
        self.write(intended, because)
    }
}

/// By id where SSM takes as many, else the whole group.
pub(super) fn targets(hosts: Vec<InstanceId>) -> Targets {
    if hosts.len() <= LISTED { Targets::Hosts(hosts) } else { Targets::Group }
}
