//! Whatever is in the database: 256 MB, five seconds, a decision, and a record that is one event.

use crate::queue_world::{QUEUE, Setup, World};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What the function's memory is limited to on Lambda.
const MEMORY_MIB: u32 = 256;
/// The longest a tick may take, whatever the database holds.
const TICK_LIMIT: Duration = Duration::from_secs(5);
/// An event of CloudWatch Logs, with its overhead of 26 bytes.
const EVENT_LIMIT: usize = 256 * 1024 - 26;

/// Each of these databases wants the machine for itself: the statement has a time limit.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn world() -> World {
    let world = World::start(Setup { memory_mib: Some(MEMORY_MIB), ..Setup::desired(3) }).await;
    world.heartbeat(&world.in_service(), false);
    // The first tick of a process connects and looks the tables up.
    world.tick().await;
    world
}

/// One tick over whatever a test put there: it decides with the queue known, in time, and tells so
/// in lines that CloudWatch takes.
async fn tick(world: &World) -> Value {
    let began = Instant::now();
    let record = world.tick().await;
    let took = began.elapsed();
    assert!(took < TICK_LIMIT, "the tick took {took:?}");
    assert_eq!(record["type"], "decision", "{record}");
    assert!(!record["decision"]["demand"].is_null(), "the queue is unknown: {record}");
    world.line("decision").await;
    let longest = world.function.logs().iter().map(|line| line.text.len()).max();
    assert!(longest.is_some_and(|bytes| bytes < EVENT_LIMIT), "a line of {longest:?} bytes");
    record
}

fn notes(record: &Value) -> String {
    record["notes"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_at_infinity_makes_its_own_row_unknown() {
    let _alone = ALONE.lock().await;
    let world = world().await;
    for moment in ["infinity", "-infinity", "294276-12-31 23:59:59+00", "4713-01-01 00:00:00+00 BC"]
    {
        world.sql(&format!(
            "INSERT INTO gh_worker_registry (worker_id, ec2_instance_id, last_heartbeat, registered_at) \
             VALUES ('hostile', 'i-hostile', '{moment}', '{moment}') \
             ON CONFLICT (worker_id) DO UPDATE SET last_heartbeat = EXCLUDED.last_heartbeat, registered_at = EXCLUDED.registered_at"
        ));
        let record = tick(&world).await;
        assert!(notes(&record).contains("hostile"), "{moment}: {record}");
        assert_eq!(record["decision"]["desired_before"], 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_starts_before_all_time_is_one_job() {
    let _alone = ALONE.lock().await;
    let mut world = world().await;
    world.send(6);
    // What pg-boss's client passes on depends on its version and the database's; a row can hold it.
    for (moment, order) in [("-infinity", "ASC"), ("infinity", "DESC")] {
        world.sql(&format!(
            "UPDATE pgboss.job SET start_after = '{moment}' \
             WHERE id = (SELECT id FROM pgboss.job ORDER BY id {order} LIMIT 1)"
        ));
    }
    let record = tick(&world).await;
    assert_eq!(record["decision"]["plan"], json!({ "do": "set_desired", "desired": 5 }));
    assert!(notes(&record).contains("start_after"), "{record}");
    for moment in ["294276-12-31 23:59:59+00", "4713-01-01 00:00:00+00 BC", "-infinity", "infinity"]
    {
        world.sql(&format!(
            "UPDATE pgboss.job SET state = 'active', started_on = '{moment}', expire_seconds = 2147483647, \
             heartbeat_seconds = 2147483647, heartbeat_on = '{moment}' \
             WHERE id = (SELECT id FROM pgboss.job ORDER BY id LIMIT 1)"
        ));
        tick(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_id_of_sixty_megabytes_is_cut_by_the_database() {
    let _alone = ALONE.lock().await;
    let world = world().await;
    world.sql(
        "INSERT INTO gh_worker_registry (worker_id, ec2_instance_id, target_worker_id) \
         VALUES ('hostile', repeat('x', 60000000), repeat('y', 60000)), \
                ('hostile 2', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1900000) n), NULL)",
    );
    let record = tick(&world).await;
    assert_eq!(record["decision"]["desired_before"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_orphaned_targeted_queues_are_a_number() {
    let _alone = ALONE.lock().await;
    let world = world().await;
    let orphans = format!("SELECT '{QUEUE}/orphan-' || n FROM generate_series(1, 100000) n");
    targeted_queues(&world, &orphans);
    let record = tick(&world).await;
    assert!(notes(&record).contains("more"), "{record}");
    // Who is pinned is seen all the same.
    let worker = world.in_service().remove(0);
    targeted_queues(&world, &format!("SELECT '{QUEUE}/{worker}'"));
    let record = tick(&world).await;
    assert_eq!(record["decision"]["demand"]["pinned"], 1, "{record}");
}

/// Queues by these names, like the general one, each with a job.
fn targeted_queues(world: &World, names: &str) {
    world.sql(&format!(
        "INSERT INTO pgboss.queue SELECT (jsonb_populate_record(queue, jsonb_build_object('name', names.name))).* \
         FROM pgboss.queue, ({names}) AS names (name) WHERE queue.name = '{QUEUE}'; \
         INSERT INTO pgboss.job_common (name) {names}"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_registry_rows_are_a_number() {
    let _alone = ALONE.lock().await;
    let world = world().await;
    world.sql(
        "INSERT INTO gh_worker_registry (worker_id, ec2_instance_id) \
         SELECT 'hostile-' || n || repeat('z', 300), 'i-' || repeat('f', 300) || n FROM generate_series(1, 100000) n",
    );
    let record = tick(&world).await;
    assert!(notes(&record).contains("registry"), "{record}");
}

/// As many as were seen in the field. Writing them takes a minute; the counting stops long before.
#[tokio::test(flavor = "multi_thread")]
async fn seven_million_ready_jobs_ask_for_the_maximum() {
    let _alone = ALONE.lock().await;
    let world = world().await;
    let jobs = 7_000_000;
    // Foreign keys and random ids would take most of the time.
    world.sql(&format!(
        "SET session_replication_role = replica; INSERT INTO pgboss.job_common (id, name) \
         SELECT lpad(to_hex(n), 32, '0')::uuid, '{QUEUE}' FROM generate_series(1, {jobs}) n"
    ));
    let began = Instant::now();
    let record = tick(&world).await;
    eprintln!("{jobs} ready jobs: the tick took {:?}", began.elapsed());
    assert_eq!(record["decision"]["plan"], json!({ "do": "set_desired", "desired": 10 }));
    assert!(notes(&record).contains("at least"), "{record}");
}
