//! The order of a pass: look, hold, look closer, act.

use super::judge::{Case, Step};
use super::notes;
use super::policy::{
    BETWEEN_COMPLETIONS_S, COMPLETIONS, HOLD_EVERY_S, NOTICE_COUNTS_S, YOUNG_ACTION_S,
};
use super::{
    Call, Decision, Done, Evidence, Group, HintKind, Inputs, Member, Note, Reason, Verdict,
};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;

/// Decides what to ask or to do next; see the module for the whole.
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
struct Leaver<'a> {
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
        let leavers: Vec<Leaver<'_>> = self.leavers(decision);
        let to_hold = |leaver: &&Leaver<'_>| {
            leaver.way == Way::Wait && self.evidence(&leaver.member.id).held.is_none()
        };
        let holds = leavers
            .iter()
            .filter(to_hold)
            .map(|leaver| Call::Heartbeat { instance: leaver.member.id.clone() });
        decision.calls.extend(holds);
        if decision.calls.is_empty() {
            self.look_closer(&leavers, decision);
        }
        let looking = !decision.calls.is_empty();
        for leaver in &leavers {
            let (calls, verdict) = self.attend(leaver, &mut decision.notes);
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
    fn leavers(&self, decision: &mut Decision) -> Vec<Leaver<'_>> {
        let mut leavers = Vec::new();
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
                HintKind::Look | HintKind::Rebalance => None,
            });
            let notice = hints.iter().copied().find(|hint| *hint != HintKind::Look);
            let Some(way) = self.way(member, notice, decision) else { continue };
            let held = self.inputs.memory.held.get(&member.id);
            let ago = held.map(|held| self.group.at.since(*held));
            let untold = self.inputs.memory.untold.contains(&member.id);
            match ago.filter(|ago| (0..i64::from(HOLD_EVERY_S) * 1000).contains(ago)) {
                Some(ago) if hints.is_empty() && way == Way::Wait && !untold => {
                    let because = Reason::JustHeld { ago_s: ago / 1000 };
                    decision.verdicts.push(Verdict { because, ..self.over(member) });
                }
                _ => leavers.push(Leaver { member, way, noticed }),
            }
        }
        let is_member = |id: &InstanceId| self.group.members.iter().any(|member| member.id == *id);
        let gone = self.inputs.seen.instances.keys().filter(|id| !is_member(id));
        decision.verdicts.extend(gone.map(|id| {
            self.over(&Member { id: id.clone(), lifecycle: LifecycleState::Terminated })
        }));
        // The one that an event named comes first, should the time run out.
        leavers.sort_by_key(|leaver| {
            !self.inputs.hints.iter().any(|hint| hint.instance == leaver.member.id)
        });
        leavers
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
    fn look_closer(&self, leavers: &[Leaver<'_>], decision: &mut Decision) {
        let seen = &self.inputs.seen;
        if leavers.is_empty() {
            return;
        }
        if seen.hook.is_none() {
            decision.calls.push(Call::DescribeHook);
        }
        if seen.machines.is_none() {
            let instances = leavers.iter().map(|leaver| leaver.member.id.clone()).collect();
            decision.calls.push(Call::DescribeMachines { instances });
        }
        for leaver in leavers {
            if self.evidence(&leaver.member.id).commands.is_none() {
                decision.calls.push(Call::ListCommands { instance: leaver.member.id.clone() });
            }
        }
    }

    /// What one instance needs now, and how it stands with it.
    fn attend(&self, leaver: &Leaver<'_>, notes: &mut Vec<Note>) -> (Vec<Call>, Verdict) {
        let instance = &leaver.member.id;
        let evidence = self.evidence(instance);
        let case = self.case(leaver, evidence);
        notes.extend(notes::about_instance(instance, evidence));
        let (step, mut because) = case.judge();
        if let (Reason::Ask { .. }, Some(sent)) = (&because, &evidence.sent) {
            because = told(sent).unwrap_or(because);
        }
        let age = case.age();
        let mut calls = Vec::new();
        let replace = || Call::Replace { instance: instance.clone() };
        let is_replaced = evidence.replaced.is_some();
        let send = |order| Call::Send { instance: instance.clone(), order };
        match (leaver.way, step) {
            (Way::Wait, Step::Leave) => {
                let young =
                    age.is_none_or(|age| age.waited_ms() < i64::from(YOUNG_ACTION_S) * 1000);
                calls.extend(self.complete(instance, evidence, young));
            }
            (Way::Retained, Step::Leave) => {
                calls.extend((!is_replaced).then(replace));
            }
            (Way::Wait | Way::Retained, Step::Ask(order)) => match &evidence.sent {
                None => calls.push(send(order)),
                Some(Done::NotManaged) if self.inputs.seen.activities.is_none() => {
                    calls.push(Call::DescribeActivities);
                }
                Some(_) => {}
            },
            (Way::Wait | Way::Retained, Step::Wait) => {}
            (Way::Noticed(HintKind::Rebalance | HintKind::Look), _) => {
                because = if self.group.rebalances {
                    Reason::GroupRebalances
                } else {
                    calls.extend((!is_replaced).then(replace));
                    Reason::RebalanceNotice
                };
            }
            (Way::Noticed(HintKind::Spot { .. }), step) => {
                because = Reason::SpotNotice;
                if let (Step::Ask(order), None) = (step, &evidence.sent) {
                    calls.push(send(order));
                }
                calls.extend((!is_replaced).then(replace));
            }
        }
        let seconds = |ms: i64| u32::try_from(ms.max(0) / 1000).unwrap_or(u32::MAX);
        let limit_at = age.and_then(|age| age.limit_at(&self.inputs.policy));
        let let_go = match leaver.way {
            Way::Wait => evidence.completions.last() == Some(&Done::Done),
            Way::Retained | Way::Noticed(_) => evidence.replaced == Some(Done::Done),
        };
        let verdict = Verdict {
            instance: instance.clone(),
            lifecycle: leaver.member.lifecycle.clone(),
            because,
            waited_s: age.filter(|age| age.chain.asked.is_some()).map(|a| seconds(a.waited_ms())),
            left_s: limit_at.map(|at| seconds(at.since(self.group.at))),
            released: let_go,
        };
        (calls, verdict)
    }

    /// Asks for the completion, and where there was no action to complete looks again before it
    /// asks again.
    fn complete(&self, instance: &InstanceId, evidence: &Evidence, young: bool) -> Option<Call> {
        let asked = evidence.completions.len();
        let complete = Call::Complete { instance: instance.clone() };
        let times = if young || evidence.held == Some(Done::Done) { COMPLETIONS } else { 1 };
        match evidence.completions.last() {
            None => Some(complete),
            Some(Done::NoAction) if asked < times => {
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

    fn case<'a>(&'a self, leaver: &Leaver<'a>, evidence: &'a Evidence) -> Case<'a> {
        let Inputs { policy, memory, seen, .. } = self.inputs;
        let instance = &leaver.member.id;
        let machines = seen.machines.as_ref().and_then(Reading::known);
        let activities = seen.activities.as_ref().and_then(Reading::known);
        Case {
            policy,
            now: self.group.at,
            instance,
            evidence,
            machine: machines.and_then(|machines| machines.get(instance)),
            sent: memory.sent.get(instance).copied(),
            leaving_since: activities.and_then(|since| since.get(instance)).copied(),
            noticed: leaver.noticed,
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
            released: self.evidence(&member.id).completions.contains(&Done::Done),
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

/// Why an order did not reach its host, where it did not.
fn told(sent: &Done) -> Option<Reason> {
    match sent {
        Done::Done | Done::NoAction | Done::DryRun => None,
        Done::NotManaged => Some(Reason::Unmanaged),
        Done::Failed { detail } => Some(Reason::NotTold { detail: detail.clone() }),
    }
}
