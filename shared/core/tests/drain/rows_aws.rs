//! The failure matrix: events, the function, the hook and the group.
//!
//! Rows that are not here are whole lives (7 and 46, in `lives.rs`) or about other programs (31, 32
//! and 34 are autoscale's). Rows 21 to 28 are the host's to prove; what the decision needs of them
//! is in `rows_host.rs`. `docs/SEMANTICS.md` lists all fifty.

use crate::scene::*;
use fleet_core::drain::*;
use fleet_core::run_command::InvocationStatus as Status;
use fleet_protocol::reading::Reading;

#[test]
fn row_01_a_doubled_event_finds_the_action_over() {
    let scene = Scene::waiting(vec![answered(10, drained())]).hint(HintKind::Look);
    assert!(scene.is_completed());
    // The second pass of the same event: completed already, so the group no longer shows it as
    // waiting.
    let second = scene
        .then(Answer::Completed(id(0), CallResult::NoAction))
        .then(Answer::Group(Reading::Known(group(vec![member(0, "Terminating:Proceed")]))));
    assert!(second.is_left_alone());
    assert_eq!(second.because(), Reason::Released);
}

#[test]
fn row_02_a_stale_event_is_no_reason_to_do_anything() {
    for lifecycle in ["InService", "Pending", "Terminating", "Terminating:Proceed", "Standby"] {
        let scene = Scene::of(lifecycle, vec![]).hint(HintKind::Look);
        assert!(scene.is_left_alone(), "{lifecycle}");
    }
}

#[test]
fn row_03_a_lost_event_is_made_up_for_by_the_tick() {
    let with_event = Scene::waiting(vec![]).hint(HintKind::Look);
    let without = Scene::waiting(vec![]);
    assert_eq!(with_event.calls(), without.calls());
    assert_eq!(without.sent(), order());
}

#[test]
fn row_04_a_lost_command_event_is_made_up_for_by_the_tick() {
    assert!(Scene::waiting(vec![answered(299, drained())]).is_completed());
}

#[test]
fn row_05_a_pass_that_died_left_nothing_behind_that_the_next_one_needs() {
    // Died after the heartbeat, after the command, after the completion: each time the world alone
    // tells the next step.
    assert_eq!(Scene::waiting(vec![]).sent(), order());
    let sent = Scene::waiting(vec![command(70, Status::Running, Output::None)]);
    assert_eq!(sent.because(), Reason::Waiting { asked_s: 70, window_s: 240 });
    assert!(Scene::of("Terminating:Proceed", vec![]).is_left_alone());
}

#[test]
fn row_06_an_outage_longer_than_the_hook_keeps_the_machine_and_the_next_pass_drains_it() {
    let scene = Scene::of("Terminating:Retained", vec![]);
    assert_eq!(scene.sent(), order());
    // Hours without a pass do not count against a worker that was never told.
    let back = Scene::of("Terminating:Retained", vec![answered(5 * 3600, busy(1))]);
    let order = back.sent();
    assert!(order.stop && order.window_s == 0, "the limit is over, so it is told to stop first");
    assert!(matches!(back.because(), Reason::PastLimit { .. }), "{}", back.because());
}

#[test]
fn row_06_a_host_that_never_answered_is_told_once_more_before_its_worker_is_stopped() {
    // Asked once, the command died on its way, and then nothing of ours ran for longer than any job
    // may take.
    let limit = i64::from(LIMIT_S);
    let first = || command(limit + 900, Status::Unreached, Output::None);
    let last_call = |asked_s, status, output| {
        let mut call = command(asked_s, status, output);
        call.order.chain.asked = Some(ago(limit + 900));
        Scene::waiting(vec![first(), call])
    };
    let back = Scene::waiting(vec![first()]);
    let order = back.sent();
    assert!(!order.stop && order.window_s == 240, "its worker may never have heard of the end");
    assert!(matches!(back.because(), Reason::LastCall { .. }) && back.because().pages());
    // Heard: the limit counts from there. Not heard: told again. Heard, and no answer: stopped.
    assert!(last_call(100, Status::Running, Output::None).is_left_alone());
    assert!(!last_call(250, Status::Success, Output::Report(busy(1))).sent().stop);
    assert!(!last_call(100, Status::Unreached, Output::None).sent().stop);
    assert!(last_call(250, Status::Success, Output::None).sent().stop);
    // Its agent stays away: given up when a worker that was told to stop would be, and not while a
    // call is at work.
    assert!(!last_call(239, Status::Unreached, Output::None).sent().stop);
    assert!(last_call(240, Status::Unreached, Output::None).is_completed());
    assert!(last_call(240, Status::Running, Output::None).is_left_alone());
    assert!(!last_call(479, Status::Running, Output::None).sent().stop);
    assert!(last_call(480, Status::Running, Output::None).is_completed());
    // A host that ran its commands all the time, and never answered one, has heard of its end.
    let silent = vec![
        command(limit, Status::Success, Output::None),
        command(60, Status::Success, Output::None),
    ];
    assert!(Scene::waiting(silent).sent().stop);
}

