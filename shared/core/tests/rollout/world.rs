//! A fleet, its SSM and its three parameters on a virtual clock. The hosts know the truth.

use crate::random::Random;
use fleet_core::rollout::{
    ActionReport, ActionResult, Answer, Call, CallResult, Command, Evidence, Invocation,
    LockResult, Members, Output, Record, SendResult, Sending, Stable, StoredState, Targets,
};
use fleet_core::run_command::{CommandStatus, InvocationStatus as Status};
use fleet_protocol::action::Action;
use fleet_protocol::ids::{CommandId, InstanceId};
use fleet_protocol::image_tag::ImageTag;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// How likely each thing goes wrong, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Luck {
    /// A call is not made, or its answer is lost.
    pub(crate) calls: u64,
    /// The function dies before or after a call.
    pub(crate) kills: u64,
    /// A host is busy, locked, silent, lying or not online for a while.
    pub(crate) hosts: u64,
    /// Instances come and go.
    pub(crate) churn: u64,
    /// The version does not work on a host.
    pub(crate) version: u64,
    /// Seconds until a command is listed.
    pub(crate) lag_s: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) lifecycle: &'static str,
    pub(crate) online: bool,
    /// What really runs there.
    pub(crate) runs: ImageTag,
    /// This version goes down or rolls back here.
    pub(crate) rejects: Option<(ImageTag, ActionResult)>,
    boots_until: i64,
    /// SSM knows it from then on.
    pub(crate) agent_from: i64,
}

#[derive(Clone, Debug)]
struct Sent {
    command: Command,
    tag: Option<ImageTag>,
    window: usize,
    most: usize,
    max_errors: usize,
    errors: usize,
    invocations: Vec<Invocation>,
    /// The window has taken in this many.
    begun: usize,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) luck: Luck,
    pub(crate) now_s: i64,
    pub(crate) hosts: BTreeMap<InstanceId, Host>,
    commands: Vec<Sent>,
    pub(crate) record: Option<Record>,
    version: i64,
    pub(crate) stable: Option<Stable>,
    pub(crate) cancelled: Option<CommandId>,
    pub(crate) told: u32,
    pub(crate) sends: u32,
    born: u32,
}

fn unknown<T>() -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::TimedOut, detail: "no answer".to_owned() })
}

pub(crate) fn tag(text: &str) -> ImageTag {
    ImageTag::parse(text).expect("a tag")
}

impl World {
    pub(crate) fn new(seed: u64, hosts: u32, luck: Luck) -> World {
        let mut world = World {
            random: Random::new(seed),
            luck,
            now_s: 1_000_000,
            hosts: BTreeMap::new(),
            commands: Vec::new(),
            record: None,
            version: 0,
            stable: Some(Stable {
                pointer: StablePointer {
                    image_tag: tag("v1"),
                    digest: None,
                    deployment_id: Some(CommandId::new("first")),
                    at: None,
                    before: None,
                },
                kind: fleet_core::rollout::Kind::Deploy,
                webhook_pending: false,
                ended: Vec::new(),
            }),
            cancelled: None,
            told: 0,
            sends: 0,
            born: 0,
        };
        for _ in 0..hosts {
            let id = world.bear();
            let host = world.hosts.get_mut(&id).expect("just born");
            host.lifecycle = "InService";
            host.agent_from = 0;
        }
        world
    }

    pub(crate) fn now(&self) -> UnixMs {
        UnixMs(self.now_s * 1000)
    }

    /// A new instance, which boots to the stable version of this moment.
    pub(crate) fn bear(&mut self) -> InstanceId {
        self.born += 1;
        let id = InstanceId::new(format!("i-{:08}", self.born));
        let stable = self
            .stable
            .as_ref()
            .map_or_else(|| tag("v0"), |stable| stable.pointer.image_tag.clone());
        let outcomes = [ActionResult::RolledBack, ActionResult::Down, ActionResult::Failed];
        let outcome = outcomes[usize::try_from(self.random.below(3)).expect("small")];
        let rejects = self.random.permille(self.luck.version).then(|| (tag("v2"), outcome));
        let online = !self.random.permille(self.luck.hosts);
        let boots_until = self.now_s + 90;
        // Without a launch hook an instance is in service before its agent says anything.
        let agent_from = boots_until + i64::try_from(self.random.below(90)).expect("small");
        self.hosts.insert(
            id.clone(),
            Host { lifecycle: "Pending", online, runs: stable, rejects, boots_until, agent_from },
        );
        id
    }

