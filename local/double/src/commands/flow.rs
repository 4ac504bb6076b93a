//! What happens to commands by themselves: waves, pick-ups, results, time-outs, ends.

use std::time::Duration;

use jiff::Timestamp;

use super::model::{Command, CommandOutput, CommandState, Invocation, InvocationState as State};
use super::{CommandFault, Notice, RunCommand, RunKey};

impl RunCommand {
    /// Runs everything that is due up to and at `now`. A clock that went backwards is ignored.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let target = now.max(self.now);
        while let Some(at) = self.next_deadline().filter(|at| *at <= target) {
            self.now = at.max(self.now);
            self.settle();
        }
        self.now = target;
        self.settle();
    }

    /// The next instant at which something happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.open
            .iter()
            .filter_map(|seq| self.command(*seq))
            .flat_map(|c| {
                let own = c.invocations.iter().flat_map(move |v| self.deadlines(c, v));
                own.chain([c.expires])
            })
            .min()
    }

    fn deadlines(
        &self,
        command: &Command,
        v: &Invocation,
    ) -> impl Iterator<Item = Timestamp> + use<> {
        let reachable = self.is_reachable(&v.instance);
        let window = v.sent_at.map(|at| window_end(command, at));
        let (first, second) = match v.state {
            State::Pending | State::Delayed => (
                v.pickup
                    .filter(|at| reachable && window.is_some_and(|end| (*at).max(self.now) < end)),
                window.filter(|end| *end > self.now || !self.settings.timeout_verdict_at_expiry),
            ),
            State::InProgress | State::Cancelling if reachable && !v.abandoned => (
                // A second delivery may still be due while the first runs.
                v.report.as_ref().map(|(at, _)| *at).into_iter().chain(v.pickup).min(),
                limit(command, v),
            ),
            // The agent keeps the time limit without a connection.
            State::InProgress | State::Cancelling if !v.abandoned && !v.overdue => {
                (limit(command, v), None)
            }
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    fn settle(&mut self) {
        for seq in self.open.iter().copied().collect::<Vec<_>>() {
            // One thing leads to the next within the same instant: a host that fails at once ends
            // its wave.
            while self.step(seq) {}
            self.conclude(seq);
        }
    }

    /// One round over a command. True when something changed that may allow more.
    fn step(&mut self, seq: u64) -> bool {
        let Some(command) = self.command(seq) else { return false };
        let count = command.invocations.len();
        let mut changed = false;
        for index in 0..count {
            changed |= self.step_invocation(seq, index);
        }
        let Some(command) = self.command(seq) else { return false };
        if command.count(State::is_error) >= command.rate.stop_at {
            let unsent: Vec<usize> = (0..count)
                .filter(|i| {
                    let v = &command.invocations[*i];
                    v.sent_at.is_none() && v.state == State::Pending
                })
                .collect();
            for index in &unsent {
                self.change(seq, *index, State::Terminated);
            }
            return changed || !unsent.is_empty();
        }
        self.send_wave(seq) || changed
    }

    fn step_invocation(&mut self, seq: u64, index: usize) -> bool {
        let now = self.now;
        let Some(command) = self.command(seq) else { return false };
        let v = &command.invocations[index];
        if v.state.is_terminal() {
            return false;
        }
        let reachable = self.is_reachable(&v.instance);
        let running = matches!(v.state, State::InProgress | State::Cancelling);
        let window = v.sent_at.map(|at| window_end(command, at));
        let limit = limit(command, v);
        let next = if running && reachable && !v.abandoned {
            let in_time = |at: Timestamp| at <= now && limit.is_none_or(|limit| at <= limit);
            if let Some((_, output)) = v.report.clone().filter(|(at, _)| in_time(*at)) {
                self.finish(seq, index, output);
                return true;
            }
            if limit.is_some_and(|limit| limit <= now) {
                let cancelling = v.state == State::Cancelling;
                self.kill(seq, index);
                Some(if cancelling { State::Cancelled } else { State::ExecutionTimedOut })
            } else if v.pickup.is_some_and(|at| at <= now) {
                self.pick_up(seq, index);
                return true;
            } else {
                None
            }
        } else if running && !v.abandoned && !v.overdue && limit.is_some_and(|limit| limit <= now) {
            self.kill(seq, index);
            if let Some(v) = self.invocation_mut(seq, index) {
                v.overdue = true;
            }
            None
        } else if !running && window.is_some_and(|end| end <= now) {
            let undeliverable =
                v.fault == Some(CommandFault::Undeliverable) || self.gone.contains(&v.instance);
            match (undeliverable, self.settings.timeout_verdict_at_expiry) {
                (true, _) => Some(State::Undeliverable),
                (false, false) => Some(State::DeliveryTimedOut),
                (false, true) => None,
            }
        } else if !running && reachable && v.pickup.is_some_and(|at| at <= now) {
            self.pick_up(seq, index);
            return true;
        } else {
            None
        };
        let expired = self.command(seq).filter(|c| c.expires <= now).map(|c| {
            if c.invocations[index].state == State::Cancelling {
                State::Cancelled
            } else {
                State::DeliveryTimedOut
            }
        });
        let next = next.or(expired);
        if let Some(state) = next {
            self.change(seq, index, state);
        }
        next.is_some()
    }

    /// Lets the next hosts go as rate control allows.
    fn send_wave(&mut self, seq: u64) -> bool {
        let Some(command) = self.command_mut(seq) else { return false };
        let waiting: Vec<usize> = (0..command.invocations.len())
            .filter(|i| {
                let v = &command.invocations[*i];
                v.sent_at.is_none() && !v.state.is_terminal()
            })
            .collect();
        if waiting.is_empty() || command.cancelled {
            return false;
        }
        let sent = command.invocations.iter().filter(|v| v.sent_at.is_some()).count();
        let in_flight = command
            .invocations
            .iter()
            .filter(|v| v.sent_at.is_some() && !v.state.is_terminal())
            .count();
        if !command.rate.is_open() {
            if in_flight > 0 {
                return false;
            }
            if sent > 0 {
                command.rate.widen();
            }
        }
        let room = command.rate.window.saturating_sub(in_flight);
        for index in waiting.iter().take(room) {
            self.send_to(seq, *index);
        }
        room > 0
    }

    fn send_to(&mut self, seq: u64, index: usize) {
        let (now, delivery) = (self.now, self.settings.delivery);
        let Some(instance) = self.command(seq).map(|c| c.invocations[index].instance.clone())
        else {
            return;
        };
        let fault = self.strike(&instance);
        let Some(command) = self.command_mut(seq) else { return };
        let linux = command.linux;
        let v = &mut command.invocations[index];
        v.sent_at = Some(now);
        v.fault = fault;
        v.pickup = match fault {
            Some(CommandFault::Undeliverable) => None,
            Some(CommandFault::Delay { seconds }) => {
                Some(now + delivery + Duration::from_secs(seconds.into()))
            }
            _ => Some(now + delivery),
        };
        if !linux {
            self.change(seq, index, State::InvalidPlatform);
        } else if matches!(fault, Some(CommandFault::Delay { .. })) {
            self.change(seq, index, State::Delayed);
        }
    }

    fn pick_up(&mut self, seq: u64, index: usize) {
        let now = self.now;
        let Some(v) = self.invocation_mut(seq, index) else { return };
        v.deliveries += 1;
        let again = v.fault == Some(CommandFault::DeliverTwice) && v.deliveries == 1;
        v.pickup = again.then_some(now);
        v.started_at.get_or_insert(now);
        let key = RunKey { seq, instance: v.instance.clone(), delivery: v.deliveries };
        if v.state != State::InProgress {
            self.change(seq, index, State::InProgress);
        }
        self.runs.begin.push(key);
    }

    /// A run ended on its host; the result arrives when its agent can send it.
    pub(crate) fn report(&mut self, key: &RunKey, mut output: CommandOutput) {
        let now = self.now;
        let Some(command) = self.command_mut(key.seq) else { return };
        let Some(v) = command.invocations.iter_mut().find(|v| v.instance == key.instance) else {
            return;
        };
        let running = matches!(v.state, State::InProgress | State::Cancelling);
        if !running || v.abandoned || v.fault == Some(CommandFault::LoseReport) {
            return;
        }
        let at = v.started_at.unwrap_or(now).checked_add(output.took).unwrap_or(Timestamp::MAX);
        if v.fault == Some(CommandFault::LoseOutput) {
            output.stdout.clear();
            output.stderr.clear();
        }
        if v.report.as_ref().is_none_or(|(known, _)| at < *known) {
            v.report = Some((at.max(now), output));
        }
    }

    fn finish(&mut self, seq: u64, index: usize, output: CommandOutput) {
        let Some(v) = self.invocation_mut(seq, index) else { return };
        let state = match (v.state, output.exit_code) {
            (State::Cancelling, _) => State::Cancelled,
            (_, 0) => State::Success,
            _ => State::Failed,
        };
        v.output = Some(output);
        self.change(seq, index, state);
    }

    /// Changes an invocation's state and tells of it.
    pub(super) fn change(&mut self, seq: u64, index: usize, state: State) {
        let now = self.now;
        let Some(command) = self.command_mut(seq) else { return };
        let v = &mut command.invocations[index];
        v.state = state;
        if state.is_terminal() {
            v.ended_at = Some(now);
            v.pickup = None;
            v.report = None;
        }
        let instance = Some(v.instance.clone());
        let first = state == State::InProgress && command.state == CommandState::Pending;
        if first {
            command.state = CommandState::InProgress;
        }
        self.notices.push(Notice { at: now, seq, instance, status: state.status() });
        if first {
            self.tell(seq);
        }
    }

    /// A cancel of everything: hosts whose wave has not come will not get the command.
    pub(super) fn cancel_whole(&mut self, seq: u64) {
        let open = self.open.contains(&seq);
        let Some(command) = self.command_mut(seq).filter(|_| open) else { return };
        command.cancelled = true;
        command.state = CommandState::Cancelling;
        self.tell(seq);
    }

    /// Ends the command when its last invocation ended.
    fn conclude(&mut self, seq: u64) {
        let Some(command) = self.command_mut(seq) else { return };
        if command.count(|s| !s.is_terminal()) > 0 {
            return;
        }
        let all = command.invocations.len();
        let unreached = command.count(|s| s == State::Undeliverable);
        let succeeded = command.count(|s| s == State::Success);
        let late = command.count(|s| s == State::DeliveryTimedOut);
        let stopped = command.count(State::is_error) >= command.rate.stop_at;
        let misfit = command.count(|s| s == State::InvalidPlatform) > 0;
        command.state = if command.cancelled || command.count(|s| s == State::Cancelled) == all {
            CommandState::Cancelled
        } else if stopped || misfit || unreached == all {
            CommandState::Failed
        } else if succeeded + unreached == all {
            CommandState::Success
        } else if late + unreached == all {
            CommandState::DeliveryTimedOut
        } else {
            CommandState::Incomplete
        };
        self.tell(seq);
        self.open.remove(&seq);
    }

    pub(super) fn tell(&mut self, seq: u64) {
        let Some(status) = self.command(seq).map(|c| c.state.status()) else { return };
        self.notices.push(Notice { at: self.now, seq, instance: None, status });
    }

    pub(super) fn invocation_mut(&mut self, seq: u64, index: usize) -> Option<&mut Invocation> {
        self.command_mut(seq).map(|c| &mut c.invocations[index])
    }

    pub(super) fn command_mut(&mut self, seq: u64) -> Option<&mut Command> {
        self.commands.get_mut(usize::try_from(seq.checked_sub(1)?).ok()?)
    }
}

fn limit(command: &Command, v: &Invocation) -> Option<Timestamp> {
    v.started_at.map(|at| at + command.execution)
}

fn window_end(command: &Command, sent: Timestamp) -> Timestamp {
    sent + Duration::from_secs(command.timeout_seconds.into())
}
