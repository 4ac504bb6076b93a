//! The order of a pass: look, hold, look closer, act.

use super::judge::{LeavingInstance, NextStep};
use super::notes;
use super::policy::{
    BETWEEN_COMPLETIONS_S, COMPLETIONS, HOLD_EVERY_S, NOT_TOLD_PAGES_S, NOTICE_COUNTS_S,
    YOUNG_ACTION_S,
};
use super::{
    Age, Call, CallResult, Decision, Evidence, Group, HintKind, Inputs, Member, Note, Reason,
    Verdict,
};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;

/// Decides what to ask or to do next; see the module for the whole.
#[must_use]
pub fn decide(inputs: &Inputs) -> Decision {
    let mut decision = Decision::default();
    match &inputs.seen.group {
        None => {
            decision.calls.push(Call::DescribeGroup { after_s: 0 });
            if !inputs.is_hook_known() {
                decision.calls.push(Call::DescribeHook);
            }
        }
        Some(Reading::Unknown(source)) => {
            decision.notes.push(Note::GroupUnknown { source: source.clone() });
        }
        Some(Reading::Known(group)) => Pass { inputs, group }.decide(&mut decision),
    }
    decision
}

/// A pass over a known group.
struct Pass<'a> {
    inputs: &'a Inputs,
    group: &'a Group,
}

/// An instance on its way out that this pass looks after.
#[derive(Clone, Copy)]
struct TerminatingInstance<'a> {
    member: &'a Member,
    way: Way,
    /// When AWS gave notice.
    noticed: Option<UnixMs>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The hook holds it.
    Wait,
    /// The hook ran out, and it was kept.
    Retained,
    /// In service, and AWS takes or may take its machine.
    Noticed(HintKind),
}