    /// Some seconds pass.
    pub(crate) fn step(&mut self, seconds: i64) {
        self.now_s += seconds;
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
            match host.lifecycle {
                "Terminating:Wait" if leaves => drop(self.hosts.remove(&id)),
                "InService" if leaves => host.lifecycle = "Terminating:Wait",
                _ => {}
            }
        }
        if self.random.permille(self.luck.churn * 20) {
            self.bear();
        }
        for at in 0..self.commands.len() {
            let mut sent = self.commands[at].clone();
            self.run(&mut sent);
            self.commands[at] = sent;
        }
    }

    /// SSM's ramp, and what hosts do.
    fn run(&mut self, sent: &mut Sent) {
        if !sent.command.status.is_live() {
            return;
        }
        for at in 0..sent.begun {
            if is_open(&sent.invocations[at]) {
                self.work(sent, at);
            }
        }
        let running =
            |sent: &Sent| sent.invocations[..sent.begun].iter().filter(|i| is_open(i)).count();
        if running(sent) == 0 && sent.begun > 0 {
            sent.window = (sent.window * 2).min(sent.most);
        }
        let stopped = sent.errors > sent.max_errors;
        while !stopped && sent.begun < sent.invocations.len() && running(sent) < sent.window {
            sent.invocations[sent.begun].status = Status::Running;
            sent.begun += 1;
        }
        if stopped {
            for invocation in &mut sent.invocations[sent.begun..] {
                invocation.status = Status::NotStarted;
                invocation.detail = "Terminated".to_owned();
            }
            sent.begun = sent.invocations.len();
        }
        if !sent.invocations.iter().any(is_open) {
            sent.command.status = CommandStatus::Ended;
        }
    }

    fn work(&mut self, sent: &mut Sent, at: usize) {
        let id = sent.invocations[at].instance.clone();
        let (luck, random) = (self.luck, &mut self.random);
        let draw = random.below(1000);
        let end = |status, detail: &str, exit, output| Invocation {
            instance: id.clone(),
            status,
            detail: detail.to_owned(),
            exit,
            output,
        };
        let Some(host) = self.hosts.get_mut(&id) else {
            // Whoever was in the middle of it never answers; whoever was not is not reached.
            if draw < 300 {
                sent.invocations[at] = end(Status::Unreached, "Undeliverable", None, Output::None);
            }
            return;
        };
        if !host.online {
            sent.invocations[at] = end(Status::Unreached, "DeliveryTimedOut", None, Output::None);
            return;
        }
        if draw < 200 {
            return;
        }
        let want = sent.tag.clone().expect("the simulation rolls versions out");
        let before = host.runs.clone();
        let trouble = draw - 200 < luck.hosts * 2;
        let leaving = host.lifecycle.starts_with("Terminating");
        let rejects = host.rejects.clone().filter(|(rejected, _)| *rejected == want);
        let result = match (leaving, trouble, rejects) {
            (true, ..) => ActionResult::Leaving,
            (_, true, _) => match random.below(6) {
                0 => ActionResult::Busy,
                1 => ActionResult::Refused,
                2 => {
                    // It works on, and nobody hears of it.
                    host.runs = want;
                    sent.invocations[at] =
                        end(Status::TimedOut, "ExecutionTimedOut", None, Output::None);
                    return;
                }
                3 => {
                    host.runs = want;
                    sent.invocations[at] = end(Status::Success, "Success", Some(0), Output::None);
                    return;
                }
                4 => {
                    // A lie: it did nothing and says that it did.
                    let lie =
                        ActionReport { result: ActionResult::Deployed, ..report(&id, &before) };
                    sent.invocations[at] =
                        end(Status::Success, "Success", Some(0), Output::Report(lie));
                    return;
                }
                _ => ActionResult::Unknown,
            },
            (_, _, Some((_, outcome))) => outcome,
            _ if host.runs == want => ActionResult::AlreadyCurrent,
            _ => {
                host.runs = want;
                ActionResult::Deployed
            }
        };
        let bad = matches!(
            result,
            ActionResult::RolledBack
                | ActionResult::Down
                | ActionResult::Failed
                | ActionResult::Unknown
        );
        if result == ActionResult::Down {
            host.runs = tag("nothing");
        }
        let said = ActionReport { result, ..report(&id, &host.runs) };
        let (status, exit) = if bad { (Status::Failed, 10) } else { (Status::Success, 0) };
        sent.errors += usize::from(bad);
        sent.invocations[at] = end(status, "", Some(exit), Output::Report(said));
    }

    fn send(&mut self, sending: Sending) -> CommandId {
        self.sends += 1;
        let id = CommandId::new(format!("c-{}", self.sends));
        let targets: Vec<InstanceId> = match &sending.targets {
            Targets::Hosts(hosts) => hosts.clone(),
            Targets::Group => self.registered().map(|(id, _)| id.clone()).collect(),
        };
        let command = Command {
            id: id.clone(),
            requested: self.now(),
            order: sending.order,
            image_tag: sending.image_tag.clone(),
            force: sending.force,
            status: CommandStatus::Live,
            targets: match &sending.targets {
                Targets::Hosts(hosts) => hosts.clone(),
                Targets::Group => Vec::new(),
            },
        };
        let invocation = |instance| Invocation {
            instance,
            status: Status::Pending,
            detail: "Pending".to_owned(),
            exit: None,
            output: Output::None,
        };
        self.commands.push(Sent {
            command,
            tag: sending.image_tag,
            window: 1,
            most: usize::try_from(sending.pace.max_concurrency).expect("small"),
            max_errors: usize::try_from(sending.pace.max_errors).expect("small"),
            errors: 0,
            invocations: targets.into_iter().map(invocation).collect(),
            begun: 0,
        });
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

    /// Makes a call. It may not be made, and its answer may be lost.
    pub(crate) fn call(&mut self, call: Call) -> Answer {
        let (skipped, lost) =
            (self.random.permille(self.luck.calls), self.random.permille(self.luck.calls));
        let failed = || CallResult::Failed { detail: "no answer".to_owned() };
        let done = |lost: bool| if lost { failed() } else { CallResult::Done };
        match call {
            Call::ReadStored if skipped => Answer::Stored(unknown()),
            Call::ReadStored => Answer::Stored(Reading::Known(StoredState {
                record: self.record.clone(),
                version: self.version,
                stable: self.stable.clone(),
                cancelled: self.cancelled.clone(),
            })),
            Call::ListRecent { .. } if skipped => Answer::Recent(unknown()),
            Call::ListRecent { since } => Answer::Recent(Reading::Known(
                self.listed()
                    .map(|sent| sent.command.clone())
                    .filter(|c| c.requested >= since)
                    .rev_vec(),
            )),
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
            Call::DescribeManaged if skipped => Answer::Managed(unknown()),
            Call::DescribeManaged => Answer::Managed(Reading::Known(
                self.registered().map(|(id, host)| (id.clone(), host.online)).collect(),
            )),
            Call::CreateRecord { record } => {
                if self.record.is_some() {
                    return Answer::RecordCreated(record, LockResult::Held);
                }
                if !skipped {
                    self.record = Some((*record).clone());
                    self.version = 1;
                }
                let reserve = if skipped || lost {
                    LockResult::Failed { detail: "no answer".to_owned() }
                } else {
                    LockResult::Acquired
                };
                Answer::RecordCreated(record, reserve)
            }
            Call::Write { record, version } => {
                if skipped || version != self.version {
                    return Answer::Written(record, failed());
                }
                self.record = Some((*record).clone());
                self.version += 1;
                Answer::Written(record, done(lost))
            }
            Call::Close if skipped => Answer::Closed(failed()),
            Call::Close => {
                self.record = None;
                self.version = 0;
                Answer::Closed(done(lost))
            }
            Call::WriteStable { stable } if skipped => Answer::StableWritten(stable, failed()),
            Call::WriteStable { stable } => {
                self.stable = Some((*stable).clone());
                Answer::StableWritten(stable, done(lost))
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
                self.cancelled = Some(id);
                Answer::CancelRequested(done(lost))
            }
            Call::Cancel { id, .. } if skipped => Answer::Cancelled(id, failed()),
            Call::Cancel { id, instances } => {
                self.cancel(&id, &instances);
                Answer::Cancelled(id, done(lost))
            }
            Call::SendWebhook { stable } => {
                self.told += u32::from(!skipped);
                Answer::WebhookSent(stable.pointer.deployment_id, done(skipped || lost))
            }
        }
    }

    fn cancel(&mut self, id: &CommandId, instances: &[InstanceId]) {
        let Some(sent) = self.commands.iter_mut().find(|sent| sent.command.id == *id) else {
            return;
        };
        if !sent.command.status.is_live() {
            return;
        }
        for invocation in &mut sent.invocations {
            let named = instances.is_empty() || instances.contains(&invocation.instance);
            let begun = invocation.status == Status::Running;
            if !named || !is_open(invocation) {
                continue;
            }
            invocation.status = Status::Cancelled;
            // What has begun goes on by itself.
            if let (true, Some(host), Some(want)) =
                (begun, self.hosts.get_mut(&invocation.instance), &sent.tag)
                && host.rejects.as_ref().is_none_or(|(rejected, _)| rejected != want)
                && self.random.permille(500)
            {
                host.runs = want.clone();
            }
        }
        if instances.is_empty() {
            sent.begun = sent.invocations.len();
            sent.command.status = CommandStatus::Cancelled;
        }
    }

    /// Who is in service, and what it really runs.
    pub(crate) fn in_service(&self) -> impl Iterator<Item = (&InstanceId, &Host)> {
        self.hosts.iter().filter(|(_, host)| host.lifecycle == "InService")
    }
}

fn is_open(invocation: &Invocation) -> bool {
    matches!(invocation.status, Status::Running | Status::Pending)
}

fn report(id: &InstanceId, runs: &ImageTag) -> ActionReport {
    let known = ActionReport::new(id.clone(), Action::Deploy, ActionResult::Deployed);
    ActionReport { image_tag: Some(runs.to_string()), ..known }
}

/// Newest first.
trait RevVec<T> {
    fn rev_vec(self) -> Vec<T>;
}

impl<T, I: Iterator<Item = T>> RevVec<T> for I {
    fn rev_vec(self) -> Vec<T> {
        let mut all: Vec<T> = self.collect();
        all.reverse();
        all
    }
}
