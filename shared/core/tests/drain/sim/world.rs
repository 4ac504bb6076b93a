//! The group, its hook and the machine.

use super::host::{Command, Host};
use super::{Draw, Fault, Scenario};
use std::fmt::Display;

pub(crate) const HEARTBEAT_S: i64 = 300;
pub(crate) const GLOBAL_S: i64 = 30_000;
const SPOT_NOTICE_S: i64 = 120;
/// How long a life is watched after its end: whoever looks after it may still do something wrong.
const LINGER_S: i64 = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Wait,
    Retained,
    Proceed,
}

impl Lifecycle {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Lifecycle::Wait => "Terminating:Wait",
            Lifecycle::Retained => "Terminating:Retained",
            Lifecycle::Proceed => "Terminating:Proceed",
        }
    }
}

/// What became of a job that was not let finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Whoever looks after the instance let it go with the job on it.
    Released,
    /// The same, when nothing had been heard for longer than any job may take.
    GaveUp,
    /// The hook ran out and the machine ended.
    HookRanOut,
    /// The worker was told to end, and released the job.
    Stopped,
    /// AWS, an operator or a crash: nobody could have helped.
    BeyondUs,
}

/// How a life went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) losses: Vec<(i64, Loss)>,
    /// Jobs that an old worker took in its last instant.
    pub(crate) caught: u32,
    /// Completions that let the instance go.
    pub(crate) completions: u32,
    /// Waits that the hook began.
    pub(crate) waits: u32,
    pub(crate) retained: bool,
    /// When the first command was taken by SSM.
    pub(crate) asked_at: Option<i64>,
    /// When the intake was closed for the first time.
    pub(crate) closed_at: Option<i64>,
    /// When the worker had nothing to do any more and took nothing more.
    pub(crate) idle_at: Option<i64>,
    pub(crate) released_at: Option<i64>,
    pub(crate) over_at: Option<i64>,
    pub(crate) calls: u32,
    pub(crate) commands: u32,
    /// What the hook had left, in seconds, when it was held in the last moment.
    pub(crate) margin_s: Option<i64>,
    pub(crate) calm_after: i64,
    pub(crate) trace: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) draw: Draw,
    pub(crate) host: Host,
    pub(crate) commands: Vec<Command>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) machine_runs: bool,
    /// Events on their way: when they arrive, and whether it is the spot notice.
    pub(crate) events: Vec<(i64, bool)>,
    pub(crate) life: Life,
    pub(crate) retain: bool,
    pub(crate) wait_began: i64,
    traced: bool,
    heartbeat_until: i64,
    /// Ours is completed, another hook still holds; and what a job would be lost by that is there
    /// when it lets go.
    completed: Option<Loss>,
    /// Since when the group is in which state.
    states: Vec<(i64, &'static str)>,
    /// How often each fault that strikes some times has struck.
    struck: Vec<(Fault, i64)>,
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> World {
        let draw = Draw::of(scenario);
        let mut world = World {
            now: 0,
            host: Host::new(&draw, scenario.watcher),
            commands: vec![],
            lifecycle: Lifecycle::Wait,
            machine_runs: true,
            events: vec![],
            life: Life { calm_after: draw.calm_after(), ..Life::default() },
            retain: scenario.retain,
            wait_began: 0,
            traced: scenario.traced,
            heartbeat_until: 0,
            completed: None,
            states: vec![(i64::MIN, "InService")],
            struck: vec![],
            draw,
        };
        world.begin_wait();
        world
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.traced
    }

    pub(crate) fn say(&mut self, what: impl Display) {
        if self.traced {
            self.life.trace.push(format!("{:>6} s  {what}", self.now));
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        let over = self.life.over_at.filter(|_| self.lifecycle == Lifecycle::Proceed);
        over.is_some_and(|over| self.now >= over + LINGER_S)
    }

    pub(crate) fn into_life(self) -> Life {
        self.life
    }

    /// Whether the fault is at work now.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        self.draw.strikes(fault, self.now)
    }

    /// One second of everything but the reconciler.
    pub(crate) fn second(&mut self) {
        self.now += 1;
        let now = self.now;
        if self.draw.begins(Fault::Spot, now) && self.machine_runs {
            self.say("AWS gives notice: the machine is taken back in two minutes");
            self.announce(true);
        }
        if self.draw.begins(Fault::Spot, now - SPOT_NOTICE_S) {
            self.end_machine(Loss::BeyondUs, "AWS takes the machine back");
        }
        if self.draw.begins(Fault::MachineDies, now) {
            self.end_machine(Loss::BeyondUs, "the machine dies");
        }
        if self.draw.begins(Fault::HookIgnored, now) && self.lifecycle != Lifecycle::Proceed {
            self.go(Loss::BeyondUs, "AWS ends the machine in spite of the hook");
        }
        if self.draw.begins(Fault::OperatorCompletes, now) && self.lifecycle == Lifecycle::Wait {
            self.go(Loss::BeyondUs, "an operator completes the action");
        }
        if self.lifecycle == Lifecycle::Wait && self.completed.is_none() {
            let global_over = now - self.wait_began >= GLOBAL_S;
            if now >= self.heartbeat_until || global_over {
                self.run_out();
            }
        }
        if let Some(loss) = self.completed
            && !self.strikes(Fault::OtherHook)
        {
            self.completed = None;
            self.go(loss, "the other hook is done as well");
        }
        self.host_second();
    }

    fn enter(&mut self, lifecycle: Lifecycle, why: &str) {
        self.lifecycle = lifecycle;
        self.states.push((self.now, lifecycle.word()));
        self.say(format_args!("{why}: {}", lifecycle.word()));
    }

    fn begin_wait(&mut self) {
        self.wait_began = self.now;
        self.heartbeat_until = self.now + HEARTBEAT_S;
        self.life.waits += 1;
        self.enter(Lifecycle::Wait, "the hook begins");
        self.announce(false);
    }

    fn run_out(&mut self) {
        if self.retain {
            self.life.retained = true;
            self.enter(Lifecycle::Retained, "the hook runs out, and the machine is kept");
        } else {
            self.go(Loss::HookRanOut, "the hook runs out");
        }
    }

    /// An event of something that just happened goes on its way.
    pub(crate) fn announce(&mut self, spot: bool) {
        if self.draw.has(Fault::EventsLost) {
            return;
        }
        let delay = self.draw.event_delay_s;
        self.events.push((self.now + delay, spot));
        if self.draw.has(Fault::EventsDoubled) {
            self.events.push((self.now + delay + 1, spot));
            self.events.push((self.now + delay + 90, spot));
        }
    }

    /// Takes the next event that has arrived.
    pub(crate) fn arrived(&mut self) -> Option<bool> {
        let index = self.events.iter().position(|(at, _)| *at <= self.now)?;
        Some(self.events.swap_remove(index).1)
    }

    /// The state as the group shows it; `None` once it is gone from there.
    pub(crate) fn shown(&self) -> Option<&'static str> {
        let stale = self.strikes(Fault::GroupStale);
        let at = if stale { self.now - self.draw.stale_s } else { self.now };
        let shown = self.states.iter().rev().find(|(since, _)| *since <= at)?;
        let gone = shown.1 == Lifecycle::Proceed.word() && at - shown.0 > 90;
        (!gone).then_some(shown.1)
    }

    fn go(&mut self, loss: Loss, why: &str) {
        self.life.released_at = Some(self.now);
        self.enter(Lifecycle::Proceed, why);
        self.end_machine(loss, "the machine ends");
        self.life.over_at = Some(self.now);
    }

    fn end_machine(&mut self, loss: Loss, why: &str) {
        if !self.machine_runs {
            return;
        }
        self.machine_runs = false;
        self.say(why);
        if self.host.job_ends.take().is_some() {
            self.lose(loss);
        }
    }

    pub(crate) fn lose(&mut self, loss: Loss) {
        self.say(format_args!("a job is not let finish: {loss:?}"));
        self.life.losses.push((self.now, loss));
    }

    /// Whether our action can be held and completed: it may come later than the state that shows
    /// it.
    fn has_action(&self) -> bool {
        self.lifecycle == Lifecycle::Wait
            && self.completed.is_none()
            && !self.strikes(Fault::ActionLate)
    }

    /// `RecordLifecycleActionHeartbeat`; false: no such action.
    pub(crate) fn heartbeat(&mut self) -> bool {
        let has_action = self.has_action();
        if has_action {
            let left = self.heartbeat_until - self.now;
            self.life.margin_s = Some(self.life.margin_s.map_or(left, |margin| margin.min(left)));
            self.heartbeat_until = self.now + HEARTBEAT_S;
        }
        has_action
    }

    /// `CompleteLifecycleAction` with CONTINUE; false: no such action.
    pub(crate) fn complete(&mut self, loss: Loss) -> bool {
        if !self.has_action() {
            return false;
        }
        self.life.completions += 1;
        if self.strikes(Fault::OtherHook) {
            self.completed = Some(loss);
            self.say("completed; another hook still holds");
        } else {
            self.go(loss, "completed");
        }
        true
    }

    /// `TerminateInstanceInAutoScalingGroup` of a retained instance: the hook runs anew.
    pub(crate) fn terminate(&mut self) -> bool {
        let retained = self.lifecycle == Lifecycle::Retained;
        if retained {
            self.begin_wait();
        }
        retained
    }

    /// Whether a fault that strikes the first few times strikes now.
    pub(crate) fn strikes_again(&mut self, fault: Fault) -> bool {
        if !self.draw.has(fault) {
            return false;
        }
        let index = self.struck.iter().position(|(known, _)| *known == fault);
        let index = index.unwrap_or_else(|| {
            self.struck.push((fault, 0));
            self.struck.len() - 1
        });
        let times = &mut self.struck[index].1;
        *times += 1;
        // An agent that dies with every command is one that never answers, and is given up as one.
        let most = if fault == Fault::AgentDies { 2 } else { i64::MAX };
        *times <= self.draw.times.min(most)
    }
}
