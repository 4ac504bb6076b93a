//! Many at once.

use crate::hosts::*;
use std::collections::BTreeMap;

/// Rows 30 and 31: a hundred leave together; each is held in time, none is cut off, and nobody else
/// is disturbed.
#[tokio::test(flavor = "multi_thread")]
async fn row_30_a_hundred_at_once_are_all_held_in_time() {
    let world = World::start(Setup::size(100)).await;
    for (n, id) in world.ids.iter().enumerate() {
        let ends = world.at(120 + n as u64);
        world.hosts.change(id, |script| script.job_ends = Some(ends));
    }
    for id in &world.ids {
        world.double.terminate_instance(id, true).expect("it can be ended");
    }
    world.double.settle().await;
    for _ in 0..400 {
        world.pass(1).await;
        world.nobody_is_cut_off();
        if world.group().instances.is_empty() {
            break;
        }
    }
    assert_eq!(world.group().instances.len(), 0, "{:#?}", world.summaries().last());
    assert_eq!(world.done("CompleteLifecycleAction").len(), 100);
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let mut margin = 300;
    for call in world.done("RecordLifecycleActionHeartbeat") {
        let id = call.params["InstanceId"].as_str().expect("an id").to_owned();
        let at = call.at.as_second();
        if let Some(before) = last.insert(id, at) {
            margin = margin.min(300 - (at - before));
        }
    }
    println!("heartbeat margin with 100 leaving at once: {margin} s of 300");
    assert!(margin >= 180, "{margin} s");
    let calls = world.double.calls().iter().filter(|call| call.service != "lambda").count();
    println!("AWS calls for 100 drains: {calls}");
}