#[test]
fn row_08_a_hook_that_kills_when_it_runs_out_is_told_of() {
    let drift = |hook: Hook, retains: bool| {
        let mut with = group(vec![]);
        with.retains = retains;
        let scene = Scene::waiting(vec![])
            .then(Answer::Hook(Reading::Known(hook)))
            .then(Answer::Group(Reading::Known(with)));
        let notes = scene.decide().notes;
        notes.iter().filter(|note| matches!(note, Note::HookDrift { .. })).count()
    };
    assert_eq!(drift(hook(), true), 0);
    assert_eq!(drift(hook(), false), 1);
    assert_eq!(drift(Hook { default_result: "CONTINUE".into(), ..hook() }, true), 1);
}

#[test]
fn row_09_a_hook_that_cannot_hold_for_a_whole_job_is_told_of() {
    let short = Hook { heartbeat_s: 60, global_s: 6_000, ..hook() };
    let scene = Scene::waiting(vec![]).then(Answer::Hook(Reading::Known(short)));
    let notes: Vec<String> = scene.decide().notes.iter().map(ToString::to_string).collect();
    assert!(notes.iter().any(|note| note.contains("at most 6000 s")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("after 60 s without a heartbeat")), "{notes:?}");
}

#[test]
fn row_10_no_active_action_while_the_group_still_shows_it_waiting_is_asked_again() {
    let mut scene = Scene::waiting(vec![answered(10, drained())]);
    for attempt in 1..6 {
        assert!(scene.is_completed(), "attempt {attempt}");
        scene = scene.then(Answer::Completed(id(0), CallResult::NoAction));
        assert_eq!(scene.calls(), [Call::DescribeGroup { after_s: 5 }]);
        scene =
            scene.then(Answer::Group(Reading::Known(group(vec![member(0, "Terminating:Wait")]))));
    }
    assert!(scene.is_completed());
    let scene = scene.then(Answer::Completed(id(0), CallResult::NoAction));
    assert!(scene.is_left_alone(), "then the next pass goes on");
}

#[test]
fn row_10_another_hook_that_holds_it_does_not_keep_the_pass_waiting() {
    let scene = Scene::waiting(vec![answered(300, drained())])
        .then(Answer::Held(id(0), CallResult::NoAction))
        .then(Answer::Completed(id(0), CallResult::NoAction));
    assert!(scene.is_left_alone());
    assert!(scene.decide().notes.contains(&Note::NotHeld { instance: id(0) }));
}

#[test]
fn row_11_a_completion_whose_answer_was_lost_is_over() {
    let lost =
        CallResult::Failed { detail: "CompleteLifecycleAction was not answered within 3 s".into() };
    let scene = Scene::waiting(vec![answered(10, drained())]).then(Answer::Completed(id(0), lost));
    assert!(scene.is_left_alone(), "the next pass looks what became of it");
    assert!(Scene::of("Terminating:Proceed", vec![]).is_left_alone());
    assert!(Scene::waiting(vec![answered(70, drained())]).is_completed(), "or completes it then");
}

#[test]
fn row_12_a_completion_that_failed_once_is_never_taken_for_done() {
    let failed = CallResult::Failed { detail: "ResourceContention".into() };
    let scene =
        Scene::waiting(vec![answered(10, drained())]).then(Answer::Completed(id(0), failed));
    assert!(!scene.decide().verdicts[0].released);
    assert!(Scene::waiting(vec![answered(70, drained())]).is_completed());
}

#[test]
fn row_13_nothing_is_held_that_does_not_wait() {
    for lifecycle in ["Terminating:Proceed", "Terminated", "Terminating:Retained"] {
        let mut inputs = Inputs::new(policy(), NOW, Memory::default(), vec![]);
        inputs.take(Answer::Group(Reading::Known(group(vec![member(0, lifecycle)]))));
        let calls = decide(&inputs).calls;
        assert!(!calls.iter().any(|call| matches!(call, Call::Heartbeat { .. })), "{lifecycle}");
    }
}

