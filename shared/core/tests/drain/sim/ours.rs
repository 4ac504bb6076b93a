//! Ours: the loop that the function runs around `decide`, on the virtual clock, and everything that
//! can befall it.

use super::draw::Random;
use super::host::{Command, State};
use super::world::{GLOBAL_S, HEARTBEAT_S, Loss};
use super::{Fault, Reconciler, World};
use fleet_core::drain::*;
use fleet_core::run_command::InvocationStatus as Status;
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use std::collections::{BTreeMap, VecDeque};

/// No job takes longer: twice the longest that is drawn.
pub(crate) const LIMIT_S: u32 = 3_600;
pub(crate) const GRACE_S: u32 = 60;
const TICK_S: i64 = 60;
/// Lambda ends a pass after this time.
const PASS_S: i64 = 60;
const EPOCH: i64 = 1_795_478_400;

pub(crate) fn policy() -> Policy {
    Policy { job_limit_s: LIMIT_S, worker_grace_s: GRACE_S, rebalance_every_s: 1800 }
}

/// The function dies at this call of all that it makes in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) call: u32,
    /// After the call was done, and before anybody knew.
    pub(crate) after: bool,
}

/// The function, looking after one instance or after many of one group. What befalls the function
/// or the group as a whole is drawn with the first of them.
#[derive(Debug)]
pub(crate) struct Ours {
    kill: Option<Kill>,
    /// How many calls a pass gets done in a second.
    pace: usize,
    /// How many passes run at a time; what comes meanwhile waits for its turn.
    at_a_time: usize,
    queue: VecDeque<Vec<Hint>>,
    /// What each environment remembers that is not at work.
    idle: Vec<Memory>,
    passes: Vec<Pass>,
    calls: u32,
    crashes: Option<Random>,
}

#[derive(Debug)]
struct Pass {
    began: i64,
    inputs: Inputs,
    todo: VecDeque<Call>,
    sleeps_until: Option<i64>,
    gave_up: Vec<InstanceId>,
    /// Where it dies: after so many calls more.
    dies: Option<Kill>,
}

#[derive(PartialEq, Eq)]
enum Progress {
    /// It goes on in another second.
    Later,
    Ended,
    Died,
}

impl Ours {
    pub(crate) fn new() -> Ours {
        Ours {
            kill: None,
            pace: usize::MAX,
            at_a_time: usize::MAX,
            queue: VecDeque::new(),
            idle: vec![],
            passes: vec![],
            calls: 0,
            crashes: None,
        }
    }

    pub(crate) fn killed(kill: Kill) -> Ours {
        Ours { kill: Some(kill), ..Ours::new() }
    }

    /// So many passes at a time, as the function's reserved concurrency has it, each with so many
    /// calls a second.
    pub(crate) fn paced(at_a_time: usize, calls_a_second: usize) -> Ours {
        Ours { pace: calls_a_second, at_a_time, ..Ours::new() }
    }

    /// What a tick costs while nobody leaves.
    pub(crate) fn calls_of_an_idle_minute() -> usize {
        let warm = Memory { hook_seen: Some(at(0)), ..Memory::default() };
        let mut inputs = Inputs::new(policy(), at(0), warm, vec![]);
        let first = decide(&inputs).calls.len();
        let members = (0..10).map(|n| Member { id: name(n), lifecycle: "InService".into() });
        inputs.take(Answer::Group(Reading::Known(Group {
            name: GroupName::new("ghosthands-worker-asg"),
            at: at(0),
            members: members.collect(),
            retains: true,
            rebalances: false,
        })));
        first + decide(&inputs).calls.len()
    }

    /// One second of looking after a group.
    pub(crate) fn look_after(&mut self, worlds: &mut [World]) {
        let hints = events(worlds);
        let now = worlds[0].now;
        if worlds[0].strikes(Fault::Outage) {
            // Whoever waited for an answer waits no more, and no event is kept for later.
            self.passes.clear();
            self.queue.clear();
            self.idle.clear();
            return;
        }
        self.queue.extend(hints.into_iter().map(|hint| vec![hint]));
        let ticks = now % TICK_S == worlds[0].draw.tick_at && !worlds[0].strikes(Fault::TicksLost);
        if ticks {
            self.queue.push_back(vec![]);
        }
        while self.passes.len() < self.at_a_time
            && let Some(hints) = self.queue.pop_front()
        {
            self.begin(&worlds[0], hints);
        }
        for mut pass in std::mem::take(&mut self.passes) {
            match self.go_on(&mut pass, worlds) {
                Progress::Later => self.passes.push(pass),
                Progress::Ended => self.idle.push(pass.inputs.remember()),
                Progress::Died => worlds[0].say("the function dies"),
            }
        }
    }

