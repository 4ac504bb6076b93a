//! How the jobs of a rollout's hosts end, counted while a version is judged by them.

use crate::world::*;
use fleet_local::postgres::APP_ROLE;
use serde_json::{Value, json};

const RECORD: &str = "/ghosthands/test/rollout";
const OUTCOMES: &str = "/ghosthands/test/rollout-outcomes";
const ROLLOUT: &str = "0831e1a8-a1ac-4257-a1fd-c831bb48c7ad";

fn judging() -> Setup {
    Setup::desired(3).env("ROLLOUT_BAKE_SECONDS", "3600")
}

/// A rollout that began an hour ago, and the trial of its canary half an hour ago.
fn record(hosts: &[String]) -> String {
    let now = jiff::Timestamp::now().as_millisecond();
    json!({
        "number": 1, "key": "abcdef012345", "kind": "deploy", "image_tag": "v2",
        "strategy": "canary", "at": now - 3_600_000, "before": "v1", "id": ROLLOUT,
        "commands": [{ "step": "survey", "round": 0, "id": ROLLOUT, "at": now - 3_600_000 }],
        "trial": { "hosts": hosts, "since": now - 1_800_000 },
    })
    .to_string()
}

fn jobs(world: &World, worker: &str, status: &str, minutes_ago: u32, count: u32) {
    world.sql(&format!(
        "INSERT INTO gh_automation_jobs (worker_id, status, started_at) \
         SELECT '{worker}', '{status}', now() - interval '{minutes_ago} minutes' \
         FROM generate_series(1, {count})"
    ));
}

fn outcomes(world: &World) -> Option<Value> {
    world.double.parameter(OUTCOMES).map(|text| serde_json::from_str(&text).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_counted_by_host_and_by_when_they_started() {
    let world = World::start(judging()).await;
    let hosts = world.in_service();
    world.heartbeat(&hosts, false);
    // A worker's own name stands in the registry beside its instance.
    world.sql(&format!(
        "UPDATE gh_worker_registry SET worker_id = 'canary' WHERE ec2_instance_id = '{}'",
        hosts[0]
    ));
    jobs(&world, "canary", "completed", 20, 3);
    jobs(&world, "canary", "failed", 10, 2);
    jobs(&world, "canary", "expired", 10, 1);
    jobs(&world, &hosts[1], "completed", 20, 5);
    jobs(&world, &hosts[2], "failed", 20, 1);
    jobs(&world, "a-desktop", "completed", 20, 1);
    jobs(&world, &hosts[1], "completed", 90, 7);
    jobs(&world, "canary", "failed", 90, 1);
    // Neither side: between the two, too long ago, running, cancelled, and at no moment.
    jobs(&world, "canary", "failed", 45, 11);
    jobs(&world, "canary", "failed", 2_000, 11);
    jobs(&world, "canary", "running", 5, 11);
    jobs(&world, "canary", "cancelled", 5, 11);
    world.sql(
        "INSERT INTO gh_automation_jobs (worker_id, status, started_at) \
         VALUES ('canary', 'failed', 'infinity'), ('canary', 'failed', '-infinity')",
    );
    world.double.put_parameter(RECORD, &record(&hosts[..1])).expect("stored");
    world.tick().await;
    let found = outcomes(&world).expect("counted");
    assert_eq!(found["rollout"], ROLLOUT);
    assert_eq!(found["new"], json!({ "completed": 3, "failed": 3 }), "{found}");
    assert_eq!(found["beside"], json!({ "completed": 6, "failed": 1 }), "{found}");
    assert_eq!(found["before"], json!({ "completed": 7, "failed": 1 }), "{found}");
    let line = world.line("outcomes").await;
    assert!(line["summary"].as_str().is_some_and(|it| it.starts_with("3 of 6 jobs")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_canary_all_hosts_of_the_group_are_counted() {
    let world = World::start(judging()).await;
    let hosts = world.in_service();
    for host in &hosts {
        jobs(&world, host, "completed", 5, 2);
    }
    jobs(&world, "a-desktop", "failed", 5, 4);
    world.double.put_parameter(RECORD, &record(&[])).expect("stored");
    world.tick().await;
    let found = outcomes(&world).expect("counted");
    assert_eq!(found["new"], json!({ "completed": 6, "failed": 0 }), "{found}");
    assert_eq!(found["beside"], json!({ "completed": 0, "failed": 4 }), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_jobs_cannot_be_counted_a_line_says_why_and_scaling_goes_on() {
    let mut world = World::start(judging()).await;
    world.send(5);
    world.sql(&format!("REVOKE ALL ON gh_automation_jobs FROM {APP_ROLE}"));
    world.double.put_parameter(RECORD, &record(&world.in_service())).expect("stored");
    let decided = world.tick().await;
    assert_eq!(plan(&decided), "set_desired", "{decided}");
    let line = world.line("outcomes").await;
    let summary = line["summary"].as_str().expect("a sentence");
    assert!(summary.contains("not counted") && summary.contains("docs/sql/role.sql"), "{summary}");
    assert_eq!(outcomes(&world), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_looks_at_rollouts_where_no_version_is_judged() {
    let world = World::start(Setup::desired(1)).await;
    world.double.put_parameter(RECORD, &record(&world.in_service())).expect("stored");
    world.tick().await;
    assert!(world.double.calls().iter().all(|call| call.action != "GetParameters"));
    assert_eq!(outcomes(&world), None);
}
