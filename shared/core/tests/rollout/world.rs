//! A fleet, its SSM and its parameters on a virtual clock.

use crate::host::Host;
use crate::random::Random;
use fleet_core::rollout::{
    ActionReport, ActionResult, Answer, Call, CallResult, Command, Evidence, FiredAlarm, Inputs,
    Invocation, Kind, LockResult, Members, Output, Reason, Record, SendResult, Sending, Slot,
    Stable, Step, StoredState, Targets, decide, overwritten, slot,
};
use fleet_core::run_command::{CommandStatus, InvocationStatus as Status};
use fleet_protocol::action::Action;
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// An order's command waits for a swap that begins at once, this long at most.
const FOLLOW_S: i64 = 100;

/// How likely each thing goes wrong, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Luck {
    /// A call is not made, or its answer is lost.
    pub(crate) calls: u64,
    /// The function dies before or after a call.
    pub(crate) kills: u64,
    /// A host is silent, lying or not online for a while.
    pub(crate) hosts: u64,
    /// Instances come and go.
    pub(crate) churn: u64,
    /// The version does not work on a host.
    pub(crate) version: u64,
    /// Seconds until a command is listed.
    pub(crate) lag_s: i64,
    /// Every host runs jobs of this length without a pause; 0 is an idle fleet.
    pub(crate) job_s: i64,
    /// A host does not know of orders yet.
    pub(crate) old: u64,
    /// Whoever overwrites what somebody else wrote meanwhile puts it back so many seconds later.
    pub(crate) restore_s: i64,
}

#[derive(Clone, Debug)]
struct Sent {
    command: Command,
    invocations: Vec<Invocation>,
    begun: i64,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) luck: Luck,
    pub(crate) now_s: i64,
    pub(crate) hosts: BTreeMap<InstanceId, Host>,
    commands: Vec<Sent>,
    pub(crate) stored: StoredState,
    /// What CloudWatch says.
    pub(crate) alarms: Reading<Vec<FiredAlarm>>,
    /// How often it was asked.
    pub(crate) alarm_calls: u32,
    pub(crate) webhooks: u32,
    pub(crate) sends: u32,
    born: u32,
    /// Every version of the records' two parameters.
    written: [Vec<Option<Record>>; 2],
    restores: Vec<(i64, Slot)>,
    /// Records that were closed by the write of another rollout.
    pub(crate) foreign_closes: u32,
    /// Pointers that went back to an earlier version.
    pub(crate) regressions: u32,
}

pub(crate) fn unknown<T>() -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::TimedOut, detail: "no answer".to_owned() })
}

pub(crate) fn tag(text: &str) -> ImageTag {
    ImageTag::parse(text).expect("a tag")
}

fn small(n: u64) -> i64 {
    i64::try_from(n).expect("small")
}

impl World {
    pub(crate) fn new(seed: u64, hosts: u32, luck: Luck) -> World {
        let stable = Stable {
            pointer: StablePointer {
                image_tag: tag("v1"),
                digest: None,
                deployment_id: Some(CommandId::new("first")),
                at: None,
                before: None,
            },
            kind: Kind::Deploy,
            webhook_pending: false,
            build: Default::default(),
            ended: Vec::new(),
        };
        let mut world = World {
            random: Random::new(seed),
            luck,
            now_s: 1_000_000,
            hosts: BTreeMap::new(),
            commands: Vec::new(),
            stored: StoredState::new([Slot::default(), Slot::default()], Some(stable), 1),
            alarms: Reading::Known(Vec::new()),
            alarm_calls: 0,
            webhooks: 0,
            sends: 0,
            born: 0,
            written: Default::default(),
            restores: Vec::new(),
            foreign_closes: 0,
            regressions: 0,
        };
        for _ in 0..hosts {
            let id = world.bear();
            let host = world.hosts.get_mut(&id).expect("born");
            (host.lifecycle, host.agent_from) = ("InService", 0);
        }
        world
    }