#[test]
fn row_14_an_action_that_somebody_else_completed_is_over() {
    let scene = Scene::waiting(vec![answered(10, drained())])
        .then(Answer::Completed(id(0), CallResult::NoAction))
        .then(Answer::Group(Reading::Known(group(vec![]))));
    assert!(scene.is_left_alone());
    assert_eq!(scene.because(), Reason::Released);
}

#[test]
fn row_30_a_hundred_at_once_are_all_held_within_one_pass() {
    let members = (0..100).map(|n| member(n, "Terminating:Wait")).collect();
    let mut inputs = Inputs::new(policy(), NOW, Memory::default(), vec![]);
    inputs.take(Answer::Group(Reading::Known(group(members))));
    let calls = decide(&inputs).calls;
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Heartbeat { .. })).count(), 100);
}

#[test]
fn row_33_a_replacement_never_lowers_the_desired_capacity() {
    // The type has no word for it: Call::Replace is TerminateInstance without decrement.
    let scene = Scene::of("Terminating:Retained", vec![answered(10, drained())]);
    assert_eq!(scene.calls(), [Call::Replace { instance: id(0) }]);
}

#[test]
fn row_35_a_spot_notice_in_mid_drain_hands_the_host_its_deadline() {
    let running = command(100, Status::Running, Output::None);
    let scene = Scene::waiting(vec![running]).hint(HintKind::Spot { noticed: Some(ago(10)) });
    let order = scene.sent();
    assert!(order.stop);
    assert_eq!(order.window_s, 50, "a minute is left to the worker to release its job");
    assert_eq!(order.chain.until, Some(ago(-50)));
    // The next pass, without any event, knows it from the command.
    let mut told = command(5, Status::Running, Output::None);
    told.order = order;
    let next = Scene::waiting(vec![command(105, Status::Running, Output::None), told]);
    assert_eq!(next.because(), Reason::Waiting { asked_s: 5, window_s: 50 });
}

#[test]
fn row_35_a_spot_notice_does_not_wait_because_the_host_was_asked_just_now() {
    // The last command has ended seconds ago: any other order would wait for its turn.
    let busy = Scene::waiting(vec![answered(5, busy(1))]);
    assert!(matches!(busy.because(), Reason::TooSoon { .. }));
    let noticed = busy.hint(HintKind::Spot { noticed: Some(ago(1)) });
    assert!(noticed.sent().stop);
}

#[test]
fn row_35_a_spot_notice_for_a_machine_in_service_drains_and_replaces_it() {
    let scene = Scene::of("InService", vec![]).hint(HintKind::Spot { noticed: None });
    let calls = scene.calls();
    assert!(matches!(&calls[0], Call::Send { order, .. } if order.stop && order.window_s == 60));
    assert_eq!(calls[1..], [Call::Replace { instance: id(0) }]);
    let done = scene
        .then(Answer::Sent(id(0), CallResult::Done))
        .then(Answer::Replaced(id(0), CallResult::Done));
    assert!(done.is_left_alone());
}

#[test]
fn row_35_a_notice_of_long_ago_stops_nobody() {
    let scene = Scene::of("InService", vec![]).hint(HintKind::Spot { noticed: Some(ago(3600)) });
    assert!(scene.is_left_alone());
    let waiting = Scene::waiting(vec![command(60, Status::Running, Output::None)]);
    assert!(waiting.hint(HintKind::Spot { noticed: Some(ago(3600)) }).is_left_alone());
}

#[test]
fn row_35_a_rebalance_recommendation_lets_the_job_finish() {
    let scene = Scene::of("InService", vec![]).hint(HintKind::Rebalance);
    assert_eq!(scene.calls(), [Call::DescribeActivities]);
    let scene = scene.then(Answer::Activities(Reading::Known(ending(1800))));
    assert_eq!(scene.calls(), [Call::Replace { instance: id(0) }]);
    let mut own = group(vec![member(0, "InService")]);
    own.rebalances = true;
    let scene = scene.then(Answer::Group(Reading::Known(own)));
    assert!(scene.is_left_alone(), "the group does it by itself");
}

