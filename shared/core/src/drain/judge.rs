//! How it stands with one instance: may it go, must its host be asked, or is there nothing to do
//! but wait?

use super::policy::{
    PROOF_MAX_AGE_S, RESEND_AFTER_S, SPOT_MARGIN_S, SPOT_NOTICE_S, TICK_S, UNLISTED_S, WINDOW_S,
};
use super::{
    Age, CallResult, Chain, DrainOrder, Evidence, Finding, Invocation, LastAnswer, Machine, Output,
    Policy, Reason,
};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;

/// What an instance needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    Wait,
    Ask(DrainOrder),
    Leave,
}

/// One instance, with everything that is known of it.
pub(super) struct LeavingInstance<'a> {
    pub(super) policy: &'a Policy,
    pub(super) now: UnixMs,
    pub(super) instance: &'a InstanceId,
    pub(super) evidence: &'a Evidence,
    pub(super) machine: Option<&'a Machine>,
    /// When this environment last sent it a command.
    pub(super) sent: Option<UnixMs>,
    /// When the group began to end it, where the commands cannot tell.
    pub(super) leaving_since: Option<UnixMs>,
    /// When AWS gave notice, if an event of this pass says so.
    pub(super) noticed: Option<UnixMs>,
}

impl LeavingInstance<'_> {
    /// What is known of its age; `None` while its commands are unknown.
    pub(super) fn age(&self) -> Option<Age> {
        let until = self.noticed.map(|at| at.plus_seconds(SPOT_NOTICE_S - SPOT_MARGIN_S));
        let commands = self.evidence.commands.as_ref()?.known()?;
        let mut age = Age::of(commands, until, self.now);
        if commands.is_empty() {
            age.chain = age.chain.join(Chain { asked: self.leaving_since, ..Chain::default() });
        }
        Some(age)
    }

    /// The decision's order is the promise: proof first, then the limit, then patience.
    pub(super) fn judge(&self) -> (NextStep, Reason) {
        if let Some(Machine::Gone(state)) = self.machine {
            return (NextStep::Leave, Reason::MachineGone { state: state.clone() });
        }
        let (commands, age) = match (&self.evidence.commands, self.age()) {
            (Some(Reading::Known(commands)), Some(age)) => (commands, age),
            (Some(Reading::Unknown(source)), _) => {
                return (NextStep::Wait, Reason::CommandsUnknown { source: source.clone() });
            }
            _ => return (NextStep::Wait, Reason::Looking),
        };
        let newest = commands.iter().max_by_key(|command| command.requested);
        if let Some(because) = self.proof(commands) {
            return (NextStep::Leave, because);
        }
        let stop_at = age.stop_at(self.policy);
        if let Some(at) = stop_at.filter(|at| *at <= self.now) {
            return self.past(at, commands, newest, &age);
        }
        let unnoticed = |order: &DrainOrder| age.chain.until.is_some() && !order.stop;
        match newest.filter(|newest| newest.is_awaited(self.now)) {
            Some(newest) if !unnoticed(&newest.order) && !self.is_due(newest) => {
                let asked_s = self.now.since(newest.requested) / 1000;
                return (
                    NextStep::Wait,
                    Reason::Waiting { asked_s, window_s: newest.order.window_s },
                );
            }
            _ => {
                let urgent = newest.is_some_and(|newest| unnoticed(&newest.order));
                if let Some(because) = self.too_soon(newest).filter(|_| !urgent) {
                    return (NextStep::Wait, because);
                }
            }
        }
        let left = stop_at.map_or(i64::MAX, |at| at.since(self.now).max(0) / 1000);
        let order = DrainOrder {
            window_s: u32::try_from(left).map_or(WINDOW_S, |left| left.min(WINDOW_S)),
            stop: age.chain.until.is_some(),
            chain: age.chain,
        };
        (NextStep::Ask(order), Reason::Ask { last: self.last_answer(newest) })
    }

    /// Whether a command will be over before the next tick. A job that ends between two commands
    /// would wait for two ticks, one to be asked about and one to be heard, should the events be
    /// lost; so the next command begins before this one ends.
    fn is_due(&self, command: &Invocation) -> bool {
        let left = i64::from(command.order.window_s) * 1000 - self.now.since(command.requested);
        !command.order.stop && left <= i64::from(TICK_S) * 1000
    }

    /// The newest answer of all decides: a worker that somebody revived is busy whatever was proven
    /// before.
    fn proof(&self, commands: &[Invocation]) -> Option<Reason> {
        let answered = commands.iter().filter(|command| command.finding(self.instance).is_some());
        let newest = answered.max_by_key(|command| command.requested)?;
        let fresh = self.now.since(newest.requested) <= i64::from(PROOF_MAX_AGE_S) * 1000;
        match &newest.output {
            Output::Report(report)
                if fresh && Finding::of(report, self.instance) == Finding::Drained =>
            {
                Some(Reason::Drained { stopped: report.worker_stopped })
            }
            _ => None,
        }
    }

    /// The time is up: order to stop, wait for the answer, and in the end go without.
    fn past(
        &self,
        stop_at: UnixMs,
        commands: &[Invocation],
        newest: Option<&Invocation>,
        age: &Age,
    ) -> (NextStep, Reason) {
        // After an outage of ours, or of the agent, the worker may not know that it is to end.
        // Should it hear it now, its job has all its time: so it is told once more before it is
        // stopped.
        let last_calls = || commands.iter().filter(|c| !c.order.stop && c.requested >= stop_at);
        if let Some(call) = last_calls().max_by_key(|call| call.requested)
            && call.is_awaited(self.now)
            && newest == Some(call)
        {
            let asked_s = self.now.since(call.requested) / 1000;
            return (NextStep::Wait, Reason::Waiting { asked_s, window_s: call.order.window_s });
        }
        // The grace counts from the order to stop, or from a last call of which nothing came at
        // all.
        let stops = commands.iter().filter(|command| command.order.stop);
        let told = stops.map(Invocation::due_at).min();
        let told = told.or_else(|| {
            last_calls().filter(|call| !call.status.ran_to_its_end()).map(Invocation::due_at).min()
        });
        // Where SSM does not know the machine, nobody can tell it.
        let cannot = self.evidence.sent == Some(CallResult::NotManaged);
        if let Some(since) = told.or_else(|| cannot.then_some(stop_at)) {
            let silent = self.now.since(since.max(stop_at));
            if silent >= i64::from(self.policy.give_up_after_s()) * 1000 {
                return (NextStep::Leave, Reason::GaveUp { silent_s: silent / 1000 });
            }
        }
        let stopping = newest.filter(|n| n.order.stop && n.is_awaited(self.now));
        if let Some(stopping) = stopping {
            let asked_s = self.now.since(stopping.requested) / 1000;
            return (NextStep::Wait, Reason::Stopping { asked_s });
        }
        if let Some(because) = self.too_soon(newest) {
            return (NextStep::Wait, because);
        }
        let last = self.last_answer(newest);
        let limit_s = self.policy.job_limit_s;
        let is_noticed = age.chain.until == Some(stop_at);
        if !is_noticed && age.chain.closed.is_none() && !self.ran_lately(commands) {
            let order = DrainOrder { window_s: WINDOW_S, stop: false, chain: age.chain };
            return (NextStep::Ask(order), Reason::LastCall { limit_s, last });
        }
        let because = if is_noticed {
            Reason::NoticeOver { last }
        } else {
            Reason::PastLimit { limit_s, last }
        };
        (NextStep::Ask(DrainOrder { window_s: 0, stop: true, chain: age.chain }), because)
    }

    /// Whether the host ran one of the latest commands to its end, whatever came of it.
    fn ran_lately(&self, commands: &[Invocation]) -> bool {
        let lately = self.now.0.saturating_sub(i64::from(PROOF_MAX_AGE_S) * 1000);
        commands.iter().any(|c| c.status.ran_to_its_end() && c.requested.0 >= lately)
    }

    /// A host that answers at once, and wrongly, would otherwise be asked in a circle: each answer
    /// is an event.
    fn too_soon(&self, newest: Option<&Invocation>) -> Option<Reason> {
        if let Some(newest) = newest {
            let age = self.now.since(newest.requested);
            let wait = i64::from(RESEND_AFTER_S) * 1000 - age;
            if wait > 0 && self.evidence.sent.is_none() {
                let last = self.last_answer(Some(newest));
                return Some(Reason::TooSoon { last, wait_s: (wait + 999) / 1000 });
            }
        }
        let sent = self.sent?;
        let ago = self.now.since(sent);
        let listed = newest.is_some_and(|newest| newest.requested >= sent);
        (!listed && (0..i64::from(UNLISTED_S) * 1000).contains(&ago))
            .then_some(Reason::NotListed { sent_s: ago / 1000 })
    }

    fn last_answer(&self, newest: Option<&Invocation>) -> LastAnswer {
        let Some(newest) = newest else { return LastAnswer::First };
        let age_s = self.now.since(newest.requested) / 1000;
        match (newest.finding(self.instance), &newest.output, newest.status) {
            (Some(Finding::Drained), ..) => LastAnswer::Stale { age_s },
            (Some(Finding::Busy { jobs }), ..) => LastAnswer::Busy { jobs },
            (Some(Finding::Unsure { message }), ..) => LastAnswer::Unsure { message },
            (Some(Finding::NoProof { wrong }), ..) => LastAnswer::NoProof { wrong },
            (None, Output::Unreadable(what), _) => LastAnswer::Unreadable { what: what.clone() },
            (None, ..) if newest.is_awaited(self.now) => LastAnswer::Awaited { asked_s: age_s },
            (None, _, status) if status.is_live() => LastAnswer::Lost { after_s: age_s },
            (None, _, status) if status.ran_to_its_end() => LastAnswer::Silent,
            (None, ..) => LastAnswer::Broken { detail: newest.detail.clone() },
        }
    }
}