    /// What one pass with these inputs says, in order.
    pub(crate) fn whole_pass(&mut self, mut inputs: Inputs) -> Vec<Reason> {
        let mut reasons = Vec::new();
        loop {
            let decision = decide(&inputs);
            reasons.push(decision.because);
            if decision.calls.is_empty() {
                return reasons;
            }
            for call in decision.calls {
                inputs.seen.take(self.call(call));
            }
        }
    }

    pub(crate) fn now(&self) -> UnixMs {
        UnixMs(self.now_s * 1000)
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.stored.record()
    }

    pub(crate) fn stable(&self) -> &Stable {
        self.stored.stable.as_ref().expect("never deleted")
    }

    /// A new instance boots to the stable version.
    pub(crate) fn bear(&mut self) -> InstanceId {
        self.born += 1;
        let id = InstanceId::new(format!("i-{:08}", self.born));
        let outcomes = [ActionResult::RolledBack, ActionResult::Down, ActionResult::Failed];
        let outcome = outcomes[usize::try_from(self.random.below(3)).expect("small")];
        let mut host = Host::new(self.stable().pointer.image_tag.clone());
        host.rejects = self.random.permille(self.luck.version).then(|| (tag("v2"), outcome));
        host.online = !self.random.permille(self.luck.hosts);
        host.old = self.random.permille(self.luck.old);
        host.lifecycle = "Pending";
        host.boots_until = self.now_s + 90;
        // Without a launch hook an instance is in service before its agent says anything.
        host.agent_from = host.boots_until + small(self.random.below(90));
        host.job_s = self.luck.job_s;
        if host.job_s > 0 {
            let left = small(self.random.below(host.job_s.unsigned_abs()));
            host.job_until = Some(self.now_s + left + 1);
        }
        self.hosts.insert(id.clone(), host);
        id
    }

    /// Some seconds pass.
    pub(crate) fn step(&mut self, seconds: i64) {
        let from = self.now_s;
        self.now_s += seconds;
        self.restore();
        let ids: Vec<InstanceId> = self.hosts.keys().cloned().collect();
        for id in ids {
            let (leaves, turns) =
                (self.random.permille(self.luck.churn), self.random.permille(self.luck.hosts * 2));
            let now = self.now_s;
            let host = self.hosts.get_mut(&id).expect("listed");
            if host.lifecycle == "Pending" && host.boots_until <= now {
                host.lifecycle = "InService";
            }
            host.online ^= turns;
            host.live(from, now);
            match host.lifecycle {
                "Terminating:Wait" if leaves => drop(self.hosts.remove(&id)),
                "InService" if leaves => {
                    host.lifecycle = "Terminating:Wait";
                    host.take_back();
                }
                _ => {}
            }
        }
        if self.random.permille(self.luck.churn * 20) {
            self.bear();
        }
        for at in 0..self.commands.len() {
            if self.commands[at].command.status == CommandStatus::Live {
                let mut sent = self.commands[at].clone();
                for invocation in 0..sent.invocations.len() {
                    self.work(&mut sent, invocation);
                }
                if !sent.invocations.iter().any(is_open) {
                    sent.command.status = CommandStatus::Ended;
                }
                self.commands[at] = sent;
            }
        }
    }