#[test]
fn rebalance_recommendations_are_followed_one_at_a_time_and_not_often() {
    let known = |activities| Answer::Activities(Reading::Known(activities));
    let advised = |activities: Activities| {
        Scene::of("InService", vec![]).hint(HintKind::Rebalance).then(known(activities))
    };
    let held = |scene: &Scene, why: &str| {
        let because = scene.because().to_string();
        assert!(scene.is_left_alone() && because.contains(why), "{because}");
    };
    let launched = |s| Activities { launched: [(id(0), ago(s))].into(), ..Activities::default() };
    held(&advised(launched(1799)), "launched 1799 s ago");
    assert_eq!(advised(launched(1800)).calls(), [Call::Replace { instance: id(0) }]);
    let ended = |s| Activities { last_ending: Some(ago(s)), ..Activities::default() };
    held(&advised(ended(1799)), "end an instance 1799 s ago");
    assert_eq!(advised(ended(1800)).calls(), [Call::Replace { instance: id(0) }]);
    for other in ["Pending", "Terminating", "Terminating:Proceed"] {
        let members = vec![member(0, "InService"), member(1, other)];
        let scene = advised(Activities::default());
        let scene = scene.then(Answer::Group(Reading::Known(group(members))));
        let because = scene.decide().verdicts.remove(0).because.to_string();
        assert!(because.contains(&format!("{} is {other}", id(1))), "{because}");
    }
    let unknown = Scene::of("InService", vec![]).hint(HintKind::Rebalance);
    held(&unknown.then(Answer::Activities(crate::scene::unknown())), "activities are unknown");
    let mut off = advised(Activities::default());
    off.inputs.policy.rebalance_every_s = 0;
    held(&off, "DRAIN_REBALANCE_EVERY_SECONDS is 0");
}

#[test]
fn of_two_recommendations_in_one_pass_one_is_followed() {
    let mut scene = Scene::of("InService", vec![]).hint(HintKind::Rebalance);
    scene.inputs.hints.push(Hint { instance: id(1), kind: HintKind::Rebalance });
    let members = vec![member(0, "InService"), member(1, "InService")];
    let scene = scene
        .then(Answer::Group(Reading::Known(group(members))))
        .then(Answer::Commands(id(1), Reading::Known(vec![])))
        .then(Answer::Activities(Reading::Known(Activities::default())));
    assert_eq!(scene.calls(), [Call::Replace { instance: id(0) }]);
    let because = scene.decide().verdicts.remove(1).because.to_string();
    assert!(because.contains(&format!("{} is replaced first", id(0))), "{because}");
}

#[test]
fn a_machine_that_aws_will_retire_is_replaced_by_way_of_its_hook() {
    let scene = Scene::of("InService", vec![]).hint(HintKind::Retirement);
    assert_eq!(scene.calls(), [Call::Replace { instance: id(0) }]);
    assert_eq!(scene.because(), Reason::RetirementNotice);
}

#[test]
fn row_36_a_dead_machine_is_completed_at_once() {
    for state in ["shutting-down", "terminated", "stopping", "stopped"] {
        let scene = Scene::waiting(vec![command(20, Status::Running, Output::None)]).machine(state);
        assert!(scene.is_completed(), "{state}");
        assert_eq!(scene.because(), Reason::MachineGone { state: state.into() });
    }
    for state in ["running", "pending", "a-new-word"] {
        let scene = Scene::waiting(vec![command(20, Status::Running, Output::None)]).machine(state);
        assert!(scene.is_left_alone(), "{state}");
    }
}

#[test]
fn row_36_machines_that_cannot_be_asked_are_not_dead() {
    let commands = vec![command(20, Status::Running, Output::None)];
    let scene = Scene::waiting(commands).then(Answer::Machines(unknown()));
    assert!(scene.is_left_alone());
    let forgotten = Scene::waiting(vec![]).then(Answer::Machines(Reading::Known([].into())));
    assert_eq!(forgotten.sent(), order());
}

#[test]
fn row_37_an_unhealthy_machine_that_runs_drains_like_any_other() {
    assert_eq!(Scene::waiting(vec![]).machine("running").sent(), order());
}

#[test]
fn row_39_whoever_ends_it_and_why_makes_no_difference() {
    // A refresh, the maximum lifetime and zone rebalancing all show as the same state.
    assert_eq!(Scene::waiting(vec![]).sent(), order());
}

#[test]
fn row_40_a_return_to_the_warm_pool_is_told_of_and_left_alone() {
    for lifecycle in ["Warmed:Pending:Wait", "Warmed:Terminating:Wait", "Warmed:Stopped"] {
        let scene = Scene::of(lifecycle, vec![]).hint(HintKind::Look);
        let decision = scene.decide();
        assert!(decision.calls.is_empty());
        assert!(matches!(decision.notes[0], Note::WarmPool { .. }), "{lifecycle}");
    }
}

