//! What a pass was, in the numbers that the alarms watch.

use crate::scene::*;
use fleet_core::drain::*;
use fleet_protocol::reading::Reading;

const WAIT: &str = "Terminating:Wait";

fn metrics(inputs: Inputs) -> DrainMetrics {
    DrainMetrics::of(&inputs, &decide(&inputs))
}

/// A pass that saw the group with one instance in this state.
fn saw(lifecycle: &str, memory: Memory) -> Inputs {
    let mut inputs = Inputs::new(policy(), NOW, memory, vec![]);
    inputs.take(Answer::Group(Reading::Known(group(vec![member(0, lifecycle)]))));
    inputs
}

/// What the pass then looked at closer.
fn looked(mut inputs: Inputs) -> Inputs {
    inputs.take(Answer::Hook(Reading::Known(hook())));
    inputs.take(Answer::Machines(Reading::Known([(id(0), Machine::Running)].into())));
    inputs.take(Answer::Commands(id(0), Reading::Known(vec![])));
    inputs
}

fn held(seconds: i64) -> Memory {
    Memory { held: [(id(0), ago(seconds))].into(), ..Memory::default() }
}

#[test]
fn a_pass_that_did_not_look_at_the_hook_says_nothing_of_it() {
    let idle = saw("InService", Memory::default());
    assert_eq!(metrics(idle.clone()).hook_drift, None);
    assert_eq!(metrics(looked(idle.clone())).hook_drift, Some(false));
    let mut missing = idle.clone();
    missing.take(Answer::Hook(unknown()));
    assert_eq!(metrics(missing).hook_drift, Some(true));
    let mut blind = looked(idle);
    blind.take(Answer::Group(unknown()));
    assert_eq!(metrics(blind).hook_drift, None, "half of it is the group's");
}

#[test]
fn a_pass_that_asked_nothing_does_not_say_that_the_sources_answer() {
    assert_eq!(metrics(saw("InService", Memory::default())).source_down, Some(false));
    assert_eq!(metrics(saw(WAIT, held(5))).source_down, None);
    let asked = looked(saw(WAIT, held(45)));
    assert_eq!(metrics(asked.clone()).source_down, Some(false));
    for answer in
        [Answer::Machines(unknown()), Answer::Commands(id(0), unknown()), Answer::Group(unknown())]
    {
        let mut down = asked.clone();
        down.take(Answer::Held(id(0), CallResult::Done));
        down.take(answer);
        assert_eq!(metrics(down).source_down, Some(true));
    }
}

#[test]
fn only_who_waits_for_its_hook_has_a_margin() {
    let margin = |state: &str| {
        let mut inputs = looked(saw(state, held(200)));
        inputs.take(Answer::Held(id(0), CallResult::Done));
        metrics(inputs).heartbeat_margin_s
    };
    assert_eq!(margin(WAIT), Some(100));
    assert_eq!(margin("Terminating:Retained"), None);
}

#[test]
fn a_notice_of_aws_is_not_a_limit_that_comes_near() {
    let mut inputs = looked(saw(WAIT, Memory::default()));
    inputs.take(Answer::Held(id(0), CallResult::Done));
    let kind = HintKind::Spot { noticed: Some(ago(10)) };
    inputs.hints.push(Hint { instance: id(0), kind });
    assert_eq!(metrics(inputs).limit_left_s, None);
}

#[test]
fn an_instance_in_a_state_that_nobody_looks_after_is_counted() {
    for (state, left_alone) in
        [("InService", 0), ("Standby", 0), ("Warmed:Stopped", 1), ("Terminating:Later", 1)]
    {
        assert_eq!(metrics(saw(state, Memory::default())).left_alone, Some(left_alone), "{state}");
    }
}

#[test]
fn what_was_done_and_what_failed_is_counted_apart() {
    let mut inputs = looked(saw(WAIT, Memory::default()));
    inputs.take(Answer::Held(id(0), CallResult::Failed { detail: "Rate exceeded".into() }));
    inputs.take(Answer::Sent(id(0), CallResult::Done));
    let seen = metrics(inputs.clone());
    assert_eq!((seen.commands_sent, seen.action_failed), (1, 1));
    assert_eq!((seen.waiting, seen.retained, seen.released), (Some(1), Some(0), 0));
    inputs.take(Answer::Group(unknown()));
    let blind = metrics(inputs);
    assert_eq!((blind.waiting, blind.retained, blind.left_alone), (None, None, None));
}