    fn work(&mut self, sent: &mut Sent, at: usize) {
        if !is_open(&sent.invocations[at]) {
            return;
        }
        let id = sent.invocations[at].instance.clone();
        let (luck, now) = (self.luck, self.now_s);
        let draw = self.random.below(1000);
        let end = |status, detail: &str, exit, output| Invocation {
            instance: id.clone(),
            status,
            detail: detail.to_owned(),
            exit,
            output,
        };
        let begun = sent.invocations[at].status == Status::Running;
        let Some(host) = self.hosts.get_mut(&id) else {
            // Whoever was in the middle of it never answers; whoever was not is not reached.
            if draw < 300 && !begun {
                sent.invocations[at] = end(Status::Unreached, "Undeliverable", None, Output::None);
            }
            return;
        };
        if !host.online && !begun {
            if now - sent.begun >= 60 {
                sent.invocations[at] =
                    end(Status::Unreached, "DeliveryTimedOut", None, Output::None);
            }
            return;
        }
        let step = sent.command.order.step();
        let trouble = draw < luck.hosts * 2;
        let said = |report: ActionReport, status, exit| {
            end(status, "", Some(exit), Output::Report(report))
        };
        sent.invocations[at] = match step {
            _ if trouble && self.random.permille(500) => {
                // It works on, and nobody hears of it.
                host.order(&sent.command, now);
                end(Status::TimedOut, "ExecutionTimedOut", None, Output::None)
            }
            _ if trouble => {
                host.order(&sent.command, now);
                end(Status::Success, "Success", Some(0), Output::None)
            }
            Step::Survey => {
                said(host.report(&id, Action::Status, ActionResult::Done), Status::Success, 0)
            }
            Step::TakeBack => {
                host.take_back();
                said(host.report(&id, Action::TakeBack, ActionResult::Done), Status::Success, 0)
            }
            Step::Apply | Step::Undo if host.lifecycle.starts_with("Terminating") => {
                said(host.report(&id, Action::Deploy, ActionResult::Leaving), Status::Success, 0)
            }
            Step::Apply | Step::Undo if host.old => {
                let want = sent.command.image_tag.clone().expect("a version");
                let outcome = match &host.rejects {
                    _ if host.runs == want => ActionResult::AlreadyCurrent,
                    _ if host.job_until.is_some() => ActionResult::Busy,
                    Some((rejected, outcome)) if *rejected == want => *outcome,
                    _ => ActionResult::Deployed,
                };
                host.touched |= outcome != ActionResult::Busy && want == tag("v2");
                match outcome {
                    ActionResult::Deployed => host.runs = want,
                    ActionResult::Down => host.runs = tag("nothing"),
                    _ => {}
                }
                let (status, exit) = ended(outcome);
                said(host.report(&id, Action::Deploy, outcome), status, exit)
            }
            Step::Apply | Step::Undo => {
                host.order(&sent.command, now);
                let ours = host
                    .order
                    .as_ref()
                    .filter(|held| Some(&held.id) == sent.command.host_order.as_ref());
                match ours.map(|held| held.result) {
                    // Another order is being swapped.
                    None => said(
                        host.report(&id, Action::Deploy, ActionResult::Refused),
                        Status::Success,
                        0,
                    ),
                    Some(Some(outcome)) => {
                        let (status, exit) = ended(outcome);
                        said(host.report(&id, Action::Deploy, outcome), status, exit)
                    }
                    Some(None) if host.job_until.is_some() || now - sent.begun >= FOLLOW_S => said(
                        host.report(&id, Action::Deploy, ActionResult::Accepted),
                        Status::Success,
                        0,
                    ),
                    Some(None) => end(Status::Running, "InProgress", None, Output::None),
                }
            }
        };
    }

    fn send(&mut self, sending: Sending) -> CommandId {
        self.sends += 1;
        let id = CommandId::new(format!("c-{}", self.sends));
        let (targets, by_id) = match sending.targets {
            Targets::Hosts(hosts) => (hosts.clone(), hosts),
            Targets::Group => (self.registered().map(|(id, _)| id.clone()).collect(), Vec::new()),
        };
        let command = Command {
            id: id.clone(),
            requested: self.now(),
            order: sending.order,
            image_tag: sending.image_tag,
            force: sending.force,
            host_order: sending.host_order,
            status: CommandStatus::Live,
            targets: by_id,
        };
        let invocation = |instance| Invocation {
            instance,
            status: Status::Pending,
            detail: "Pending".to_owned(),
            exit: None,
            output: Output::None,
        };
        let invocations = targets.into_iter().map(invocation).collect();
        self.commands.push(Sent { command, invocations, begun: self.now_s });
        id
    }

