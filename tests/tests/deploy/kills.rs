//! The function dies after any of its calls, and the request or the tick that comes next goes on.

use crate::world::*;
use serde_json::{Value, json};
use std::time::Duration;

/// The calls of a beginning and of an end, and two more.
const CALLS: usize = 11;

/// Dies as soon as the function has made so many calls, whether or not they were done.
async fn dies_after(calls: usize) {
    let world = World::with(Setup { hosts: 3, asleep: true, ..Setup::default() }).await;
    for action in [
        "GetParameters",
        "ListCommands",
        "ListCommandInvocations",
        "DescribeAutoScalingGroups",
        "DescribeInstanceInformation",
        "PutParameter",
        "SendCommand",
        "GetSecretValue",
    ] {
        world.double.faults().delay(action, 4, Duration::from_millis(60));
    }
    world.double.clear_calls();
    let request = json!({ "image_tag": "v2" });
    let killer = async {
        let began = std::time::Instant::now();
        // A beginning makes fewer calls than the largest of these numbers: then the killer comes
        // too late, and that is a case too.
        while world.double.calls().len() < calls && began.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        world.restart_function().await;
    };
    let (mut answer, ()) = tokio::join!(world.post(ROUTES, "k", request.clone()), killer);
    let mut asked = 1;
    while answer.0 != 202 {
        assert!(asked < 60, "never accepted: {answer:?}");
        assert!(answer.0 >= 500, "after {calls} calls: {answer:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        answer = world.post(ROUTES, "k", request.clone()).await;
        asked += 1;
    }
    let id = answer.1["id"].as_str().expect("an id").to_owned();
    // Passes die as well: one after its second call, one after its fourth, and so on.
    for number in 1..6 {
        let before = world.double.calls().len();
        let pass = async {
            let function = world.function.lock().expect("not poisoned").clone();
            drop(function.invoke(include_bytes!("../../../events/deploy-schedule.json")).await);
        };
        let killer = async {
            let began = std::time::Instant::now();
            while world.double.calls().len() < before + number
                && began.elapsed() < Duration::from_secs(1)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.restart_function().await;
        };
        tokio::join!(pass, killer);
    }
    world.double.schedule("deploy", "rate(1 second)", "deploy").expect("a rate");
    let view: Value = world.ended(&id).await;
    assert_eq!(view["state"], "succeeded", "after {calls} calls: {view}");
    assert_eq!((world.run("v2"), world.stable()["deployment_id"].as_str()), (3, Some(id.as_str())));
    let roots = world.double.commands().into_iter().filter(|c| c.comment.contains(" key=")).count();
    assert_eq!(roots, 1, "after {calls} calls it was begun twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_call_and_asked_again_it_is_one_rollout() {
    let mut cases = tokio::task::JoinSet::new();
    for calls in 1..=CALLS {
        cases.spawn(dies_after(calls));
    }
    while let Some(case) = cases.join_next().await {
        case.expect("the case holds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_lost_is_made_anew_by_the_end_of_its_command() {
    let world = World::start(2).await;
    world.all(&Mood::Held);
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    let (name, _) = world.records().remove(0);
    assert!(world.double.delete_parameter(name));
    world.all(&Mood::Good);
    world.until("the pointer moves", || world.stable()["image_tag"] == "v2").await;
    let view = world.ended(&id).await;
    assert_eq!((&view["state"], count(&view, "succeeded")), (&json!("succeeded"), 2), "{view}");
}
