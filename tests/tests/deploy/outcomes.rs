//! Versions that are judged by their jobs, as the scaling function counted them.

use crate::world::*;
use serde_json::{Value, json};

const OUTCOMES: &str = "/ghosthands/test/rollout-outcomes";

async fn world(hosts: u32, bake_s: u32, watch_s: u32) -> World {
    let settings = [("ROLLOUT_BAKE_SECONDS", bake_s), ("ROLLOUT_WATCH_SECONDS", watch_s)];
    let settings = settings.map(|(name, seconds)| (name.to_owned(), seconds.to_string())).into();
    World::with(Setup { hosts, settings, ..Setup::default() }).await
}

fn trial(world: &World) -> Option<Value> {
    world.record().map(|record| record["trial"].clone()).filter(Value::is_object)
}

/// So many jobs failed on the new version, of twenty.
fn count_jobs(world: &World, rollout: &str, failed: u32) {
    let trial = trial(world).expect("its jobs are judged");
    let outcomes = json!({
        "rollout": rollout, "since": trial["since"], "at": trial["since"],
        "new": { "completed": 20 - failed, "failed": failed },
        "beside": { "completed": 39, "failed": 1 }, "before": { "completed": 950, "failed": 50 },
    });
    world.double.put_parameter(OUTCOMES, &outcomes.to_string()).expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_jobs_goes_back_and_the_answer_has_the_numbers() {
    let world = world(4, 3600, 0).await;
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    world.until("the canary's jobs are judged", || trial(&world).is_some()).await;
    let view = world.get(&id).await;
    assert_eq!((&view["state"], view.get("outcomes")), (&json!("in_progress"), None), "{view}");
    assert_eq!((world.run("v2"), world.stable()["image_tag"].as_str()), (1, Some("v1")));
    // Numbers of another rollout are not its own.
    count_jobs(&world, "00000000-0000-4000-8000-000000000000", 20);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(world.record().expect("it goes on")["undo"], Value::Null);
    count_jobs(&world, &id, 10);
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "rolled_back", "{view}");
    assert_eq!(view["outcomes"]["new"], json!({ "completed": 10, "failed": 10 }));
    let note = view["note"].as_str().expect("a note");
    assert!(note.contains("10 of 20 jobs failed on the new version"), "{note}");
    assert_eq!((world.run("v1"), world.stable()["image_tag"].as_str()), (4, Some("v1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_jobs_are_well_goes_on_by_itself() {
    let world = world(4, 3600, 0).await;
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    world.until("the canary's jobs are judged", || trial(&world).is_some()).await;
    count_jobs(&world, &id, 0);
    let view = world.ended(&id).await;
    assert_eq!((&view["state"], world.run("v2")), (&json!("succeeded"), 4), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_jobs_ask_a_person_who_lets_it_go_on() {
    let world = world(3, 1, 0).await;
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    world.until("the canary's jobs are judged", || trial(&world).is_some()).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let view = world.get(&id).await;
    assert_eq!(view["needs_decision"], true, "{view}");
    assert!(view["note"].as_str().is_some_and(|note| note.contains("continue it")), "{view}");
    assert_eq!(world.run("v2"), 1);
    let (status, answer) = world.post(&format!("{ROUTES}/{id}/continue"), "c", json!({})).await;
    assert_eq!(status, 202, "{answer}");
    let view = world.ended(&id).await;
    assert_eq!((&view["state"], world.run("v2")), (&json!("succeeded"), 3), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_jobs_when_it_is_everywhere_takes_its_pointer_back() {
    let world = world(3, 0, 3600).await;
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    world.until("all jobs are judged", || trial(&world).is_some()).await;
    assert_eq!((world.run("v2"), world.stable()["image_tag"].as_str()), (3, Some("v2")));
    count_jobs(&world, &id, 12);
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "rolled_back", "{view}");
    assert_eq!((world.run("v1"), world.stable()["image_tag"].as_str()), (3, Some("v1")));
}
