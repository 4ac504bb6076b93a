//! How an instance leaves when nothing goes wrong, and the few ways in which it may have to go
//! without a proof.

use crate::hosts::*;
use crate::scripted::Says;
use aws_double::{CommandState, LifecycleState};

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_instance_leaves_as_soon_as_its_job_is_done_and_not_before() {
    let world = World::start(Setup::size(2)).await;
    world.first_works_until(710);
    // No tick comes in the second in which a command ends.
    world.pass(10).await;
    world.end_first().await;
    let first =
        world.done("SendCommand").first().map(|call| call.at).expect("a command is sent at once");
    assert!(first.duration_since(world.at(10)).as_secs() <= 2, "the event told of it");
    let took = world.until_first_gone(800).await;
    assert!(
        (699..=705).contains(&took),
        "the command's end told of it, after {took} s: {:#?}",
        world.summaries()
    );
    assert_eq!(world.done("CompleteLifecycleAction").len(), 1);
    assert_eq!(world.group().desired, 1, "whoever took it away had lowered the capacity");
    // Four commands, each begun in the last minute of the one before it: three that ended busy, and
    // the one in which the job ended.
    assert_eq!(world.hosts.of(&world.ids[0]).told, 4, "{:#?}", world.summaries());
    assert_eq!(world.state(&world.ids[1]), Some(LifecycleState::InService));
    assert_eq!(world.hosts.of(&world.ids[1]).told, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_instance_leaves_within_seconds() {
    let world = World::start(Setup::size(1)).await;
    world.end_first().await;
    assert!(world.until_first_gone(20).await <= 5, "{:#?}", world.summaries());
}

/// One call a minute when nobody leaves, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_minute_costs_one_call() {
    let world = World::start(Setup::size(3)).await;
    world.pass(120).await;
    world.double.clear_calls();
    world.pass(600).await;
    let calls = world.double.calls();
    let calls: Vec<&str> = calls
        .iter()
        .filter(|call| call.service != "lambda")
        .map(|call| call.action.as_str())
        .collect();
    assert_eq!(calls, ["DescribeAutoScalingGroups"; 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_29_a_job_past_the_limit_is_stopped_and_paged() {
    let world = World::start(Setup::size(1).env("DRAIN_JOB_LIMIT_SECONDS", "600")).await;
    world.first_works_until(1_000_000);
    world.end_first().await;
    let id = world.ids[0].clone();
    let took = world.until_gone(&id, 1200, || ()).await;
    assert!((600..=720).contains(&took), "after {took} s: {:#?}", world.summaries());
    assert_eq!(world.hosts.of(&id).interrupted, 1);
    world.metric("DrainJobsInterrupted", 1).await;
    world.metric("DrainReleased", 1).await;
    world.metric("DrainPaged", 1).await;
}

/// Nobody answers, so nothing is proven: it is told to stop when no job could run any more, and
/// goes when that had its time.
#[tokio::test(flavor = "multi_thread")]
async fn row_15_a_host_that_never_answers_is_held_until_no_job_could_still_run() {
    let world = World::start(Setup::size(1).env("DRAIN_JOB_LIMIT_SECONDS", "900")).await;
    world.hosts.change(&world.ids[0], |script| script.says = Some(Says::NoServer));
    world.end_first().await;
    let id = world.ids[0].clone();
    let took = world.until_gone(&id, 2400, || ()).await;
    let (least, most) = (900, 900 + 240 + 120);
    assert!((least..=most).contains(&took), "after {took} s: {:#?}", world.summaries());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_38_a_machine_without_an_agent_goes_when_no_job_could_still_run() {
    let world = World::start(Setup::size(1).env("DRAIN_JOB_LIMIT_SECONDS", "300")).await;
    world.double.set_agent_online(&world.ids[0], false);
    world.end_first().await;
    let id = world.ids[0].clone();
    let took = world.until_gone(&id, 1200, || ()).await;
    assert!((300..=720).contains(&took), "after {took} s: {:#?}", world.summaries());
    assert!(world.double.commands().iter().all(|command| command.state != CommandState::Success));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_looks_and_decides_and_changes_nothing() {
    let world = World::start(Setup::size(1).env("DRY_RUN", "true")).await;
    world.end_first().await;
    world.pass(120).await;
    let calls = world.double.calls();
    let changes: Vec<&str> =
        calls.iter().filter(|call| call.is_mutating()).map(|call| call.action.as_str()).collect();
    assert_eq!(changes, [""; 0]);
    world.recorded("a pass", |records| !records.is_empty()).await;
    assert!(world.records().iter().all(|record| record["dry_run"] == true));
    assert_eq!(world.state(&world.ids[0]), Some(LifecycleState::TerminatingWait));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printed_record_replays_bit_for_bit_and_holds_no_secret() {
    let world = World::start(Setup::size(1)).await;
    world.first_works_until(300);
    world.end_first().await;
    world.until_first_gone(400).await;
    world.recorded("four passes", |records| records.len() >= 4).await;
    for record in world.records() {
        let inputs =
            serde_json::from_value(record["inputs"].clone()).expect("the inputs are complete");
        let again = serde_json::to_value(fleet_core::drain::decide(&inputs)).expect("encodes");
        assert_eq!(again, record["decision"]);
    }
    for line in world.drain.logs() {
        // The double's secret access key.
        assert!(!line.text.contains("\"double\""), "{}", line.text);
    }
}