    fn begin(&mut self, world: &World, hints: Vec<Hint>) {
        if world.draw.fresh {
            self.idle.clear();
        }
        let memory = self.idle.pop().unwrap_or_default();
        let skewed = world.draw.has(Fault::ClockWrong);
        let clock = if skewed { world.now + world.draw.clock_off_s } else { world.now };
        let inputs = Inputs::new(policy(), at(clock), memory, hints);
        let dies = world.draw.has(Fault::Crashes).then(|| self.death(world)).flatten();
        self.passes.push(Pass {
            began: world.now,
            inputs,
            todo: VecDeque::new(),
            sleeps_until: None,
            gave_up: vec![],
            dies,
        });
    }

    /// Every other pass dies somewhere.
    fn death(&mut self, world: &World) -> Option<Kill> {
        let crashes = self.crashes.get_or_insert_with(|| world.draw.crashes.clone());
        let call = u32::try_from(crashes.between(0, 6)).expect("a small number");
        let after = crashes.chance(50);
        crashes.chance(50).then_some(Kill { call, after })
    }

    fn go_on(&mut self, pass: &mut Pass, worlds: &mut [World]) -> Progress {
        let now = worlds[0].now;
        if now - pass.began >= PASS_S {
            return Progress::Died;
        }
        let mut left = self.pace;
        loop {
            let Some(call) = pass.todo.front() else {
                let decision = decide(&pass.inputs);
                if decision.calls.is_empty() {
                    for note in &decision.notes {
                        worlds[0].say(note);
                    }
                    return Progress::Ended;
                }
                let gave_up =
                    decision.verdicts.iter().filter(|v| matches!(v.because, Reason::GaveUp { .. }));
                pass.gave_up = gave_up.map(|verdict| verdict.instance.clone()).collect();
                pass.todo = decision.calls.into();
                continue;
            };
            if let Call::DescribeGroup { after_s } = call {
                let asked = now + i64::from(*after_s);
                let until = pass.sleeps_until.unwrap_or(asked);
                pass.sleeps_until = Some(until);
                if now < until {
                    return Progress::Later;
                }
                pass.sleeps_until = None;
            }
            if left == 0 {
                return Progress::Later;
            }
            left -= 1;
            let Some(call) = pass.todo.pop_front() else { continue };
            let kill = self.kill.filter(|kill| kill.call == self.calls);
            let kill = kill.or_else(|| pass.dies.filter(|kill| kill.call == 0));
            self.calls += 1;
            if let Some(dies) = &mut pass.dies {
                dies.call = dies.call.wrapping_sub(1);
            }
            if kill.is_some_and(|kill| !kill.after) {
                return Progress::Died;
            }
            let answer = perform(&call, &pass.gave_up, worlds);
            worlds[0].life.calls += 1;
            if worlds[0].is_traced() {
                worlds[0].say(told(&call, &answer));
            }
            if kill.is_some() {
                return Progress::Died;
            }
            pass.inputs.take(answer);
        }
    }
}

impl Reconciler for Ours {
    fn second(&mut self, world: &mut World) {
        self.look_after(std::slice::from_mut(world));
    }
}

/// The events that have arrived, as the hints that the function makes of them.
fn events(worlds: &mut [World]) -> Vec<Hint> {
    let mut hints = Vec::new();
    for (index, world) in worlds.iter_mut().enumerate() {
        while let Some(spot) = world.arrived() {
            let noticed = world.draw.when(Fault::Spot).map(|window| at(window.from));
            let kind = if spot { HintKind::Spot { noticed } } else { HintKind::Look };
            hints.push(Hint { instance: name(index), kind });
        }
    }
    hints
}

fn at(second: i64) -> UnixMs {
    UnixMs((EPOCH + second) * 1000)
}

fn name(index: usize) -> InstanceId {
    InstanceId::new(format!("i-{index:017x}"))
}

fn index(instance: &InstanceId) -> usize {
    usize::from_str_radix(&instance.as_str()[2..], 16).expect("a name of ours")
}

fn throttled<T>() -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::Failed, detail: "Rate exceeded".into() })
}

fn refused() -> CallResult {
    CallResult::Failed { detail: "Rate exceeded".into() }
}

fn unanswered() -> CallResult {
    CallResult::Failed { detail: "no answer within 3 s".into() }
}

