//! The order of a pass, and what it costs.

use crate::scene::*;
use fleet_core::drain::*;
use fleet_protocol::reading::Reading;
use std::collections::BTreeMap;

fn start(memory: Memory) -> Inputs {
    Inputs::new(policy(), NOW, memory, vec![])
}

fn warm() -> Memory {
    Memory { hook_seen: Some(NOW), ..Memory::default() }
}

fn look_at(mut inputs: Inputs, members: Vec<Member>) -> Inputs {
    inputs.take(Answer::Group(Reading::Known(group(members))));
    inputs
}

#[test]
fn an_idle_minute_is_one_call() {
    let inputs = start(warm());
    assert_eq!(decide(&inputs).calls, [Call::DescribeGroup { after_s: 0 }]);
    let inputs = look_at(inputs, vec![member(0, "InService"), member(1, "Pending")]);
    assert_eq!(decide(&inputs), Decision::default());
}

#[test]
fn a_new_environment_looks_at_the_hook_once() {
    let mut inputs = start(Memory::default());
    let calls = decide(&inputs).calls;
    assert_eq!(calls, [Call::DescribeGroup { after_s: 0 }, Call::DescribeHook]);
    inputs.take(Answer::Hook(Reading::Known(hook())));
    let inputs = look_at(inputs, vec![]);
    assert!(decide(&inputs).calls.is_empty());
    assert_eq!(inputs.remember(), warm());
    // Once an hour again: it may change while nobody leaves.
    for (seen, known) in [(3_599, true), (3_600, false), (-1, false)] {
        let memory = Memory { hook_seen: Some(ago(seen)), ..Memory::default() };
        let looks = decide(&start(memory)).calls.contains(&Call::DescribeHook);
        assert_eq!(looks, !known, "seen {seen} s ago");
    }
}

/// What is wrong is told by every pass until it is put right, so its alarm does not end before.
#[test]
fn a_hook_with_which_something_is_wrong_is_looked_at_by_every_pass() {
    let mut kills = group(vec![]);
    kills.retains = false;
    let mut inputs = start(warm());
    inputs.take(Answer::Group(Reading::Known(kills)));
    assert!(matches!(decide(&inputs).notes[..], [Note::HookDrift { .. }]), "without the hook");
    assert_eq!(inputs.remember().hook_seen, None);
    for wrong in [unknown(), Reading::Known(Hook { terminating: false, ..hook() })] {
        let mut inputs = look_at(start(warm()), vec![]);
        inputs.take(Answer::Hook(wrong));
        assert_eq!(inputs.remember().hook_seen, None);
    }
}

#[test]
fn everybody_is_held_before_anybody_is_looked_at() {
    let members: Vec<Member> = (0..100).map(|n| member(n, "Terminating:Wait")).collect();
    let mut inputs = look_at(start(warm()), members);
    let holds = decide(&inputs).calls;
    assert_eq!(holds.len(), 100);
    assert!(holds.iter().all(|call| matches!(call, Call::Heartbeat { .. })));
    for n in 0..100 {
        inputs.take(Answer::Held(id(n), CallResult::Done));
    }
    let looks = decide(&inputs).calls;
    assert_eq!(looks.len(), 102, "the hook, all machines at once, and each one's commands");
    assert!(looks.iter().all(|call| !call.acts()));
    let machines = (0..100).map(|n| (id(n), Machine::Running)).collect();
    inputs.take(Answer::Machines(Reading::Known(machines)));
    inputs.take(Answer::Hook(Reading::Known(hook())));
    for n in 0..100 {
        inputs.take(Answer::Commands(id(n), Reading::Known(vec![])));
    }
    let sends = decide(&inputs).calls;
    assert_eq!(sends.len(), 100);
    assert!(sends.iter().all(|call| matches!(call, Call::Send { .. })));
    let all = 1 + holds.len() + looks.len() + sends.len();
    assert!(all <= 303, "{all} calls for a hundred first drains");
}

#[test]
fn whom_the_event_names_comes_first() {
    let members = (0..5).map(|n| member(n, "Terminating:Wait")).collect();
    let mut inputs = start(warm());
    inputs.hints = vec![Hint { instance: id(3), kind: HintKind::Look }];
    let calls = decide(&look_at(inputs, members)).calls;
    assert_eq!(calls[0], Call::Heartbeat { instance: id(3) });
    assert_eq!(calls.len(), 5, "and the others all the same");
}

#[test]
fn events_in_a_burst_do_not_repeat_the_work_of_the_last_second() {
    let held = BTreeMap::from([(id(0), ago(5)), (id(1), ago(5)), (id(2), ago(45))]);
    let mut inputs = start(Memory { held, ..warm() });
    inputs.hints = vec![Hint { instance: id(1), kind: HintKind::Look }];
    let members = (0..3).map(|n| member(n, "Terminating:Wait")).collect();
    let decision = decide(&look_at(inputs, members));
    let calls: Vec<&Call> = decision.calls.iter().collect();
    let hold = |n| Call::Heartbeat { instance: id(n) };
    assert_eq!(calls, [&hold(1), &hold(2)]);
    assert_eq!(decision.verdicts[0].because, Reason::JustHeld { ago_s: 5 });
}

