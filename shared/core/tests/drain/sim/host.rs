//! The machine as far as a drain goes: SSM's agent and its commands, the deploy-server, the worker
//! and its job.

use super::world::{Lifecycle, Loss};
use super::{Draw, Fault, World};
use fleet_core::drain::{DELIVERY_S, DrainOrder, DrainReport, Output};
use fleet_core::run_command::InvocationStatus as Status;

/// SSM gives up on a command this long after its delivery window and its own window, as
/// `GhostHands-Host` has it.
const EXECUTION_SLACK_S: i64 = 60;
/// A worker that starts again answers after this time.
const WORKER_BOOT_S: i64 = 20;
/// An agent that died is started again by systemd after this time.
const AGENT_BOOT_S: i64 = 15;
/// How often the host looks at its own metadata.
const WATCH_EVERY_S: i64 = 5;

/// One command as SSM and the host have it.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) requested: i64,
    pub(crate) order: DrainOrder,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(crate) enum State {
    Sent,
    /// The deploy-server works on it until then.
    Running {
        until: i64,
    },
    /// The agent died with it: nothing will come of it.
    Orphaned,
    /// It has ended on the host, and the agent has yet to say so.
    Finished {
        output: Output,
    },
    Over {
        status: Status,
        detail: &'static str,
        output: Output,
    },
}

impl Command {
    /// When SSM calls it timed out, should nothing come of it.
    fn times_out_at(&self) -> i64 {
        let window = i64::from(self.order.window_s) + EXECUTION_SLACK_S;
        self.requested + i64::from(DELIVERY_S) + window
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    /// It runs; whether its intake is closed.
    Up {
        closed: bool,
    },
    Stopped,
}

#[derive(Debug)]
pub(crate) struct Host {
    watcher: bool,
    /// The durable marker: this machine is terminating.
    terminating: bool,
    worker: Worker,
    /// A worker that fetches on while it drains, and cannot say whether it does.
    old: bool,
    worker_up_at: i64,
    agent_up_at: i64,
    pub(crate) job_ends: Option<i64>,
    next_job_at: i64,
    caught: u32,
}

impl Host {
    pub(crate) fn new(draw: &Draw, watcher: bool) -> Host {
        let busy = draw.job_left > 0;
        Host {
            watcher,
            terminating: false,
            worker: Worker::Up { closed: false },
            old: draw.has(Fault::OldWorker),
            worker_up_at: 0,
            agent_up_at: 0,
            job_ends: busy.then_some(draw.job_left),
            next_job_at: draw.next_gap_s,
            caught: 0,
        }
    }

    /// Nothing runs and nothing more will be taken. An old worker is never at rest before it is
    /// stopped.
    pub(crate) fn is_at_rest(&self) -> bool {
        match self.worker {
            Worker::Stopped => true,
            Worker::Up { closed } => closed && !self.old && self.job_ends.is_none(),
        }
    }
}

impl World {
    pub(super) fn host_second(&mut self) {
        if self.machine_runs {
            self.work();
            if self.host.watcher && self.now % WATCH_EVERY_S == 0 && self.is_server_up() {
                // Its target state is Terminated from the first second of the wait on.
                self.mark("the host sees in its metadata that it is to end");
            }
            self.close_intake();
            self.stop_the_old_worker();
            self.begin_a_job();
        }
        let mut commands = std::mem::take(&mut self.commands);
        for command in &mut commands {
            self.advance(command);
        }
        self.commands = commands;
        let at_rest = self.machine_runs && self.host.is_at_rest();
        if at_rest && self.life.idle_at.is_none() {
            self.say("nothing runs, and nothing more is taken");
            self.life.idle_at = Some(self.now);
        } else if self.machine_runs && !at_rest {
            self.life.idle_at = None;
        }
    }

    fn is_server_up(&self) -> bool {
        !self.strikes(Fault::ServerDown)
    }

    fn reaches_worker(&self) -> bool {
        self.now >= self.host.worker_up_at && !self.strikes(Fault::WorkerUnreachable)
    }

