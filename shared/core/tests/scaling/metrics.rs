//! What a tick was, in the numbers that the alarms watch.

use crate::fleet::*;
use fleet_core::scaling::*;
use fleet_protocol::reading::{Reading, UnknownCause};

fn metrics(inputs: &Inputs) -> ScalingMetrics {
    ScalingMetrics::of(&inputs.observation, &decide(inputs).decision, false)
}

#[test]
fn each_number_is_the_one_that_was_read() {
    let mut group = group(5);
    for (n, state) in ["Pending:Wait", "Terminating:Wait", "Standby"].into_iter().enumerate() {
        group.instances[n].lifecycle = state.into();
    }
    let mut queue = queue(3, 2, 2);
    queue.general.due_soon = 4;
    queue.general.oldest_wait_ms = 61_999;
    let mut inputs = inputs(released(5), queue, group);
    inputs.observation.now.0 += 7_000;
    let seen = metrics(&inputs);
    assert_eq!((seen.ready, seen.due_soon), (Some(3), Some(4)));
    assert_eq!((seen.active_live, seen.active_expired), (Some(2), Some(0)));
    assert_eq!((seen.oldest_wait_s, seen.source_age_s), (Some(61), Some(7)));
    assert_eq!((seen.in_service, seen.pending, seen.terminating), (Some(2), Some(1), Some(1)));
    assert!(!seen.source_down && !seen.action_failed);
}

#[test]
fn a_source_that_is_unknown_is_down_and_its_numbers_are_none() {
    let known = inputs(released(2), queue(0, 0, 2), group(2));
    let mut no_queue = known.clone();
    no_queue.observation.queue = unknown(UnknownCause::Unreachable);
    let seen = metrics(&no_queue);
    assert_eq!((seen.ready, seen.active_live, seen.unable_workers), (None, None, None));
    assert_eq!((seen.in_service, seen.source_down), (Some(2), true));
    let mut no_group = known.clone();
    no_group.observation.group = unknown(UnknownCause::Failed);
    let seen = metrics(&no_group);
    assert_eq!((seen.in_service, seen.pending, seen.terminating), (None, None, None));
    assert_eq!((seen.ready, seen.source_down), (Some(0), true));
    let mut no_count = known;
    let Reading::Known(queue) = &mut no_count.observation.queue else { panic!("known") };
    queue.general.active = unknown(UnknownCause::TimedOut);
    let seen = metrics(&no_count);
    assert_eq!((seen.active_live, seen.ready, seen.source_down), (None, Some(0), false));
}

#[test]
fn scale_in_is_blocked_while_fewer_would_do_and_nothing_is_done() {
    let blocked = |inputs: &Inputs| metrics(inputs).scale_in_blocked;
    let idle = inputs(released(3), queue(0, 0, 3), group(3));
    assert_ne!(decide(&idle).decision.action, ScalingAction::Nothing);
    assert!(!blocked(&idle), "one is let go");
    let mut held = idle.clone();
    held.memory = Memory::Lost { cause: LossCause::Absent, detail: String::new() };
    assert!(blocked(&held));
    let needed = inputs(released(3), queue(0, 3, 3), group(3));
    assert!(!blocked(&needed));
}

#[test]
fn an_action_that_aws_refused_is_told() {
    let inputs = inputs(released(1), queue(5, 0, 1), group(1));
    let decision = decide(&inputs).decision;
    let failed = |failed| ScalingMetrics::of(&inputs.observation, &decision, failed).action_failed;
    assert!(failed(true) && !failed(false));
}

#[test]
fn the_next_tick_and_the_page_know_whether_the_group_follows() {
    let converging = |inputs: &Inputs| decide(inputs).state.converging;
    let follows = inputs(released(2), queue(0, 2, 2), group(2));
    assert_eq!(converging(&follows), Some(true));
    let mut suspended = follows.clone();
    let Reading::Known(group) = &mut suspended.observation.group else { panic!("known") };
    group.suspended = vec!["Launch".into()];
    group.desired = 3;
    assert!(decide(&suspended).decision.is_not_converging());
    assert_eq!(converging(&suspended), Some(false));
    let mut blind = follows;
    blind.memory = Memory::Kept(decide(&suspended).state);
    blind.observation.queue = unknown(UnknownCause::Unreachable);
    assert_eq!(converging(&blind), None, "what the tick before saw is not known now");
}