/// Makes the call.
fn perform(call: &Call, gave_up: &[InstanceId], worlds: &mut [World]) -> Answer {
    let first = &worlds[0];
    match call {
        Call::DescribeGroup { .. } if first.strikes(Fault::GroupThrottled) => {
            Answer::Group(throttled())
        }
        Call::DescribeGroup { .. } => Answer::Group(Reading::Known(group(worlds))),
        Call::DescribeHook => Answer::Hook(Reading::Known(Hook {
            heartbeat_s: u32::try_from(HEARTBEAT_S).expect("seconds"),
            global_s: u32::try_from(GLOBAL_S).expect("seconds"),
            default_result: "ABANDON".into(),
            terminating: true,
        })),
        Call::DescribeMachines { .. } if first.strikes(Fault::MachinesThrottled) => {
            Answer::Machines(throttled())
        }
        Call::DescribeMachines { instances } => {
            let state = |id: &InstanceId| {
                let runs = worlds[index(id)].machine_runs;
                (id.clone(), Machine::read(if runs { "running" } else { "terminated" }))
            };
            Answer::Machines(Reading::Known(instances.iter().map(state).collect()))
        }
        Call::DescribeActivities => {
            let leaving = worlds.iter().enumerate().filter(|(_, world)| world.is_leaving());
            let since = leaving.map(|(index, world)| (name(index), at(world.wait_began)));
            let ending = since.collect::<BTreeMap<_, _>>();
            Answer::Activities(Reading::Known(Activities { ending, ..Activities::default() }))
        }
        Call::ListCommands { instance } => {
            let world = &worlds[index(instance)];
            let listed = if world.strikes(Fault::ListThrottled) {
                throttled()
            } else {
                Reading::Known(listed(world))
            };
            Answer::Commands(instance.clone(), listed)
        }
        Call::Heartbeat { instance } => {
            let world = &mut worlds[index(instance)];
            let done = if world.strikes(Fault::HeartbeatThrottled) {
                refused()
            } else {
                done(world.heartbeat())
            };
            Answer::Held(instance.clone(), done)
        }
        Call::Send { instance, order } => {
            Answer::Sent(instance.clone(), send(&mut worlds[index(instance)], order))
        }
        Call::Complete { instance } => {
            let loss = if gave_up.contains(instance) { Loss::GaveUp } else { Loss::Released };
            Answer::Completed(instance.clone(), complete(&mut worlds[index(instance)], loss))
        }
        Call::Replace { instance } => {
            Answer::Replaced(instance.clone(), done(worlds[index(instance)].terminate()))
        }
    }
}

/// A call and its answer in a line of the trace.
fn told(call: &Call, answer: &Answer) -> String {
    match (call, answer) {
        (Call::DescribeGroup { .. }, Answer::Group(Reading::Known(group))) => {
            let states: Vec<&str> = group.members.iter().map(|m| m.lifecycle.as_str()).collect();
            format!("describe the group: {states:?}")
        }
        (Call::ListCommands { .. }, Answer::Commands(_, Reading::Known(commands))) => {
            let newest = commands.iter().max_by_key(|command| command.requested);
            let newest = newest.map(|c| (c.requested.0 / 1000 - EPOCH, c.status, &c.detail));
            format!("list the commands: {}, the newest {newest:?}", commands.len())
        }
        (Call::Send { order, .. }, Answer::Sent(_, done)) => {
            format!("send {:?}: {done:?}", order.comment())
        }
        (
            Call::Heartbeat { .. } | Call::Complete { .. } | Call::Replace { .. },
            Answer::Held(_, done) | Answer::Completed(_, done) | Answer::Replaced(_, done),
        ) => format!("{}: {done:?}", word(call)),
        (_, answer) => format!("{}: {answer:?}", word(call)),
    }
}

fn word(call: &Call) -> String {
    let text = format!("{call:?}");
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

fn done(is_done: bool) -> CallResult {
    if is_done { CallResult::Done } else { CallResult::NoAction }
}

fn group(worlds: &[World]) -> Group {
    let members = worlds.iter().enumerate().filter_map(|(index, world)| {
        Some(Member { id: name(index), lifecycle: world.shown()?.into() })
    });
    Group {
        name: GroupName::new("ghosthands-worker-asg"),
        at: at(worlds[0].now),
        members: members.collect(),
        retains: worlds[0].retain,
        rebalances: false,
    }
}

fn listed(world: &World) -> Vec<Invocation> {
    let late = if world.draw.has(Fault::ListLate) { world.draw.list_late_s } else { 0 };
    let seen = world.commands.iter().filter(|command| command.requested + late <= world.now);
    seen.map(invocation).collect()
}

fn invocation(command: &Command) -> Invocation {
    let (status, detail, output) = match &command.state {
        State::Sent => (Status::Running, "Pending", Output::None),
        State::Running { .. } | State::Orphaned | State::Finished { .. } => {
            (Status::Running, "InProgress", Output::None)
        }
        State::Over { status, detail, output } => (*status, *detail, output.clone()),
    };
    Invocation {
        command: format!("command-{}", command.requested),
        requested: at(command.requested),
        status,
        detail: detail.to_owned(),
        order: command.order.clone(),
        output,
    }
}

fn send(world: &mut World, order: &DrainOrder) -> CallResult {
    if world.strikes(Fault::SendThrottled) {
        return refused();
    }
    if !world.is_managed() {
        return CallResult::NotManaged;
    }
    world.send(order);
    if world.strikes_again(Fault::SendReplyLost) {
        // The SDK asks again, and there is no token that would tell SSM so.
        world.send(order);
    }
    CallResult::Done
}

fn complete(world: &mut World, loss: Loss) -> CallResult {
    if world.strikes(Fault::CompleteThrottled) {
        return refused();
    }
    let is_done = world.complete(loss);
    if is_done && world.strikes_again(Fault::CompleteReplyLost) {
        return unanswered();
    }
    done(is_done)
}
