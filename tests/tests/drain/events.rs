//! Events that are lost, doubled, late, out of order, or about somebody else.

use crate::hosts::*;
use aws_double::{Disturbance, LifecycleState};

const ALL: &str = "*";

fn every(change: impl FnOnce(&mut Disturbance)) -> Disturbance {
    let mut disturbance = Disturbance::default();
    change(&mut disturbance);
    disturbance
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_doubled_events_end_it_once() {
    let world = World::start(Setup::size(1)).await;
    world.double.disturb(ALL, every(|d| d.duplicate = 1.0)).expect("legal");
    world.first_works_until(100);
    world.end_first().await;
    world.until_first_gone(120).await;
    world.pass(120).await;
    assert_eq!(world.done("CompleteLifecycleAction").len(), 1);
    assert_eq!(world.hosts.of(&world.ids[0]).told, 1, "{:#?}", world.summaries());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_02_late_events_in_the_wrong_order_change_nothing() {
    let world = World::start(Setup::size(2)).await;
    let late = every(|d| (d.delay_seconds, d.reorder, d.duplicate) = ((5.0, 600.0), 0.5, 0.5));
    world.double.disturb(ALL, late).expect("legal");
    world.first_works_until(400);
    world.end_first().await;
    let took = world.until_first_gone(500).await;
    assert!((399..=470).contains(&took), "after {took} s: {:#?}", world.summaries());
    world.pass(700).await;
    assert_eq!(world.done("CompleteLifecycleAction").len(), 1);
    assert_eq!(world.state(&world.ids[1]), Some(LifecycleState::InService), "nobody named it");
}

/// Every event of an hour is lost; the tick alone is enough, and the job is safe.
#[tokio::test(flavor = "multi_thread")]
async fn rows_03_and_04_all_events_lost_for_an_hour_cost_a_minute_and_no_job() {
    let world = World::start(Setup::size(1)).await;
    world.double.disturb(ALL, every(|d| d.lose = 1.0)).expect("legal");
    world.first_works_until(3000);
    world.end_first().await;
    let took = world.until_first_gone(3600).await;
    assert!((2999..=3065).contains(&took), "after {took} s: {:#?}", world.summaries());
    assert_eq!(world.done("CompleteLifecycleAction").len(), 1);
}

/// The schedule's rule is disabled: events alone do it, and `DrainSilent` rings
/// (tests/python/sam/test_template.py).
#[tokio::test(flavor = "multi_thread")]
async fn row_07_without_ticks_the_events_do_it() {
    let world = World::start(Setup::size(1)).await;
    world.double.disturb("Scheduled Event", every(|d| d.lose = 1.0)).expect("legal");
    world.first_works_until(900);
    world.end_first().await;
    let took = world.until_first_gone(1000).await;
    assert!((899..=905).contains(&took), "after {took} s: {:#?}", world.summaries());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_42_without_its_hook_it_says_so_and_touches_nobody() {
    let world = World::start(Setup { hook: "somebody-elses-hook", ..Setup::size(1) }).await;
    let record = world.tick().await;
    assert!(
        record["notes"].to_string().contains("has no lifecycle hook ghosthands-drain-hook"),
        "{record}"
    );
    world.end_first().await;
    world.pass(61).await;
    assert_eq!(world.done("CompleteLifecycleAction").len(), 0);
    assert_eq!(world.state(&world.ids[0]), Some(LifecycleState::TerminatingWait));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_43_another_group_is_left_alone() {
    let world = World::start(Setup::size(1)).await;
    let other = aws_double::GroupSpec::new("somebody-elses-asg", 0, 1)
        .desired(1)
        .boot(std::time::Duration::from_secs(1))
        .hook(aws_double::HookSpec::terminating(HOOK, 300));
    world.double.create_group(other).expect("valid");
    world.pass(2).await;
    let instances = world.double.group("somebody-elses-asg").expect("there").instances;
    world.double.clear_calls();
    world.double.terminate_instance(&instances[0].id, true).expect("it can be ended");
    world.double.settle().await;
    let calls = world.double.calls();
    let ours: Vec<_> = calls.iter().filter(|call| call.service != "lambda").collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_50_an_operators_completion_is_not_fought() {
    let world = World::start(Setup::size(1)).await;
    world.first_works_until(10_000);
    world.end_first().await;
    let complete = [
        ("AutoScalingGroupName", GROUP),
        ("LifecycleHookName", HOOK),
        ("InstanceId", &world.ids[0]),
        ("LifecycleActionResult", "CONTINUE"),
    ];
    fleet_tests::auto_scaling(&world.double.endpoint(), "CompleteLifecycleAction", &complete).await;
    world.pass(180).await;
    assert_eq!(world.state(&world.ids[0]), None);
    assert_eq!(
        world.done("CompleteLifecycleAction").len(),
        1,
        "the operator's: {:#?}",
        world.summaries()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_a_hook_that_cannot_hold_for_the_longest_job_is_told_of() {
    // A hundred heartbeats of 30 s are 50 minutes; a job may take four hours.
    let world = World::start(Setup { heartbeat_s: 30, ..Setup::size(1) }).await;
    let record = world.tick().await;
    let notes = record["notes"].to_string();
    assert!(notes.contains("3000 s"), "{notes}");
    world.metric("DrainHookDrift", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_37_and_39_whoever_ends_it_its_job_is_finished_first() {
    let world = World::start(Setup::size(1)).await;
    world.first_works_until(400);
    let unhealthy = [
        ("InstanceId", world.ids[0].as_str()),
        ("HealthStatus", "Unhealthy"),
        ("ShouldRespectGracePeriod", "false"),
    ];
    fleet_tests::auto_scaling(&world.double.endpoint(), "SetInstanceHealth", &unhealthy).await;
    let took = world.until_first_gone(600).await;
    assert!((399..=470).contains(&took), "after {took} s: {:#?}", world.summaries());
    assert_eq!(world.group().desired, 1, "the group replaces it");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_44_a_clock_that_is_hours_off_decides_nothing() {
    let behind = std::time::Duration::from_secs(5 * 3600);
    let world = World::start(Setup { clock_behind: behind, ..Setup::size(1) }).await;
    world.first_works_until(500);
    world.end_first().await;
    let took = world.until_first_gone(600).await;
    assert!((499..=505).contains(&took), "after {took} s: {:#?}", world.summaries());
    assert_eq!(world.done("CompleteLifecycleAction").len(), 1);
}