    /// Whom SSM knows.
    fn registered(&self) -> impl Iterator<Item = (&InstanceId, &Host)> {
        self.hosts.iter().filter(|(_, host)| host.agent_from <= self.now_s)
    }

    /// SSM keeps commands for thirty days.
    pub(crate) fn forget_commands(&mut self) {
        self.commands.clear();
    }

    fn members(&self) -> Members {
        self.hosts.iter().map(|(id, host)| (id.clone(), host.lifecycle.into())).collect()
    }

    fn listed(&self) -> impl Iterator<Item = &Sent> {
        let until = (self.now_s - self.luck.lag_s) * 1000;
        self.commands.iter().filter(move |sent| sent.command.requested.0 <= until)
    }

    /// Writes a record's parameter as SSM does, whatever is there. Whoever learns that somebody
    /// else wrote meanwhile puts back what stands. True where his own does.
    fn put(&mut self, record: Record, version: i64) -> bool {
        let at = slot(record.number);
        let slot = &mut self.stored.slots[at];
        let foreign = slot
            .record
            .as_ref()
            .is_some_and(|known| known.key != record.key && known.over.is_none());
        self.foreign_closes += u32::from(foreign && record.over.is_some());
        let first = slot.version == version;
        // The first version is 1, and before it there is none.
        let read = usize::try_from(version).expect("small");
        let since = [self.written[at].get(read.wrapping_sub(1)).cloned().flatten()];
        let since = [&since, &self.written[at][read..]].concat();
        let back = overwritten(&record, &since).filter(|_| !first).map(|n| since[n].clone());
        self.written[at].push(Some(record.clone()));
        *slot = Slot { version: slot.version + 1, record: Some(record) };
        let stands = back.is_none();
        if let Some(back) = back {
            let old = Slot { record: back, version: slot.version };
            self.restores.push((self.now_s + self.luck.restore_s, old));
        }
        if self.luck.restore_s == 0 {
            self.restore();
        }
        stands
    }

    fn restore(&mut self) {
        let now = self.now_s;
        for (_, old) in self.restores.extract_if(.., |(at, _)| *at <= now) {
            let Some(record) = old.record else { continue };
            let at = slot(record.number);
            let slot = &mut self.stored.slots[at];
            // What somebody wrote since stays.
            if slot.version == old.version {
                self.written[at].push(Some(record.clone()));
                *slot = Slot { version: slot.version + 1, record: Some(record) };
            }
        }
    }