impl Pass<'_> {
    fn decide(&self, decision: &mut Decision) {
        decision.notes.extend(notes::about_group(self.inputs, self.group));
        let leaving: Vec<TerminatingInstance<'_>> = self.terminating(decision);
        let to_hold = |terminating: &&TerminatingInstance<'_>| {
            terminating.way == Way::Wait && self.evidence(&terminating.member.id).held.is_none()
        };
        let holds = leaving
            .iter()
            .filter(to_hold)
            .map(|terminating| Call::Heartbeat { instance: terminating.member.id.clone() });
        decision.calls.extend(holds);
        if decision.calls.is_empty() {
            self.look_closer(&leaving, decision);
        }
        let looking = !decision.calls.is_empty();
        for terminating in &leaving {
            let (calls, verdict) = self.attend(terminating, &mut decision.notes);
            decision.verdicts.push(if looking {
                Verdict { because: Reason::Looking, ..verdict }
            } else {
                verdict
            });
            if !looking {
                for call in calls {
                    // One look at the group serves all that wait for it.
                    if !decision.calls.contains(&call) {
                        decision.calls.push(call);
                    }
                }
            }
        }
    }

    /// Who is on the way out. Whoever needs nothing gets its verdict here.
    fn terminating(&self, decision: &mut Decision) -> Vec<TerminatingInstance<'_>> {
        let mut leaving = Vec::new();
        for member in &self.group.members {
            let hints: Vec<HintKind> = self
                .inputs
                .hints
                .iter()
                .filter(|hint| hint.instance == member.id)
                .map(|hint| self.current(hint.kind))
                .collect();
            let noticed = hints.iter().find_map(|hint| match hint {
                HintKind::Spot { noticed } => Some(noticed.unwrap_or(self.group.at)),
                HintKind::Look | HintKind::Rebalance | HintKind::Retirement => None,
            });
            let notice = hints.iter().copied().find(|hint| *hint != HintKind::Look);
            let Some(way) = self.way(member, notice, decision) else { continue };
            let held = self.inputs.memory.held.get(&member.id);
            let ago = held.map(|held| self.group.at.since(*held));
            let unreached = self.inputs.memory.unreached.contains(&member.id);
            match ago.filter(|ago| (0..i64::from(HOLD_EVERY_S) * 1000).contains(ago)) {
                Some(ago) if hints.is_empty() && way == Way::Wait && !unreached => {
                    let because = Reason::JustHeld { ago_s: ago / 1000 };
                    decision.verdicts.push(Verdict { because, ..self.over(member) });
                }
                _ => leaving.push(TerminatingInstance { member, way, noticed }),
            }
        }
        let is_member = |id: &InstanceId| self.group.members.iter().any(|member| member.id == *id);
        let gone = self.inputs.seen.instances.keys().filter(|id| !is_member(id));
        decision.verdicts.extend(gone.map(|id| {
            self.over(&Member { id: id.clone(), lifecycle: LifecycleState::Terminated })
        }));
        // The one that an event named comes first, should the time run out.
        leaving.sort_by_key(|terminating| {
            !self.inputs.hints.iter().any(|hint| hint.instance == terminating.member.id)
        });
        leaving
    }

    /// By which way a member leaves; `None` where this pass has nothing to do for it, and the
    /// verdict or note about it is given here.
    fn way(
        &self,
        member: &Member,
        notice: Option<HintKind>,
        decision: &mut Decision,
    ) -> Option<Way> {
        let state = &member.lifecycle;
        if state.waits_on_terminate_hook() {
            return Some(Way::Wait);
        }
        if state.is_retained() {
            return Some(Way::Retained);
        }
        if state.is_known() && (state.is_capacity() || state.is_booting()) {
            return notice.map(Way::Noticed);
        }
        let (instance, lifecycle) = (member.id.clone(), state.clone());
        if state.is_in_warm_pool() {
            decision.notes.push(Note::WarmPool { instance, lifecycle });
        } else if !state.is_known() {
            decision.notes.push(Note::UnknownState { instance, lifecycle });
        }
        // It is gone, going, or in the hands of a person or of Auto Scaling itself.
        if !state.is_in_warm_pool() && self.inputs.seen.instances.contains_key(&member.id) {
            decision.verdicts.push(self.over(member));
        }
        None
    }

    /// A notice that came true long ago, or never, is only a reason to look.
    fn current(&self, hint: HintKind) -> HintKind {
        match hint {
            HintKind::Spot { noticed: Some(at) }
                if self.group.at.since(at) > i64::from(NOTICE_COUNTS_S) * 1000 =>
            {
                HintKind::Look
            }
            hint => hint,
        }
    }

    /// The questions that are still open before anything is decided.
    fn look_closer(&self, leaving: &[TerminatingInstance<'_>], decision: &mut Decision) {
        let seen = &self.inputs.seen;
        if leaving.is_empty() {
            return;
        }
        if seen.hook.is_none() {
            decision.calls.push(Call::DescribeHook);
        }
        if seen.machines.is_none() {
            let instances =
                leaving.iter().map(|terminating| terminating.member.id.clone()).collect();
            decision.calls.push(Call::DescribeMachines { instances });
        }
        for terminating in leaving {
            if self.evidence(&terminating.member.id).commands.is_none() {
                decision.calls.push(Call::ListCommands { instance: terminating.member.id.clone() });
            }
        }
    }

    /// What one instance needs now, and how it stands with it.
    fn attend(
        &self,
        terminating: &TerminatingInstance<'_>,
        notes: &mut Vec<Note>,
    ) -> (Vec<Call>, Verdict) {
        let instance = &terminating.member.id;
        let evidence = self.evidence(instance);
        let case = self.case(terminating, evidence);
        notes.extend(notes::about_instance(instance, evidence));
        let (step, mut because) = case.judge();
        let age = case.age();
        if let Some(sent) = &evidence.sent {
            because = not_told(sent, age.as_ref(), because);
        }
        let mut calls = Vec::new();
        let replace = || Call::Replace { instance: instance.clone() };
        let is_replaced = evidence.replaced.is_some();
        let send = |order| Call::Send { instance: instance.clone(), order };
        match (terminating.way, step) {
            (Way::Wait, NextStep::Leave) => {
                let young =
                    age.is_none_or(|age| age.waited_ms() < i64::from(YOUNG_ACTION_S) * 1000);
                calls.extend(self.complete(instance, evidence, young));
            }
            (Way::Retained, NextStep::Leave) => {
                calls.extend((!is_replaced).then(replace));
            }
            (Way::Wait | Way::Retained, NextStep::Ask(order)) => match &evidence.sent {
                None => calls.push(send(order)),
                Some(CallResult::NotManaged | CallResult::Failed { .. })
                    if self.inputs.seen.activities.is_none() =>
                {
                    calls.push(Call::DescribeActivities);
                }
                Some(_) => {}
            },
            (Way::Wait | Way::Retained, NextStep::Wait) => {}
            (Way::Noticed(HintKind::Rebalance | HintKind::Look), _) => {
                let (call, why) = self.follow_advice(instance, is_replaced);
                calls.extend(call);
                because = why;
            }
            (Way::Noticed(HintKind::Retirement), _) => {
                because = Reason::RetirementNotice;
                calls.extend((!is_replaced).then(replace));
            }
            (Way::Noticed(HintKind::Spot { .. }), step) => {
                because = Reason::SpotNotice;
                if let (NextStep::Ask(order), None) = (step, &evidence.sent) {
                    calls.push(send(order));
                }
                calls.extend((!is_replaced).then(replace));
            }
        }
        let seconds = |ms: i64| u32::try_from(ms.max(0) / 1000).unwrap_or(u32::MAX);
        let limit_at = age.and_then(|age| age.limit_at(&self.inputs.policy));
        let let_go = match terminating.way {
            Way::Wait => evidence.completions.last() == Some(&CallResult::Done),
            Way::Retained | Way::Noticed(_) => evidence.replaced == Some(CallResult::Done),
        };
        let verdict = Verdict {
            instance: instance.clone(),
            lifecycle: terminating.member.lifecycle.clone(),
            because,
            waited_s: age.filter(|age| age.chain.asked.is_some()).map(|a| seconds(a.waited_ms())),
            left_s: limit_at.map(|at| seconds(at.since(self.group.at))),
            released: let_go,
        };
        (calls, verdict)
    }

    /// What comes of a rebalance recommendation. AWS gives one for every machine of a scarce kind,
    /// the replacements included, so it is followed one at a time and not more often than the site
    /// wants.
    fn follow_advice(&self, instance: &InstanceId, replaced: bool) -> (Option<Call>, Reason) {
        let Inputs { policy, seen, hints, .. } = self.inputs;
        let held = |why: String| (None, Reason::RebalanceHeld { why });
        let every_ms = i64::from(policy.rebalance_every_s) * 1000;
        if self.group.rebalances {
            return (None, Reason::GroupRebalances);
        }
        if replaced {
            return (None, Reason::RebalanceNotice);
        }
        if every_ms == 0 {
            return (None, Reason::RebalanceOff);
        }
        let mut others = self.group.members.iter().filter(|member| member.id != *instance);
        let moves = |m: &&Member| m.lifecycle.is_leaving() || m.lifecycle.is_booting();
        if let Some(Member { id, lifecycle }) = others.clone().find(moves) {
            return held(format!("{id} is {lifecycle}"));
        }
        let is_advised = |m: &Member| {
            hints.iter().any(|hint| hint.instance == m.id && hint.kind == HintKind::Rebalance)
        };
        if let Some(first) = others.find(|other| is_advised(other) && other.id < *instance) {
            return held(format!("{} is replaced first", first.id));
        }
        let activities = match &seen.activities {
            None => return (Some(Call::DescribeActivities), Reason::Looking),
            Some(Reading::Unknown(source)) => {
                return held(format!("the group's activities are unknown: {}", source.detail));
            }
            Some(Reading::Known(activities)) => activities,
        };
        let lately =
            |at: Option<UnixMs>| at.map(|at| self.group.at.since(at)).filter(|ago| *ago < every_ms);
        let every_s = policy.rebalance_every_s;
        if let Some(ago) = lately(activities.launched.get(instance).copied()) {
            return held(format!("it was launched {} s ago, less than {every_s} s", ago / 1000));
        }
        if let Some(ago) = lately(activities.last_ending) {
            return held(format!(
                "the group began to end an instance {} s ago, less than {every_s} s",
                ago / 1000
            ));
        }
        (Some(Call::Replace { instance: instance.clone() }), Reason::RebalanceNotice)
    }

    /// Asks for the completion, and where there was no action to complete looks again before it
    /// asks again.
    fn complete(&self, instance: &InstanceId, evidence: &Evidence, young: bool) -> Option<Call> {
        let asked = evidence.completions.len();
        let complete = Call::Complete { instance: instance.clone() };
        let times = if young || evidence.held == Some(CallResult::Done) { COMPLETIONS } else { 1 };
        match evidence.completions.last() {
            None => Some(complete),
            Some(CallResult::NoAction) if asked < times => {
                let looks = usize::try_from(self.inputs.seen.looks).unwrap_or(usize::MAX);
                Some(if looks > asked {
                    complete
                } else {
                    Call::DescribeGroup { after_s: BETWEEN_COMPLETIONS_S }
                })
            }
            Some(_) => None,
        }
    }

    fn case<'a>(
        &'a self,
        terminating: &TerminatingInstance<'a>,
        evidence: &'a Evidence,
    ) -> LeavingInstance<'a> {
        let Inputs { policy, memory, seen, .. } = self.inputs;
        let instance = &terminating.member.id;
        let machines = seen.machines.as_ref().and_then(Reading::known);
        let activities = seen.activities.as_ref().and_then(Reading::known);
        LeavingInstance {
            policy,
            now: self.group.at,
            instance,
            evidence,
            machine: machines.and_then(|machines| machines.get(instance)),
            sent: memory.sent.get(instance).copied(),
            leaving_since: activities.and_then(|known| known.ending.get(instance)).copied(),
            noticed: terminating.noticed,
        }
    }

    /// The verdict on an instance whose action ended while this pass looked, by this pass or by
    /// somebody else.
    fn over(&self, member: &Member) -> Verdict {
        Verdict {
            instance: member.id.clone(),
            lifecycle: member.lifecycle.clone(),
            because: Reason::Released,
            waited_s: None,
            left_s: None,
            released: self.evidence(&member.id).completions.contains(&CallResult::Done),
        }
    }

    fn evidence(&self, instance: &InstanceId) -> &Evidence {
        static NOTHING: Evidence = Evidence {
            held: None,
            commands: None,
            sent: None,
            completions: Vec::new(),
            replaced: None,
        };
        self.inputs.seen.instances.get(instance).unwrap_or(&NOTHING)
    }
}

/// The reason of an instance to which no command could be sent just now; else `because`.
fn not_told(sent: &CallResult, age: Option<&Age>, because: Reason) -> Reason {
    let waited_s = age.filter(|age| age.chain.asked.is_some()).map(|age| age.waited_ms() / 1000);
    let long = waited_s.is_some_and(|waited| waited >= NOT_TOLD_PAGES_S);
    match (sent, &because) {
        (CallResult::NotManaged, Reason::Ask { .. }) => Reason::Unmanaged,
        (CallResult::Failed { detail }, Reason::Ask { .. }) => {
            Reason::NotTold { waited_s, detail: detail.clone() }
        }
        // The refusal is what a person has to mend, whatever else is due.
        (CallResult::Failed { detail }, Reason::LastCall { .. } | Reason::PastLimit { .. })
            if long =>
        {
            Reason::NotTold { waited_s, detail: detail.clone() }
        }
        _ => because,
    }
}