#[test]
fn row_40_a_state_that_this_version_does_not_know_is_told_of_and_left_alone() {
    let decision = Scene::of("Terminating:Later", vec![]).hint(HintKind::Look).decide();
    assert!(decision.calls.is_empty());
    assert!(matches!(decision.notes[..], [Note::UnknownState { .. }]), "{:?}", decision.notes);
    for known in ["Standby", "Quarantined", "Terminating", "ReplacingRootVolume:Wait"] {
        assert_eq!(Scene::of(known, vec![]).decide().notes, [], "{known}");
    }
}

#[test]
fn row_41_a_retained_machine_is_drained_and_then_ended_by_way_of_its_hook() {
    let retained = |commands| Scene::of("Terminating:Retained", commands);
    assert_eq!(retained(vec![]).sent(), order());
    let scene = retained(vec![answered(10, drained())]);
    assert_eq!(scene.calls(), [Call::Replace { instance: id(0) }]);
    let scene = scene.then(Answer::Replaced(id(0), CallResult::Done));
    assert!(scene.is_left_alone());
    // The hook runs again, and the proof is still fresh.
    assert!(Scene::waiting(vec![answered(70, drained())]).is_completed());
}

#[test]
fn row_42_a_hook_that_is_missing_or_not_ours_is_told_of() {
    let scene = Scene::waiting(vec![]).then(Answer::Hook(unknown()));
    assert!(matches!(scene.decide().notes[0], Note::HookUnknown { .. }));
    let launching = Hook { terminating: false, ..hook() };
    let scene = Scene::waiting(vec![]).then(Answer::Hook(Reading::Known(launching)));
    assert!(matches!(scene.decide().notes[0], Note::HookDrift { .. }));
}

#[test]
fn row_43_an_instance_of_another_group_is_none_of_ours() {
    let mut inputs = Inputs::new(policy(), NOW, Memory::default(), vec![]);
    for kind in [HintKind::Look, HintKind::Rebalance, HintKind::Spot { noticed: None }] {
        inputs.hints.push(Hint { instance: id(7), kind });
    }
    inputs.take(Answer::Hook(Reading::Known(hook())));
    inputs.take(Answer::Group(Reading::Known(group(vec![member(0, "InService")]))));
    let decision = decide(&inputs);
    assert!(decision.calls.is_empty());
    assert_eq!(decision.notes[0], Note::NotOurs { instance: id(7) });
}

#[test]
fn row_44_the_functions_clock_decides_nothing() {
    let scenes = [
        Scene::waiting(vec![]),
        Scene::waiting(vec![answered(100, drained())]),
        Scene::waiting(vec![command(100, Status::Running, Output::None)]),
        Scene::waiting(vec![answered(15_000, busy(1))]),
    ];
    for scene in scenes {
        for hours in [-5, 5] {
            let mut skewed = scene.clone();
            skewed.inputs.now = ago(hours * 3600);
            assert_eq!(skewed.calls(), scene.calls());
            assert!(matches!(skewed.decide().notes[0], Note::Skew { .. }));
        }
    }
}

#[test]
fn row_48_a_throttled_list_holds_the_instance_as_it_is() {
    let scene = Scene::waiting(vec![]).then(Answer::Commands(id(0), unknown()));
    assert!(scene.is_left_alone());
    assert!(matches!(scene.because(), Reason::CommandsUnknown { .. }));
}

#[test]
fn row_48_a_throttled_group_ends_the_pass() {
    let mut inputs = Inputs::new(policy(), NOW, Memory::default(), vec![]);
    inputs.take(Answer::Group(unknown()));
    let decision = decide(&inputs);
    assert!(decision.calls.is_empty());
    assert!(matches!(decision.notes[0], Note::GroupUnknown { .. }));
}

#[test]
fn row_49_an_instance_that_aws_ended_past_the_hook_is_over() {
    assert!(
        Scene::of("Terminated", vec![command(20, Status::Running, Output::None)]).is_left_alone()
    );
}

#[test]
fn row_50_an_operators_completion_is_seen_and_not_fought() {
    let scene = Scene::waiting(vec![command(20, Status::Running, Output::None)])
        .then(Answer::Held(id(0), CallResult::NoAction));
    assert!(scene.is_left_alone());
    assert!(scene.decide().notes.contains(&Note::NotHeld { instance: id(0) }));
}
