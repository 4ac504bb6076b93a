//! The group, its hook and the machine.

use super::host::{Command, Host};
use super::{Draw, Fault, Scenario};

pub(crate) const HEARTBEAT_S: i64 = 300;
pub(crate) const GLOBAL_S: i64 = 30_000;
const SPOT_NOTICE_S: i64 = 120;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Wait,
    Retained,
    Proceed,
}

/// What became of a job that was not let finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Whoever looks after the instance let it go with the job on it.
    Released,
    /// The hook ran out and the machine ended.
    HookRanOut,
    /// The worker was told to end, and released the job.
    Stopped,
    /// AWS, an operator or a crash: nobody could have helped.
    BeyondUs,
}

/// How a life went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    pub(crate) losses: Vec<(i64, Loss)>,
    pub(crate) caught: u32,
    /// Completions that let the instance go.
    pub(crate) completions: u32,
    /// Waits that the hook began.
    pub(crate) waits: u32,
    pub(crate) retained: bool,
    /// When the worker had nothing to do any more and took nothing more.
    pub(crate) idle_at: Option<i64>,
    /// When a command closed the intake for the first time.
    pub(crate) closed_at: Option<i64>,
    pub(crate) released_at: Option<i64>,
    pub(crate) over_at: Option<i64>,
    pub(crate) calls: u32,
    pub(crate) calm_after: i64,
    pub(crate) trace: Vec<String>,
}

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
    retain: bool,
    wait_began: i64,
    heartbeat_until: i64,
    /// Ours is completed, another hook still holds.
    completed: bool,
    pub(crate) told: Vec<(Fault, i64)>,
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
            heartbeat_until: 0,
            completed: false,
            told: vec![],
            draw,
        };
        world.begin_wait();
        world
    }

    pub(crate) fn say(&mut self, what: impl Into<String>) {
        let line = format!("{:>6} s  {}", self.now, what.into());
        self.life.trace.push(line);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lifecycle == Lifecycle::Proceed && !self.machine_runs
    }

    pub(crate) fn into_life(self) -> Life {
        self.life
    }

    /// One second of everything but the keeper.
    pub(crate) fn second(&mut self) {
        self.now += 1;
        let (now, draw) = (self.now, self.draw.clone());
        if draw.begins(Fault::Spot, now) {
            self.say("AWS gives notice: the machine is taken back in two minutes");
            self.announce(true);
        }
        let taken = draw.when(Fault::Spot).is_some_and(|w| w.from + SPOT_NOTICE_S == now);
        if taken || draw.begins(Fault::MachineDies, now) {
            self.end_machine(Loss::BeyondUs, "the machine dies");
        }
        if draw.begins(Fault::HookIgnored, now) {
            self.end_machine(Loss::BeyondUs, "AWS ends the machine in spite of the hook");
            self.lifecycle = Lifecycle::Proceed;
        }
        if draw.begins(Fault::OperatorCompletes, now) && self.lifecycle == Lifecycle::Wait {
            self.go(Loss::BeyondUs, "an operator completes the action");
        }
        if self.lifecycle == Lifecycle::Wait && !self.completed {
            let global_over = now - self.wait_began >= GLOBAL_S;
            if now >= self.heartbeat_until || global_over {
                self.run_out();
            }
        }
        if self.completed && !draw.strikes(Fault::OtherHook, now) {
            self.completed = false;
            self.go(Loss::Released, "the other hook is done as well");
        }
        self.host_second();
    }

    fn begin_wait(&mut self) {
        self.lifecycle = Lifecycle::Wait;
        self.wait_began = self.now;
        self.heartbeat_until = self.now + HEARTBEAT_S;
        self.life.waits += 1;
        self.say("Terminating:Wait");
        self.announce(false);
    }

    fn run_out(&mut self) {
        if self.retain {
            self.lifecycle = Lifecycle::Retained;
            self.life.retained = true;
            self.say("the hook runs out, and the machine is kept");
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

    fn go(&mut self, loss: Loss, why: &str) {
        self.say(format!("{why}: Terminating:Proceed"));
        self.life.released_at = Some(self.now);
        self.lifecycle = Lifecycle::Proceed;
        self.end_machine(loss, "the machine ends");
    }

    fn end_machine(&mut self, loss: Loss, why: &str) {
        if !self.machine_runs {
            return;
        }
        self.machine_runs = false;
        self.life.over_at = Some(self.now);
        if self.host.job_ends.take().is_some() {
            self.lose(loss, why);
        } else {
            self.say(why);
        }
    }

    pub(crate) fn lose(&mut self, loss: Loss, why: &str) {
        self.say(format!("{why}, and a job with it ({loss:?})"));
        self.life.losses.push((self.now, loss));
    }

    /// Whether our action can be held and completed: it may come later than the state that shows it.
    fn has_action(&self) -> bool {
        self.lifecycle == Lifecycle::Wait
            && !self.completed
            && !self.draw.strikes(Fault::ActionLate, self.now)
    }

    /// `RecordLifecycleActionHeartbeat`; false: no such action.
    pub(crate) fn heartbeat(&mut self) -> bool {
        let has_action = self.has_action();
        if has_action {
            self.heartbeat_until = self.now + HEARTBEAT_S;
        }
        has_action
    }

    /// `CompleteLifecycleAction` with CONTINUE; false: no such action.
    pub(crate) fn complete(&mut self) -> bool {
        if !self.has_action() {
            return false;
        }
        self.life.completions += 1;
        if self.draw.strikes(Fault::OtherHook, self.now) {
            self.completed = true;
            self.say("completed; another hook still holds");
        } else {
            self.go(Loss::Released, "completed");
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
        let times = self.draw.times;
        if !self.told.iter().any(|(known, _)| *known == fault) {
            self.told.push((fault, times));
        }
        let left = self.told.iter_mut().find(|(known, _)| *known == fault).map(|(_, left)| left);
        left.is_some_and(|left| {
            *left -= 1;
            *left >= 0
        })
    }
}