    /// Leaves the durable marker: from now on the host itself sees to it that the intake is closed,
    /// whatever the worker does.
    pub(crate) fn mark(&mut self, why: &str) {
        if !self.host.terminating {
            self.host.terminating = true;
            self.say(why);
        }
    }

    fn work(&mut self) {
        if self.draw.begins(Fault::WorkerRestarts, self.now) && self.host.worker != Worker::Stopped
        {
            self.say("the worker crashes and starts again, with its intake open");
            self.host.worker = Worker::Up { closed: false };
            self.host.worker_up_at = self.now + WORKER_BOOT_S;
            self.host.next_job_at = self.now + WORKER_BOOT_S + self.draw.next_gap_s;
            if self.host.job_ends.take().is_some() {
                self.lose(Loss::BeyondUs);
            }
        }
        if self.host.job_ends.is_some_and(|ends| ends <= self.now) {
            self.say("the job ends");
            self.host.job_ends = None;
            self.host.next_job_at = self.now + self.draw.next_gap_s;
        }
    }

    /// What the deploy-server does every second or two on a marked host, with a command in hand or
    /// without.
    fn close_intake(&mut self) {
        let open = self.host.worker == Worker::Up { closed: false };
        if open && self.host.terminating && self.is_server_up() && self.reaches_worker() {
            self.say("the worker's intake is closed");
            self.host.worker = Worker::Up { closed: true };
            self.life.closed_at = self.life.closed_at.or(Some(self.now));
        }
    }

    /// The host stops it at its first idle reading; in between it may take one job more.
    fn stop_the_old_worker(&mut self) {
        let told = self.host.old && self.host.worker == Worker::Up { closed: true };
        let idle = self.host.job_ends.is_none();
        if told && idle && self.is_server_up() && self.reaches_worker() {
            self.host.worker = Worker::Stopped;
            self.say("the old worker is stopped while it is idle");
            if self.draw.caught {
                self.say("it had taken a job in the last instant");
                self.host.caught += 1;
                self.life.caught += 1;
            }
        }
    }

    fn begin_a_job(&mut self) {
        let takes = match self.host.worker {
            Worker::Up { closed } => !closed || self.host.old,
            Worker::Stopped => false,
        };
        if takes && self.host.job_ends.is_none() && self.now >= self.host.next_job_at {
            let takes_s = self.draw.next_job_s;
            self.say(format_args!("a job of {takes_s} s begins"));
            self.host.job_ends = Some(self.now + takes_s);
        }
    }

    fn is_agent_up(&self) -> bool {
        self.machine_runs && self.now >= self.host.agent_up_at && !self.strikes(Fault::AgentOffline)
    }

    fn advance(&mut self, command: &mut Command) {
        match command.state {
            State::Sent if self.is_agent_up() && self.now > command.requested => {
                command.state = self.deliver(&command.order);
            }
            State::Sent if self.now >= command.requested + i64::from(DELIVERY_S) => {
                self.end(command, Status::Unreached, "DeliveryTimedOut", Output::None);
            }
            State::Running { until } if self.machine_runs => {
                if let Some(output) = self.answer(&command.order, until) {
                    command.state = State::Finished { output };
                }
            }
            _ => {}
        }
        let pending = matches!(
            command.state,
            State::Running { .. } | State::Orphaned | State::Finished { .. }
        );
        if matches!(command.state, State::Finished { .. }) && self.is_agent_up() {
            let State::Finished { output } = std::mem::replace(&mut command.state, State::Sent)
            else {
                unreachable!("it was looked at in the line before");
            };
            let lost = self.draw.has(Fault::OutputLost);
            let output = if lost { Output::None } else { output };
            self.end(command, Status::Success, "Success", output);
        } else if pending && self.now >= command.times_out_at() {
            self.end(command, Status::TimedOut, "ExecutionTimedOut", Output::None);
        }
    }

    fn end(&mut self, command: &mut Command, status: Status, detail: &'static str, output: Output) {
        let sent = command.requested;
        if self.is_traced() {
            let said = match &output {
                Output::Report(DrainReport { drained, active_jobs, accepting, .. }) => {
                    format!("drained {drained}, jobs {active_jobs:?}, accepting {accepting:?}")
                }
                other => format!("{other:?}"),
            };
            self.say(format_args!("the command of {sent} s ends: {detail}, {said}"));
        }
        command.state = State::Over { status, detail, output };
        self.announce(false);
    }