    /// Makes a call. It may not be made, and its answer may be lost.
    pub(crate) fn call(&mut self, call: Call) -> Answer {
        let (skipped, lost) =
            (self.random.permille(self.luck.calls), self.random.permille(self.luck.calls));
        let failed = || CallResult::Failed { detail: "no answer".to_owned() };
        let done = |lost: bool| if lost { failed() } else { CallResult::Done };
        match call {
            Call::ReadStored if skipped => Answer::Stored(unknown()),
            Call::ReadStored => Answer::Stored(Reading::Known(self.stored.clone())),
            Call::ListRecent { .. } if skipped => Answer::Recent(unknown()),
            Call::ListRecent { since } => {
                let mut all: Vec<Command> = self
                    .listed()
                    .map(|sent| sent.command.clone())
                    .filter(|command| command.requested >= since)
                    .collect();
                all.reverse();
                Answer::Recent(Reading::Known(all))
            }
            Call::ReadCommand { id } if skipped => Answer::Command(id, unknown()),
            Call::ReadCommand { id } => {
                let found = self.listed().find(|sent| sent.command.id == id);
                let evidence = found.map(|sent| Evidence {
                    command: sent.command.clone(),
                    invocations: sent.invocations.clone(),
                });
                Answer::Command(id, Reading::Known(evidence))
            }
            Call::DescribeGroup if skipped => Answer::Members(unknown()),
            Call::DescribeGroup => Answer::Members(Reading::Known(self.members())),
            Call::DescribeAlarms { .. } if skipped => Answer::Alarms(unknown()),
            Call::DescribeAlarms { .. } => {
                self.alarm_calls += 1;
                Answer::Alarms(self.alarms.clone())
            }
            Call::DescribeManaged if skipped => Answer::Managed(unknown()),
            Call::DescribeManaged => Answer::Managed(Reading::Known(
                self.registered().map(|(id, host)| (id.clone(), host.online)).collect(),
            )),
            Call::CreateRecord { record, version } => {
                let first = !skipped && self.put((*record).clone(), version);
                let lock = match (skipped || lost, first) {
                    (true, _) => LockResult::Failed { detail: "no answer".to_owned() },
                    (false, true) => LockResult::Acquired,
                    (false, false) => LockResult::Held,
                };
                Answer::RecordCreated(record, lock)
            }
            Call::Write { record, version } => {
                let first = !skipped && self.put((*record).clone(), version);
                Answer::Written(record, done(!first || lost))
            }
            Call::WriteStable { stable, .. } if skipped => Answer::StableWritten(stable, failed()),
            Call::WriteStable { stable, version } => {
                let first = version == self.stored.stable_version;
                let back = self.stable().pointer.before.as_ref() == Some(&stable.pointer.image_tag)
                    && self.stable().pointer.deployment_id != stable.pointer.deployment_id;
                self.regressions += u32::from(back);
                if first {
                    self.stored.stable = Some((*stable).clone());
                }
                self.stored.stable_version += if first { 1 } else { 2 };
                Answer::StableWritten(stable, done(!first || lost))
            }
            Call::Send(_) if skipped => {
                Answer::Sent(SendResult::Refused { detail: "throttled".to_owned() })
            }
            Call::Send(sending) => {
                let id = self.send(*sending);
                Answer::Sent(if lost {
                    SendResult::Lost { detail: "no answer".to_owned() }
                } else {
                    SendResult::Sent { id }
                })
            }
            Call::RequestCancel { .. } if skipped => Answer::CancelRequested(failed()),
            Call::RequestCancel { id } => {
                self.stored.cancelled = Some(id);
                Answer::CancelRequested(done(lost))
            }
            Call::RequestPause { .. } | Call::RequestContinue { .. } if skipped => {
                Answer::PauseRequested(failed())
            }
            Call::RequestContinue { id, at } => {
                self.stored.paused = None;
                self.stored.continued = Some((id, at));
                Answer::PauseRequested(done(lost))
            }
            Call::RequestPause { id } => {
                self.stored.paused = Some(id);
                self.stored.continued = None;
                Answer::PauseRequested(done(lost))
            }
            Call::Cancel { id, .. } => Answer::Cancelled(id, done(skipped || lost)),
            Call::SendWebhook { stable } => {
                self.webhooks += u32::from(!skipped);
                Answer::WebhookSent(stable.pointer.deployment_id, done(skipped || lost))
            }
        }
    }

    /// Who is in service, and what it really runs.
    pub(crate) fn in_service(&self) -> impl Iterator<Item = (&InstanceId, &Host)> {
        self.hosts.iter().filter(|(_, host)| host.lifecycle == "InService")
    }
}

impl Host {
    /// Takes what the command orders, if it orders anything.
    fn order(&mut self, command: &Command, now: i64) {
        let orders = matches!(command.order.step(), Step::Apply | Step::Undo);
        if let (true, false, Some(id), Some(tag)) =
            (orders, self.old, &command.host_order, &command.image_tag)
        {
            self.accept(id, tag, command.force, now);
        }
    }
}

fn ended(outcome: ActionResult) -> (Status, i32) {
    match outcome {
        ActionResult::RolledBack => (Status::Failed, 10),
        ActionResult::Down => (Status::Failed, 11),
        ActionResult::Failed => (Status::Failed, 13),
        _ => (Status::Success, 0),
    }
}

fn is_open(invocation: &Invocation) -> bool {
    matches!(invocation.status, Status::Running | Status::Pending)
}
