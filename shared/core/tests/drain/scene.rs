//! One leaving instance to decide about: everything known and nothing wrong, changed by the test
//! where it matters.

use fleet_core::drain::*;
use fleet_core::run_command::InvocationStatus as Status;
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

pub(crate) const NOW: UnixMs = UnixMs(1_795_478_400_000);
pub(crate) const LIMIT_S: u32 = 14_400;
pub(crate) const GRACE_S: u32 = 60;

pub(crate) fn policy() -> Policy {
    Policy { job_limit_s: LIMIT_S, worker_grace_s: GRACE_S, rebalance_every_s: 1800 }
}

pub(crate) fn id(n: u32) -> InstanceId {
    InstanceId::new(format!("i-{n:017x}"))
}

pub(crate) fn ago(seconds: i64) -> UnixMs {
    UnixMs(NOW.0 - seconds * 1000)
}

pub(crate) fn hook() -> Hook {
    Hook { heartbeat_s: 300, global_s: 30_000, default_result: "ABANDON".into(), terminating: true }
}

pub(crate) fn member(n: u32, lifecycle: &str) -> Member {
    Member { id: id(n), lifecycle: lifecycle.into() }
}

pub(crate) fn group(members: Vec<Member>) -> Group {
    Group {
        name: GroupName::new("ghosthands-worker-asg"),
        at: NOW,
        members,
        retains: true,
        rebalances: false,
    }
}

/// What a host says that is drained, terminally, and sure of it.
pub(crate) fn drained() -> DrainReport {
    DrainReport {
        drained: true,
        active_jobs: Some(0),
        accepting: Some(false),
        terminating: true,
        instance_id: Some(id(0)),
        worker_stopped: false,
        caught_jobs: 0,
        stopped_jobs: Some(0),
        message: "Drain complete".into(),
        ..DrainReport::default()
    }
}

pub(crate) fn busy(jobs: u32) -> DrainReport {
    DrainReport {
        drained: false,
        active_jobs: Some(jobs),
        message: "the worker still runs a job".into(),
        ..drained()
    }
}

pub(crate) fn order() -> DrainOrder {
    DrainOrder { window_s: 240, stop: false, chain: Chain::default() }
}

/// A command of so many seconds ago.
pub(crate) fn command(asked_s: i64, status: Status, output: Output) -> Invocation {
    let detail = match status {
        Status::Running => "InProgress",
        Status::Success => "Success",
        Status::Unreached => "DeliveryTimedOut",
        _ => "Sleeping",
    };
    Invocation {
        command: format!("command-{asked_s}"),
        requested: ago(asked_s),
        status,
        detail: detail.into(),
        order: order(),
        output,
    }
}

pub(crate) fn answered(asked_s: i64, report: DrainReport) -> Invocation {
    command(asked_s, Status::Success, Output::Report(report))
}

/// The group began to end the instance so many seconds ago.
pub(crate) fn ending(seconds: i64) -> Activities {
    let ending = [(id(0), ago(seconds))].into();
    Activities { ending, last_ending: Some(ago(seconds)), ..Activities::default() }
}

pub(crate) fn unknown<T>() -> Reading<T> {
    let detail = "Rate exceeded".into();
    Reading::Unknown(Unknown { cause: UnknownCause::Failed, detail })
}

#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) inputs: Inputs,
}

impl Scene {
    /// An instance that the hook holds, held just now, its machine running, its commands as given.
    pub(crate) fn waiting(commands: Vec<Invocation>) -> Scene {
        Scene::of("Terminating:Wait", commands)
    }

    pub(crate) fn of(lifecycle: &str, commands: Vec<Invocation>) -> Scene {
        let mut inputs = Inputs::new(policy(), NOW, Memory::default(), vec![]);
        inputs.take(Answer::Group(Reading::Known(group(vec![member(0, lifecycle)]))));
        inputs.take(Answer::Hook(Reading::Known(hook())));
        inputs.take(Answer::Held(id(0), CallResult::Done));
        inputs.take(Answer::Machines(Reading::Known(BTreeMap::from([(id(0), Machine::Running)]))));
        inputs.take(Answer::Commands(id(0), Reading::Known(commands)));
        Scene { inputs }
    }

    pub(crate) fn hint(mut self, kind: HintKind) -> Scene {
        self.inputs.hints.push(Hint { instance: id(0), kind });
        self
    }

    pub(crate) fn machine(mut self, state: &str) -> Scene {
        let state = Machine::read(state);
        self.inputs.take(Answer::Machines(Reading::Known(BTreeMap::from([(id(0), state)]))));
        self
    }

    pub(crate) fn then(mut self, answer: Answer) -> Scene {
        self.inputs.take(answer);
        self
    }

    pub(crate) fn decide(&self) -> Decision {
        decide(&self.inputs)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.decide().calls
    }

    pub(crate) fn because(&self) -> Reason {
        let verdicts = self.decide().verdicts;
        assert_eq!(verdicts.len(), 1, "{verdicts:?}");
        verdicts[0].because.clone()
    }

    /// The order that is sent, where nothing else is done.
    pub(crate) fn sent(&self) -> DrainOrder {
        match self.calls().as_slice() {
            [Call::Send { instance, order }] if *instance == id(0) => order.clone(),
            calls => panic!("not one command: {calls:?}"),
        }
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.calls() == [Call::Complete { instance: id(0) }]
    }

    pub(crate) fn is_left_alone(&self) -> bool {
        self.calls().is_empty()
    }
}