    fn deliver(&mut self, order: &DrainOrder) -> State {
        if self.strikes_again(Fault::AgentDies) {
            self.say("the agent dies with the command in hand");
            self.host.agent_up_at = self.now + AGENT_BOOT_S;
            if self.draw.agent_told && self.is_server_up() {
                self.mark("the host has taken the order all the same");
            }
            return State::Orphaned;
        }
        if self.strikes_again(Fault::Lies) {
            return State::Finished { output: lie(self.draw.lie) };
        }
        if self.is_server_up() {
            self.mark("the host takes the order: it is terminating");
            self.close_intake();
        }
        State::Running { until: self.now + i64::from(order.window_s) }
    }

    /// What the command prints, once it ends.
    fn answer(&mut self, order: &DrainOrder, until: i64) -> Option<Output> {
        if !self.is_server_up() {
            let nobody = "it printed no report but \"the deploy-server does not answer\"";
            return Some(Output::Unreadable(nobody.to_owned()));
        }
        let reached = self.reaches_worker();
        if self.host.is_at_rest() && (reached || self.host.worker == Worker::Stopped) {
            return Some(self.report(true, reached));
        }
        if self.now < until {
            return None;
        }
        if !order.stop {
            return Some(self.report(false, reached));
        }
        self.say("the time is up: the worker is told to end");
        self.host.worker = Worker::Stopped;
        let ran = self.host.job_ends.take().is_some();
        if ran {
            self.lose(Loss::Stopped);
        }
        let Output::Report(report) = self.report(true, reached) else { return None };
        let stopped_jobs = reached.then_some(u32::from(ran));
        Some(Output::Report(DrainReport { stopped_jobs, ..report }))
    }

    /// What the host says of its worker.
    fn report(&self, drained: bool, reached: bool) -> Output {
        let stopped = self.host.worker == Worker::Stopped;
        let jobs = u32::from(self.host.job_ends.is_some());
        Output::Report(DrainReport {
            drained,
            active_jobs: (stopped || reached).then_some(jobs),
            accepting: match self.host.worker {
                Worker::Stopped => Some(false),
                Worker::Up { closed } => (reached && !self.host.old).then_some(!closed),
            },
            terminating: self.host.terminating,
            instance_id: None,
            worker_stopped: stopped,
            caught_jobs: self.host.caught,
            stopped_jobs: Some(0),
            message: if reached { String::new() } else { "the worker does not answer".into() },
            ..DrainReport::default()
        })
    }

    /// Takes a command in, as SSM does.
    pub(crate) fn send(&mut self, order: &DrainOrder) {
        self.life.asked_at = self.life.asked_at.or(Some(self.now));
        self.life.commands += 1;
        // What SSM keeps of the order is its comment.
        let order = DrainOrder::read(&order.comment()).expect("a comment of ours");
        self.commands.push(Command { requested: self.now, order, state: State::Sent });
    }

    /// Whether SSM refuses a command for this machine.
    pub(crate) fn is_managed(&self) -> bool {
        self.machine_runs && !self.draw.has(Fault::NeverManaged)
    }

    /// Whether the machine is on its way out for its own eyes.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lifecycle != Lifecycle::Proceed
    }
}

/// A command that ended well and did nothing.
fn lie(which: i64) -> Output {
    let drained = DrainReport {
        drained: true,
        active_jobs: Some(0),
        accepting: Some(false),
        terminating: true,
        instance_id: None,
        worker_stopped: false,
        caught_jobs: 0,
        stopped_jobs: Some(0),
        message: "Drain complete".into(),
        ..DrainReport::default()
    };
    match which {
        0 => Output::None,
        1 => Output::Unreadable("it printed no report but \"404 page not found\"".into()),
        2 => Output::Report(DrainReport { active_jobs: None, ..drained }),
        3 => Output::Report(DrainReport { accepting: Some(true), ..drained }),
        _ => Output::Report(DrainReport { terminating: false, ..drained }),
    }
}
