//! The memory between ticks: kept, lost, corrupt, from the future.

use crate::world::*;
use fleet_core::scaling::{Memory, STATE_LIMIT_BYTES};

/// With a hold, so that the memory matters.
fn holding() -> Setup {
    Setup::desired(3)
        .env("WAIT_VALUE", "5")
        .env("AUTOSCALE_BOOT_SECONDS", "1")
        .env("AUTOSCALE_HOLD_MIN_SECONDS", "1")
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_corrupt_or_newer_it_holds_everything_and_is_written_anew() {
    let world = World::start(holding()).await;
    world.heartbeat(&world.in_service(), false);
    let rubbish = [None, Some("rubbish"), Some("{\"v\":1}"), Some("{\"v\":7,\"new\":true}")];
    for stored in rubbish {
        match stored {
            None => drop(world.double.delete_parameter(STATE)),
            Some(text) => drop(world.double.put_parameter(STATE, text)),
        }
        let record = world.tick().await;
        assert_eq!((plan(&record), rule(&record)), ("nothing", "held"), "{stored:?}: {record}");
        assert_eq!(record["decision"]["notes"][0]["rule"], "memory_lost", "{stored:?}");
        let written = world.double.parameter(STATE).expect("written anew");
        assert!(matches!(Memory::decode(&written), Memory::Kept(_)), "{written}");
        past_confirmation().await;
    }
    assert_eq!(world.changes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_the_environment_and_releases_level_by_level() {
    let mut world = World::start(holding()).await;
    let workers = world.in_service();
    let mut plans = vec![];
    for _ in 0..12 {
        world.heartbeat(&workers, false);
        plans.push(plan(&world.tick().await).to_owned());
        // Every tick is a cold start: nothing but the parameter remembers.
        world.restart_function().await;
        past_confirmation().await;
    }
    // Level 3 is held for 3 s and level 2 for 6 s.
    assert_eq!(plans.iter().filter(|plan| *plan == "terminate").count(), 2, "{plans:?}");
    assert_eq!(plans[0], "nothing");
    assert_eq!(world.group().desired, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_the_last_hour_and_stays_small() {
    let mut world = World::start(Setup::desired(2)).await;
    world.send(2);
    world.tick().await;
    let text = world.double.parameter(STATE).expect("written");
    assert!(text.len() <= STATE_LIMIT_BYTES);
    let Memory::Kept(state) = Memory::decode(&text) else { panic!("{text}") };
    let sample = state.ring.last().expect("a sample");
    assert_eq!(
        (sample.ready, sample.active, sample.desired, sample.in_service),
        (Some(2), Some(0), Some(2), Some(2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_cannot_be_read_or_written_never_stops_scaling() {
    let mut world = World::start(Setup::desired(1)).await;
    world.send(3);
    world.double.faults().throttle("GetParameter", 50);
    world.double.faults().throttle("PutParameter", 50);
    let record = world.tick().await;
    assert_eq!((plan(&record), record["action"]["result"].as_str()), ("set_desired", Some("done")));
    assert_eq!(record["memory_write"]["result"], "failed");
    assert_eq!(world.group().desired, 3);
}
