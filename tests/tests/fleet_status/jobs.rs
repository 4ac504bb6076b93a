//! What happened to one job, over HTTP.

use crate::world::*;
use fleet_local::postgres::{Options, Postgres};
use fleet_local::registry;
use fleet_tests::auto_scaling;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const JOBS: &str = "/api/v1/admin/jobs";
const NOBODYS: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
/// What an applicant sent.
const PAYLOAD: &str = "someone@example.com";

async fn passport(world: &World, id: &str) -> Value {
    let reply = world.get(&format!("{JOBS}/{id}"), Some(READER)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(!reply.text.contains(PAYLOAD), "{}", reply.text);
    reply.json()
}

fn send(world: &mut World, queue: &str, options: Value) -> String {
    world.boss.send(queue, json!({ "email": PAYLOAD }), options).expect("send").expect("an id")
}

fn take(world: &mut World, queue: &str, id: &str) {
    assert_eq!(world.boss.fetch(queue, 1).expect("fetch"), [id]);
}

/// The worker's row of the job, as the stand-in and VALET leave it.
fn claimed(world: &World, id: &str, worker: &str) {
    world.sql(&format!(
        "INSERT INTO gh_automation_jobs (worker_id, status, started_at, metadata) \
         VALUES ('{worker}', 'running', now(), '{{\"pgBossJobId\": \"{id}\"}}')"
    ));
}

/// The kinds of the wait's parts, which must be the wait.
fn parts(passport: &Value) -> Vec<&str> {
    let segments = passport["wait"]["segments"].as_array().expect("a list");
    let sum: u64 = segments.iter().map(|it| it["ms"].as_u64().expect("a number")).sum();
    assert_eq!(Some(sum), passport["wait"]["ms"].as_u64(), "{passport}");
    segments.iter().map(|it| it["kind"].as_str().expect("a text")).collect()
}

fn missing(passport: &Value) -> Vec<&str> {
    let missing = passport["missing"].as_array().expect("a list");
    missing.iter().map(|it| it["part"].as_str().expect("a text")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waited_for_a_new_machine_is_told_with_its_machine_and_version() {
    let ago = Duration::from_secs(600);
    let mut world = World::ago(1, ago).await;
    let first = world.instances();
    let name = ("AutoScalingGroupName", GROUP);
    auto_scaling(&world.double.endpoint(), "SetDesiredCapacity", &[name, ("DesiredCapacity", "2")])
        .await;
    world.double.advance(Duration::from_secs(120)).await.expect("a manual clock");
    let second = world.instances().into_iter().find(|id| !first.contains(id)).expect("launched");
    world.command(std::slice::from_ref(&second), |_| deployed("v2")).await;

    let id = send(&mut world, QUEUE, json!({ "expireInSeconds": 14_400 }));
    take(&mut world, QUEUE, &id);
    claimed(&world, &id, "w-two");
    world.boss.complete(QUEUE, std::slice::from_ref(&id)).expect("complete");
    world.sql(&format!(
        "INSERT INTO gh_worker_registry (worker_id, ec2_instance_id) VALUES ('w-two', '{second}')"
    ));
    // AWS's clock and the database's agree from here on.
    let told = passport(&world, &id).await;
    let moment = |at: &str| told["machine"][at].as_str().expect("a moment").to_owned();
    let (requested, launched) = (moment("requested_at"), moment("launched_at"));
    world.sql(&format!(
        "UPDATE pgboss.job SET created_on = '{requested}'::timestamptz - interval '1 hour', \
         start_after = '{requested}'::timestamptz - interval '12 seconds', \
         started_on = '{launched}'::timestamptz + interval '100 seconds'; \
         UPDATE gh_automation_jobs SET started_at = '{launched}'::timestamptz + interval '101 seconds'; \
         UPDATE gh_worker_registry SET registered_at = '{launched}'::timestamptz + interval '60 seconds'"
    ));
    let told = passport(&world, &id).await;
    assert_eq!(missing(&told), ["decision"], "{told}");
    assert_eq!((&told["state"], &told["worker_id"]), (&json!("completed"), &json!("w-two")));
    assert_eq!(told["application"]["status"], "running", "the application's word beside pg-boss's");
    let machine = &told["machine"];
    assert_eq!(machine["instance_id"], json!(second));
    assert!(machine["requested_at"].is_string() && machine["in_service_at"].is_string());
    let cause = machine["cause"].as_str().expect("AWS's words");
    assert!(cause.contains("from 1 to 2"), "{cause}");
    assert_eq!(told["version"]["image_tag"], "v2");
    // A request is told to the second, and the double launches at once.
    let mut kinds = parts(&told);
    kinds.retain(|kind| *kind != "launch");
    assert_eq!(kinds, ["tick", "boot", "claim"], "{told}");
    let segments = told["wait"]["segments"].as_array().expect("a list");
    let lasted = |kind: &str| {
        let found = segments.iter().find(|it| it["kind"] == kind).expect(kind);
        (found["ms"].as_u64(), found["exact"].as_bool())
    };
    assert_eq!(lasted("tick"), (Some(12_000), Some(true)));
    assert_eq!(lasted("boot"), (Some(60_000), Some(true)));
    assert_eq!(lasted("claim"), (Some(40_000), Some(true)));
    assert!(told["cost"]["micros"].as_u64().expect("a number") > 0);
    let query = &told["missing"][0]["query"];
    assert_eq!(query["log_group"], "/aws/lambda/ghosthands-test-autoscale");
    assert_eq!(
        query["query"],
        r#"fields at, summary, request_id | filter type = "decision" | sort at asc"#
    );
    // The application's id leads to the same passport.
    let own = told["application"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(passport(&world, &own).await["id"], json!(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_retried_expired_targeted_and_waiting_jobs_are_told_as_they_are() {
    let mut world = World::start(1).await;
    let instance = world.instances().remove(0);
    let failing = send(&mut world, QUEUE, json!({ "retryLimit": 1, "retryDelay": 0 }));
    for _ in 0..2 {
        take(&mut world, QUEUE, &failing);
        world.boss.fail(QUEUE, std::slice::from_ref(&failing)).expect("fail");
    }
    let told = passport(&world, &failing).await;
    assert_eq!((&told["state"], &told["retries"]["made"]), (&json!("failed"), &json!(1)));
    assert_eq!(told["retries"]["limit"], 1);
    assert_eq!((&told["due_at"], &told["wait"]["from_is"]), (&Value::Null, &json!("enqueued")));
    assert_eq!(parts(&told).first(), Some(&"retry"));
    assert!(["due", "earlier_attempts"].iter().all(|part| missing(&told).contains(part)), "{told}");

    // Its worker died: it is marked as running until somebody sweeps it.
    let lost = send(&mut world, QUEUE, json!({ "retryLimit": 0, "expireInSeconds": 900 }));
    take(&mut world, QUEUE, &lost);
    let past = format!(
        "UPDATE pgboss.job SET created_on = now() - interval '2 hours', \
         start_after = now() - interval '2 hours', started_on = now() - interval '2 hours' \
         WHERE id = '{lost}'"
    );
    world.sql(&past);
    let told = passport(&world, &lost).await;
    assert_eq!((&told["state"], &told["expired"]), (&json!("active"), &json!(true)));
    assert_eq!((&told["ended_at"], &told["application"]), (&Value::Null, &Value::Null));
    world.boss.fail(QUEUE, std::slice::from_ref(&lost)).expect("fail");
    let told = passport(&world, &lost).await;
    assert_eq!((&told["state"], &told["expired"]), (&json!("failed"), &json!(true)));
    assert!(missing(&told).contains(&"worker"), "pg-boss does not say who took it: {told}");

    let own = format!("{QUEUE}/{instance}");
    world.boss.create_queue(&own, json!({})).expect("the queue is created");
    let targeted = send(&mut world, &own, json!({}));
    let told = passport(&world, &targeted).await;
    assert_eq!((&told["target"], &told["worker_id"]), (&json!(instance), &Value::Null));
    take(&mut world, &own, &targeted);
    world.register(std::slice::from_ref(&instance), false);
    let told = passport(&world, &targeted).await;
    assert_eq!((&told["state"], &told["worker_id"]), (&json!("active"), &json!(instance)));
    assert_eq!(told["machine"]["instance_id"], json!(instance));

    let waiting = send(&mut world, QUEUE, json!({}));
    world.sql(&format!(
        "UPDATE pgboss.job SET created_on = now() - interval '1 minute', \
         start_after = now() - interval '1 minute' WHERE id = '{waiting}'"
    ));
    let told = passport(&world, &waiting).await;
    assert_eq!((&told["claimed_at"], &told["cost"]), (&Value::Null, &Value::Null));
    assert_eq!((&told["wait"]["until_is"], parts(&told)), (&json!("now"), vec!["tick", "unsplit"]));
    let later = send(&mut world, QUEUE, json!({ "startAfter": 3600 }));
    let told = passport(&world, &later).await;
    assert_eq!((&told["wait"]["ms"], parts(&told).len()), (&json!(0), 0));
}

/// The role may read neither `data` nor `output`, so no statement can have asked for them.
#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_never_read() {
    let mut world = World::start(1).await;
    let id = send(&mut world, QUEUE, json!({}));
    take(&mut world, QUEUE, &id);
    let role = format!("{}_reader", world.database);
    registry::create_reader(&world.postgres, &world.database, &role, "pw").expect("a role");
    let url = world.postgres.url(&role, "pw", &world.database);
    let secret = json!({ "DATABASE_URL": url, "FLEET_READER_TOKEN": READER, "FLEET_OPERATOR_TOKEN": OPERATOR });
    world.double.put_secret(SECRET, &secret.to_string()).expect("kept");
    let told = passport(&world, &id).await;
    assert_eq!(told["state"], "active");
    let client = world.postgres.connect(&world.database).await.expect("connect");
    client.batch_execute(&format!("SET ROLE {role}")).await.expect("become the role");
    for private in ["data", "output"] {
        let denied = client.batch_execute(&format!("SELECT {private} FROM pgboss.job")).await;
        denied.expect_err(private);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_job_of_the_fleet_is_refused_with_the_reason() {
    let world = World::start(0).await;
    let ask = async |id: &str, token| world.get(&format!("{JOBS}/{id}"), token).await;
    let reply = ask(NOBODYS, Some(READER)).await;
    let detail = reply.json()["detail"].as_str().expect("a text").to_owned();
    assert_eq!(reply.status, 404);
    for table in [NOBODYS, r#""pgboss"."job" (gh_apply_job"#, "public.gh_automation_jobs"] {
        assert!(detail.contains(table), "{table}: {detail}");
    }
    for wrong in ["17", "i-0a1b2c3d4e5f60711", "0f8fad5b-d9cb-469f-a165-7086772895ZZ"] {
        let reply = ask(wrong, Some(READER)).await;
        assert_eq!(reply.status, 400, "{}", reply.text);
        assert!(reply.text.contains("is no job id"), "{}", reply.text);
    }
    for token in [None, Some("wrong")] {
        assert_eq!(ask(NOBODYS, token).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_are_down_cost_their_own_parts_and_a_database_that_is_down_the_answer() {
    let server = Arc::new(Postgres::start(Options::default()).expect("PostgreSQL starts"));
    let mut world = World::of(1, server).await;
    let instance = world.instances().remove(0);
    let id = send(&mut world, QUEUE, json!({}));
    take(&mut world, QUEUE, &id);
    claimed(&world, &id, &instance);
    world.double.faults().fail("DescribeScalingActivities", 5, 400, "AccessDenied", "not allowed");
    world.double.faults().fail("ListCommandInvocations", 5, 400, "AccessDeniedException", "no");
    let told = passport(&world, &id).await;
    for part in ["launch", "version", "registration"] {
        assert!(missing(&told).contains(&part), "{part}: {told}");
    }
    assert_eq!(told["machine"]["instance_id"], json!(instance), "the worker has its name");
    parts(&told);
    Arc::get_mut(&mut world.postgres).expect("ours alone").stop().expect("stops");
    let reply = world.get(&format!("{JOBS}/{id}"), Some(READER)).await;
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert!(reply.text.contains("the jobs cannot be read now"), "{}", reply.text);
}