#[test]
fn a_first_command_carries_nothing_and_a_later_one_everything() {
    let first = Scene::waiting(vec![]).sent();
    assert_eq!(first, order());
    let asked = answered(600, busy(1));
    let later = Scene::waiting(vec![answered(300, busy(1)), asked]).sent();
    let chain = Chain { asked: Some(ago(600)), closed: Some(ago(600)), until: None };
    assert_eq!(later.chain, chain);
    // And a pass that sees nothing but that one command still knows since when.
    let mut newest = answered(250, busy(1));
    newest.order = later;
    assert_eq!(Scene::waiting(vec![newest]).sent().chain, chain);
}

#[test]
fn the_record_decides_again_bit_for_bit() {
    let scene = Scene::waiting(vec![answered(10, drained())]);
    let text = serde_json::to_string(&scene.inputs).unwrap();
    let again: Inputs = serde_json::from_str(&text).unwrap();
    assert_eq!(again, scene.inputs);
    assert_eq!(decide(&again), scene.decide());
}

/// One that SSM did not know yet, or whose order was refused, is not passed over as held by the
/// passes that follow.
#[test]
fn an_order_that_reached_nobody_is_told_and_repeated_by_the_next_pass() {
    for (sent, says) in [
        (CallResult::NotManaged, "SSM does not know its machine"),
        (
            CallResult::Failed { detail: "Rate exceeded".into() },
            "the next pass sends it again: Rate exceeded",
        ),
    ] {
        let scene = Scene::waiting(vec![])
            .then(Answer::Sent(id(0), sent))
            .then(Answer::Activities(Reading::Known(Activities::default())));
        assert!(scene.is_left_alone());
        assert!(scene.because().to_string().contains(says), "{}", scene.because());
        let memory = scene.inputs.remember();
        assert_eq!(memory.held, BTreeMap::from([(id(0), NOW)]), "it was held all the same");
        let next = look_at(start(memory), vec![member(0, "Terminating:Wait")]);
        assert_eq!(decide(&next).calls, [Call::Heartbeat { instance: id(0) }]);
    }
    let told = Scene::waiting(vec![]).then(Answer::Sent(id(0), CallResult::Done));
    let next = look_at(start(told.inputs.remember()), vec![member(0, "Terminating:Wait")]);
    assert!(decide(&next).calls.is_empty());
}

/// Several passes may wait for the same end: one of them brought it about.
#[test]
fn only_the_pass_whose_completion_was_taken_says_that_it_let_go() {
    for (completed, released) in [(CallResult::Done, true), (CallResult::NoAction, false)] {
        let scene = Scene::waiting(vec![answered(10, drained())])
            .then(Answer::Completed(id(0), completed))
            .then(Answer::Group(Reading::Known(group(vec![member(0, "Terminating:Proceed")]))));
        let verdict = &scene.decide().verdicts[0];
        assert_eq!((&verdict.because, verdict.released), (&Reason::Released, released));
    }
}

/// One that joins late is held before anything is done for those that are known already.
#[test]
fn nothing_is_done_for_anybody_while_somebody_is_still_to_be_looked_at() {
    let scene = Scene::waiting(vec![answered(10, drained())]);
    assert!(scene.is_completed());
    let members = vec![member(0, "Terminating:Wait"), member(1, "Terminating:Wait")];
    let joined = scene.then(Answer::Group(Reading::Known(group(members))));
    assert_eq!(joined.calls(), [Call::Heartbeat { instance: id(1) }]);
    let held = joined.then(Answer::Held(id(1), CallResult::Done));
    assert_eq!(held.calls(), [Call::ListCommands { instance: id(1) }]);
    let listed = held.then(Answer::Commands(id(1), Reading::Known(vec![])));
    let calls = listed.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.contains(&Call::Complete { instance: id(0) }), "{calls:?}");
}

/// What a warm environment remembers was really done, and to somebody who is still there.
#[test]
fn only_what_was_done_is_remembered_and_only_of_members() {
    let failed = || CallResult::Failed { detail: "Rate exceeded".into() };
    let scene = Scene::waiting(vec![]);
    let sent = scene.clone().then(Answer::Sent(id(0), CallResult::Done));
    assert_eq!(sent.inputs.remember().sent, BTreeMap::from([(id(0), NOW)]));
    let refused = scene.clone().then(Answer::Sent(id(0), failed()));
    assert_eq!(refused.inputs.remember().sent, BTreeMap::new());
    for held in [failed(), CallResult::NoAction, CallResult::DryRun] {
        let unheld = scene.clone().then(Answer::Held(id(0), held));
        assert_eq!(unheld.inputs.remember().held, BTreeMap::new());
    }
    let kept = vec![member(0, "Terminating:Retained")];
    let kept = sent.clone().then(Answer::Group(Reading::Known(group(kept))));
    assert_eq!(kept.inputs.remember().held, BTreeMap::new(), "its next hook is a new one");
    let left = sent.then(Answer::Group(Reading::Known(group(vec![]))));
    assert_eq!(left.inputs.remember(), warm());
}

/// The moments that are remembered are compared with AWS's later, so they are AWS's.
#[test]
fn what_is_remembered_is_dated_by_aws() {
    let mut scene = Scene::waiting(vec![]);
    scene.inputs.now = ago(7_200);
    assert_eq!(scene.inputs.clock(), NOW);
    assert_eq!(scene.inputs.remember().held, BTreeMap::from([(id(0), NOW)]));
}
