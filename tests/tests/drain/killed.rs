//! The function dies around each of its calls, is down for an hour, or meets another one of itself.

use crate::hosts::*;
use aws_double::LifecycleState;
use std::time::Duration;

const CALLS: [&str; 7] = [
    "DescribeAutoScalingGroups",
    "DescribeLifecycleHooks",
    "RecordLifecycleActionHeartbeat",
    "DescribeInstances",
    "ListCommandInvocations",
    "SendCommand",
    "CompleteLifecycleAction",
];

/// Row 5, before the call: it dies with the call on its way, which is made or not.
#[tokio::test(flavor = "multi_thread")]
async fn row_05_killed_before_any_call_the_next_pass_goes_on() {
    for call in CALLS {
        let mut world = World::start(Setup::size(1)).await;
        world.first_works_until(90);
        // The first call of this kind hangs, and the function is killed meanwhile.
        world.double.faults().delay(call, 1, Duration::from_secs(20));
        killed_in(&mut world, |world| world.double.faults().planned().is_empty()).await;
        let took = world.until_first_gone(400).await;
        assert!(took <= 300, "{call}: after {took} s: {:#?}", world.summaries());
        assert_eq!(world.done("CompleteLifecycleAction").len(), 1, "{call}");
    }
}

/// After the call: it is done, and nobody is left to hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn row_05_killed_after_any_call_the_next_pass_goes_on() {
    for call in CALLS {
        let mut world = World::start(Setup::size(1)).await;
        world.first_works_until(90);
        // The call after it hangs: whatever that is, the function dies with the first one done.
        world.double.clear_calls();
        let next = CALLS.iter().skip_while(|known| **known != call).nth(1);
        if let Some(next) = next {
            world.double.faults().delay(next, 1, Duration::from_secs(20));
        }
        killed_in(&mut world, |world| world.double.calls().iter().any(|c| c.action == call)).await;
        let took = world.until_first_gone(400).await;
        assert!(took <= 300, "{call}: after {took} s: {:#?}", world.summaries());
        assert_eq!(world.done("CompleteLifecycleAction").len(), 1, "{call}");
    }
}

/// Lets time go on in the background until `now` is the moment, and kills the function there.
async fn killed_in(world: &mut World, now: impl Fn(&World) -> bool) {
    world.double.terminate_instance(&world.ids[0], true).expect("it can be ended");
    let double = world.double.clone();
    let time = tokio::spawn(async move {
        for _ in 0..200 {
            double.advance(Duration::from_secs(1)).await.expect("a manual clock");
        }
    });
    let began = std::time::Instant::now();
    while !now(world) {
        assert!(began.elapsed() < Duration::from_secs(60), "the call is never made");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.restart_function().await;
    time.abort();
    time.await.ok();
}

/// Row 6: nothing of ours runs for an hour. The hook runs out, the machine is kept, and the job
/// with it.
#[tokio::test(flavor = "multi_thread")]
async fn row_06_and_41_down_for_an_hour_the_machine_is_kept_and_drained_afterwards() {
    let mut world = World::start(Setup::size(1)).await;
    world.drain.stop().await;
    world.first_works_until(4000);
    world.double.terminate_instance(&world.ids[0], true).expect("it can be ended");
    let ends = world.at(3600);
    while world.double.now() < ends {
        world.double.advance(Duration::from_secs(30)).await.expect("a manual clock");
        world.nobody_is_cut_off();
    }
    assert_eq!(world.state(&world.ids[0]), Some(LifecycleState::TerminatingRetained));
    world.bring_back().await;
    let took = world.until_first_gone(900).await;
    assert!((390..=600).contains(&took), "after {took} s: {:#?}", world.summaries());
    assert_eq!(world.done("TerminateInstanceInAutoScalingGroup").len(), 1);
    assert_eq!(world.group().desired, 0, "a kept machine does not count");
}

/// The classic hook, without the group's retention: this is what it costs, and why the template's
/// alarm asks for retention.
#[tokio::test(flavor = "multi_thread")]
async fn row_08_without_retention_the_same_outage_ends_the_machine_and_the_pass_warns_of_it() {
    let mut world = World::start(Setup { retain: false, ..Setup::size(1) }).await;
    let record = world.tick().await;
    assert!(record["notes"].to_string().contains("retain"), "{record}");
    world.drain.stop().await;
    world.first_works_until(4000);
    world.double.terminate_instance(&world.ids[0], true).expect("it can be ended");
    world.pass(310).await;
    assert_eq!(world.state(&world.ids[0]), None);
    world.bring_back().await;
}

/// Rows 46 and 47: passes of several environments, of any version, exclude nobody and need no
/// order.
#[tokio::test(flavor = "multi_thread")]
async fn row_47_passes_side_by_side_do_no_harm() {
    let mut world = World::start(Setup::size(2)).await;
    world.side_by_side(8).await;
    world.first_works_until(120);
    world.double.terminate_instance(&world.ids[0], true).expect("it can be ended");
    // The pass of the event that this makes is over before the others begin side by side.
    world.double.settle().await;
    for _ in 0..4 {
        tokio::join!(world.tick(), world.tick(), world.tick(), world.tick());
        world.pass(5).await;
    }
    world.until_first_gone(200).await;
    assert_eq!(world.done("CompleteLifecycleAction").len(), 1);
    assert!(world.hosts.of(&world.ids[0]).told <= 4, "{:#?}", world.summaries());
}
