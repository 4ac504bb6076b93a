//! AWS refuses, throttles, loses answers; agents, hosts and machines fail.

use crate::hosts::*;
use crate::scripted::Says;
use aws_double::{CommandFault, CommandSettings, LifecycleState};
use serde_json::Value;
use std::time::Duration;

const NO_ACTION: &str = "No active Lifecycle Action found with instance ID";

#[tokio::test(flavor = "multi_thread")]
async fn row_10_an_action_that_is_not_there_yet_is_asked_for_again_within_the_pass() {
    let world = World::start(Setup::size(1)).await;
    world.double.faults().fail("CompleteLifecycleAction", 1, 400, "ValidationError", NO_ACTION);
    world.end_first().await;
    let took = world.until_first_gone(30).await;
    assert!(took <= 10, "not only with the next tick, but after {took} s");
    assert_eq!(world.done("CompleteLifecycleAction").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_11_a_completion_whose_answer_is_lost_is_done() {
    let world = World::start(Setup::size(1)).await;
    world.double.faults().lose_reply("CompleteLifecycleAction", 1);
    world.end_first().await;
    world.until_first_gone(70).await;
    world.pass(120).await;
    assert_eq!(world.state(&world.ids[0]), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_12_and_48_throttling_delays_and_loses_nothing() {
    for action in [
        "DescribeAutoScalingGroups",
        "RecordLifecycleActionHeartbeat",
        "DescribeInstances",
        "ListCommandInvocations",
        "SendCommand",
        "CompleteLifecycleAction",
    ] {
        let world = World::start(Setup::size(1)).await;
        world.first_works_until(100);
        // More than the SDK tries within one call.
        world.double.faults().throttle(action, 8);
        world.end_first().await;
        let took = world.until_first_gone(500).await;
        assert!(took <= 360, "{action}: after {took} s: {:#?}", world.summaries());
        assert_eq!(world.done("CompleteLifecycleAction").len(), 1, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_an_agent_that_is_away_for_ten_minutes_is_waited_for() {
    away_for_ten_minutes(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_details_with_spaces_are_read_like_those_without() {
    away_for_ten_minutes(true).await;
}

async fn away_for_ten_minutes(spaced_details: bool) {
    let world = World::start(Setup::size(1)).await;
    let settings = CommandSettings { spaced_details, ..world.double.command_settings() };
    world.double.set_command_settings(settings).expect("settings");
    world.first_works_until(500);
    world.double.set_agent_online(&world.ids[0], false);
    world.end_first().await;
    world.pass(600).await;
    world.nobody_is_cut_off();
    assert_eq!(
        world.state(&world.ids[0]),
        Some(LifecycleState::TerminatingWait),
        "held all the time"
    );
    world.double.set_agent_online(&world.ids[0], true);
    assert!(world.until_first_gone(180).await <= 150, "{:#?}", world.summaries());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_an_agent_that_dies_with_the_command_in_hand_is_asked_again() {
    let world = World::start(Setup::size(1)).await;
    world.first_works_until(900);
    world.end_first().await;
    world.pass(100).await;
    world.double.kill_agent(&world.ids[0]);
    world.pass(30).await;
    world.double.set_agent_online(&world.ids[0], true);
    let took = world.until_first_gone(1400).await + 130;
    assert!((899..=1250).contains(&took), "after {took} s: {:#?}", world.summaries());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_17_to_19_commands_that_come_twice_late_unlisted_or_without_words() {
    let faults = [
        CommandFault::DeliverTwice,
        CommandFault::Undeliverable,
        CommandFault::LoseOutput,
        CommandFault::LoseReport,
        CommandFault::Delay { seconds: 20 },
    ];
    for fault in faults {
        let world = World::start(Setup::size(1)).await;
        world.first_works_until(60);
        world.double.plan_command_fault(&world.ids[0], fault);
        world.end_first().await;
        let took = world.until_first_gone(900).await;
        assert!((59..=480).contains(&took), "{fault:?}: after {took} s: {:#?}", world.summaries());
    }
    let world = World::start(Setup::size(1)).await;
    let mut settings = world.double.command_settings();
    settings.listed_after = Duration::from_secs(30);
    world.double.set_command_settings(settings).expect("legal");
    world.end_first().await;
    world.until_first_gone(120).await;
    assert_eq!(
        world.hosts.of(&world.ids[0]).told,
        1,
        "unlisted is not unsent: {:#?}",
        world.summaries()
    );
}

/// Row 19: the old system's drain, which answered "Drain complete" whatever happened.
#[tokio::test(flavor = "multi_thread")]
async fn row_19_success_without_a_proof_lets_nobody_go() {
    let world = World::start(Setup::size(1)).await;
    world.first_works_until(600);
    world.hosts.change(&world.ids[0], |script| script.says = Some(Says::Success404));
    world.end_first().await;
    world.pass(300).await;
    assert_eq!(world.state(&world.ids[0]), Some(LifecycleState::TerminatingWait));
    assert!(world.hosts.of(&world.ids[0]).told <= 16, "it is not asked in a circle");
    world.hosts.change(&world.ids[0], |script| script.says = None);
    world.until_first_gone(400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_a_worker_that_its_host_cannot_reach_is_not_idle() {
    let world = World::start(Setup::size(1)).await;
    world.hosts.change(&world.ids[0], |script| script.says = Some(Says::Unreachable));
    world.end_first().await;
    world.pass(600).await;
    assert_eq!(world.state(&world.ids[0]), Some(LifecycleState::TerminatingWait));
    world.hosts.change(&world.ids[0], |script| script.says = None);
    world.until_first_gone(300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_spot_notice_stops_the_worker_in_time_to_release_its_job() {
    let world = World::start(Setup::size(1)).await;
    world.first_works_until(10_000);
    world.double.reclaim_instance(&world.ids[0], Duration::from_secs(120)).expect("it runs");
    world.double.settle().await;
    for _ in 0..119 {
        world.pass(1).await;
        if world.hosts.of(&world.ids[0]).interrupted > 0 {
            break;
        }
    }
    let left = world.at(120).duration_since(world.double.now()).as_secs();
    assert!((20..=90).contains(&left), "{left} s before the end: {:#?}", world.summaries());
    assert!(
        !world.done("TerminateInstanceInAutoScalingGroup").is_empty(),
        "it is replaced meanwhile"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_rebalance_recommendation_replaces_it_and_lets_the_job_finish() {
    let world = World::start(Setup::size(1).env("DRAIN_REBALANCE_EVERY_SECONDS", "60")).await;
    world.first_works_until(620);
    world.pass(120).await;
    world.double.recommend_rebalance(&world.ids[0]).expect("it runs");
    world.double.settle().await;
    let took = world.until_first_gone(600).await;
    assert!(took >= 499, "after {took} s");
    assert_eq!(world.group().desired, 1, "the capacity stays");
}

/// The replacement gets the same advice as soon as it runs, and so on.
#[tokio::test(flavor = "multi_thread")]
async fn a_recommendation_for_every_new_instance_replaces_none_of_them() {
    let world = World::start(Setup::size(2)).await;
    for _ in 0..6 {
        for id in &world.ids {
            world.double.recommend_rebalance(id).expect("it runs");
        }
        world.pass(60).await;
    }
    assert_eq!(world.done("TerminateInstanceInAutoScalingGroup").len(), 0);
    let named = |record: &Value| {
        let summary = record["summary"].to_string();
        summary.contains(&world.ids[0]) && summary.contains("it is not followed now because")
    };
    world.recorded("what is held back", |records| records.iter().any(named)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_36_a_dead_machine_is_let_go_within_a_minute() {
    let world = World::start(Setup::size(1)).await;
    world.double.lose_instance(&world.ids[0]).expect("it is there");
    let id = world.ids[0].clone();
    let took = world.until_gone(&id, 600, || ()).await;
    let gone = |record: &Value| record.to_string().contains("machine_gone");
    world.recorded("it is gone", |records| records.iter().any(gone)).await;
    assert!(
        took <= 420,
        "the group finds out by its own checks, and then it goes at once: {took} s"
    );
    assert_eq!(world.hosts.of(&id).told, 0);
}
