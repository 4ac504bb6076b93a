//! Whatever fails: what the record says, and that nobody is taken away.

use crate::world::*;
use fleet_local::postgres::Postgres;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Three workers of which all are idle and two could go, and a first tick that saw them idle.
async fn shrinkable(setup: Setup) -> World {
    let world = World::start(setup).await;
    world.heartbeat(&world.in_service(), false);
    assert_eq!(rule(&world.tick().await), "idle_unconfirmed");
    past_confirmation().await;
    world.double.clear_calls();
    world
}

/// Without the fault this tick would have ended a worker; with it nothing changes, for this reason.
fn held_back(world: &World, record: &Value, expected: &str) {
    assert_eq!((plan(record), rule(record)), ("nothing", expected), "{record}");
    assert_eq!(world.changes(), [""; 0]);
    assert_eq!(world.group().desired, 3);
}

fn server(world: &mut World) -> &mut Postgres {
    Arc::get_mut(&mut world.postgres).expect("a server of its own")
}

fn queue_detail(record: &Value) -> &str {
    record["decision"]["because"]["source"]["detail"].as_str().expect("a detail")
}

fn queue_cause(record: &Value) -> &str {
    record["decision"]["because"]["source"]["cause"].as_str().expect("a cause")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fault_a_worker_would_go() {
    let world = shrinkable(Setup::desired(3)).await;
    assert_eq!(plan(&world.tick().await), "terminate");
    assert_eq!(world.group().desired, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn database_down_at_start_and_coming_back() {
    let mut world = World::start(Setup::desired(3).own_server()).await;
    server(&mut world).stop().expect("stops");
    let record = world.tick().await;
    held_back(&world, &record, "queue_unknown");
    assert_eq!(queue_cause(&record), "unreachable");
    server(&mut world).restart().expect("starts again");
    world.heartbeat(&world.in_service(), false);
    assert_eq!(
        rule(&world.tick().await),
        "idle_unconfirmed",
        "one reading after the gap is not enough"
    );
    past_confirmation().await;
    assert_eq!(plan(&world.tick().await), "terminate");
}

#[tokio::test(flavor = "multi_thread")]
async fn database_killed_between_ticks_under_a_warm_connection() {
    let mut world = shrinkable(Setup::desired(3).own_server()).await;
    server(&mut world).kill().expect("killed");
    let record = world.tick().await;
    held_back(&world, &record, "queue_unknown");
    server(&mut world).restart().expect("recovers");
    assert_eq!(rule(&world.tick().await), "idle_unconfirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn database_that_hangs_runs_into_the_time_limit() {
    let mut world = shrinkable(Setup::desired(3).own_server()).await;
    server(&mut world).pause().expect("paused");
    let began = std::time::Instant::now();
    let record = world.tick().await;
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    held_back(&world, &record, "queue_unknown");
    assert_eq!(queue_cause(&record), "timed_out", "{record}");
    server(&mut world).resume().expect("goes on");
    assert_eq!(rule(&world.tick().await), "idle_unconfirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_is_given_up() {
    let world = shrinkable(Setup::desired(3)).await;
    // Somebody migrates the table and holds its lock.
    let blocker = world.postgres.connect(&world.database).await.expect("connects");
    blocker
        .batch_execute("BEGIN; LOCK TABLE pgboss.job IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("locked");
    let record = world.tick().await;
    held_back(&world, &record, "queue_unknown");
    assert_eq!(queue_cause(&record), "timed_out", "{record}");
    blocker.batch_execute("ROLLBACK").await.expect("unlocked");
    assert_eq!(rule(&world.tick().await), "idle_unconfirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_prove_who_it_is_is_not_asked() {
    let other = fleet_local::certs::other_ca_pem().expect("a certificate");
    let world = World::start(Setup::desired(3).env("DATABASE_CA", &other)).await;
    let record = world.tick().await;
    held_back(&world, &record, "queue_unknown");
    assert!(queue_detail(&record).contains("certificate"), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_databases_authority_can_come_with_the_secret_and_change_there() {
    let mut world = World::start(Setup::desired(3).env("DATABASE_CA", "")).await;
    world.heartbeat(&world.in_service(), false);
    let url = world.postgres.app_url_in(&world.database);
    let with = |ca: &str| {
        json!({ "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": TOKEN, "DATABASE_CA": ca }).to_string()
    };
    // The public authorities have not signed this one.
    held_back(&world, &world.tick().await, "queue_unknown");
    world.double.put_secret(SECRET, &with(world.postgres.ca_pem())).expect("kept");
    assert_eq!(rule(&world.tick().await), "idle_unconfirmed");
    let other = fleet_local::certs::other_ca_pem().expect("a certificate");
    world.double.put_secret(SECRET, &with(&other)).expect("kept");
    world.restart_function().await;
    held_back(&world, &world.tick().await, "queue_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_its_rotation() {
    let mut world = shrinkable(Setup::desired(3)).await;
    let good = json!({ "DATABASE_URL": world.postgres.app_url_in(&world.database), "FLEET_OPERATOR_TOKEN": TOKEN });
    let wrong = world.postgres.url("app", "not-the-password", &world.database);
    let bad = json!({ "DATABASE_URL": wrong, "FLEET_OPERATOR_TOKEN": TOKEN });
    world.double.put_secret(SECRET, &bad.to_string()).expect("kept");
    // The old value is cached; a new environment reads the wrong one.
    world.restart_function().await;
    let record = world.tick().await;
    held_back(&world, &record, "queue_unknown");
    assert!(!record.to_string().contains("not-the-password"));
    // After a failure the secret is read anew, without waiting for the cache to end.
    world.double.put_secret(SECRET, &good.to_string()).expect("kept");
    assert_eq!(rule(&world.tick().await), "idle_unconfirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_exist_is_no_empty_queue() {
    let world = World::start(Setup::desired(3).env("PGBOSS_QUEUE", "gh_aply_job")).await;
    let record = world.tick().await;
    held_back(&world, &record, "queue_unknown");
    assert_eq!(queue_cause(&record), "missing");
    assert!(queue_detail(&record).contains("gh_aply_job"), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_pg_boss_may_grow_the_fleet_and_not_shrink_it() {
    let mut world = shrinkable(Setup::desired(3)).await;
    world.sql("UPDATE pgboss.version SET version = 99");
    let record = world.tick().await;
    held_back(&world, &record, "schema_untested");
    world.send(6);
    assert_eq!(
        world.tick().await["decision"]["plan"],
        json!({ "do": "set_desired", "desired": 6 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_registry_proves_nobody_idle() {
    let world = shrinkable(Setup::desired(3)).await;
    world.sql("DROP TABLE gh_worker_registry");
    let record = world.tick().await;
    held_back(&world, &record, "registry_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_does_not_exist() {
    let world = World::start(Setup::desired(3).env("AWS_ASG_NAME", "no-such-group")).await;
    let record = world.tick().await;
    held_back(&world, &record, "group_unknown");
    assert_eq!(queue_cause(&record), "missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_waited_out_within_the_tick_and_told_when_it_lasts() {
    let mut world = World::start(Setup::desired(1)).await;
    world.send(3);
    world.double.faults().throttle("SetDesiredCapacity", 1);
    let waited_out = world.tick().await;
    assert_eq!(waited_out["action"]["result"], "done", "{waited_out}");
    assert_eq!(world.group().desired, 3);
    world.send(3);
    world.double.faults().throttle("SetDesiredCapacity", 50);
    let told = world.tick().await;
    assert_eq!(
        (&told["action"]["result"], &told["action"]["kind"]),
        (&json!("failed"), &json!("throttled"))
    );
    assert_eq!(world.group().desired, 3);
    world.double.faults().clear();
    let again = world.tick().await;
    assert_eq!(again["action"]["result"], "done");
    assert_eq!(world.group().desired, 6);
    assert!(
        again["decision"]["notes"].as_array().expect("notes").is_empty(),
        "not taken for somebody else's: {again}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_describe_that_fails_changes_nothing() {
    let mut world = World::start(Setup::desired(3)).await;
    world.send(9);
    world.double.faults().throttle("DescribeAutoScalingGroups", 50);
    let record = world.tick().await;
    held_back(&world, &record, "group_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_suspended_and_refresh_running() {
    let world = shrinkable(Setup::desired(3)).await;
    world.aws("SuspendProcesses", &[("ScalingProcesses.member.1", "Terminate")]).await;
    world.double.clear_calls();
    held_back(&world, &world.tick().await, "terminate_suspended");
    world.aws("ResumeProcesses", &[("ScalingProcesses.member.1", "Terminate")]).await;
    world.aws("StartInstanceRefresh", &[]).await;
    world.double.clear_calls();
    held_back(&world, &world.tick().await, "refresh_in_progress");
    world.double.faults().throttle("DescribeInstanceRefreshes", 50);
    held_back(&world, &world.tick().await, "refresh_unknown");
    world.double.faults().clear();
    world.aws("CancelInstanceRefresh", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_with_garbage_are_named() {
    let world = shrinkable(Setup::desired(3)).await;
    world.tag("ghosthands:floor", "many").await;
    world.double.clear_calls();
    let record = world.tick().await;
    held_back(&world, &record, "override_unreadable");
    assert!(record["because"].as_str().expect("words").contains("ghosthands:floor"), "{record}");
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(5);
    world.tag("ghosthands:floor", &format!("5@{soon}")).await;
    assert_eq!(
        world.tick().await["decision"]["plan"],
        json!({ "do": "set_desired", "desired": 5 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ticks_at_once_one_decides() {
    let mut world = World::start(Setup::desired(1).concurrency(2)).await;
    world.warm_up_two().await;
    // On a machine that is busy with other things the second may come after the first is done.
    for _ in 0..5 {
        world.send(1);
        world.send(1);
        world.double.clear_calls();
        // Whoever comes first is held up while it acts, with the lock in hand.
        world.double.faults().delay("SetDesiredCapacity", 1, Duration::from_secs(1));
        let (one, other) = tokio::join!(world.tick(), world.tick());
        let (first, second) = if one["type"] == "decision" { (one, other) } else { (other, one) };
        assert_eq!(plan(&first), "set_desired", "{first}");
        assert_eq!(world.changes(), ["SetDesiredCapacity"]);
        if second["type"] == "already_running" {
            assert_eq!(world.tick().await["type"], "decision", "the lock is free again");
            return;
        }
    }
    panic!("no two ticks came at once");
}

/// A person raises the capacity after the tick looked and before it acts.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_hand_in_the_middle_of_a_tick_is_not_undone() {
    let mut world = World::start(Setup::desired(1)).await;
    world.send(3);
    for _ in 0..5 {
        world.aws("SetDesiredCapacity", &[("DesiredCapacity", "1")]).await;
        world.double.clear_calls();
        // The tick has seen the group, and waits for its memory.
        world.double.faults().delay("GetParameter", 9, Duration::from_secs(20));
        let function = world.function.clone();
        let tick = tokio::spawn(async move { function.invoke(SCHEDULE).await });
        world.called("DescribeAutoScalingGroups").await;
        world.aws("SetDesiredCapacity", &[("DesiredCapacity", "6")]).await;
        let answer = tick.await.expect("joins").expect("the function answers");
        world.double.faults().clear();
        let record: Value = serde_json::from_slice(&answer).expect("a JSON answer");
        let calls = world.double.calls();
        let at = |action: &str| calls.iter().rposition(|call| call.action == action);
        if at("SetDesiredCapacity") < at("DescribeAutoScalingGroups") {
            assert_eq!(record["decision"]["desired_before"], 6, "{record}");
            assert_eq!(plan(&record), "nothing", "{record}");
            assert_eq!(world.group().desired, 6);
            return;
        }
    }
    panic!("the change never came in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_answer_is_lost_is_not_taken_for_somebody_elses() {
    let world = shrinkable(Setup::desired(3)).await;
    world.double.faults().lose_reply("TerminateInstanceInAutoScalingGroup", 1);
    let lost = world.tick().await;
    assert_eq!(plan(&lost), "terminate");
    assert_eq!(lost["action"]["result"], "failed", "{lost}");
    assert!(lost["summary"].as_str().expect("words").contains("was not answered"), "{lost}");
    assert_eq!(world.group().desired, 2);
    let next = world.tick().await;
    assert_eq!(next["decision"]["desired_before"], 2);
    assert!(!next["decision"]["notes"].to_string().contains("external_change"), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_secrets_manager_the_queue_is_read_by_the_url_before() {
    let mut world = World::start(Setup::desired(1)).await;
    assert_eq!(world.tick().await["type"], "decision");
    // After a reading that failed, the URL is looked up anew.
    let blocker = world.postgres.connect(&world.database).await.expect("connects");
    blocker
        .batch_execute("BEGIN; LOCK TABLE pgboss.job IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("locked");
    assert_eq!(queue_cause(&world.tick().await), "timed_out");
    blocker.batch_execute("ROLLBACK").await.expect("unlocked");
    world.send(3);
    world.double.faults().throttle("GetSecretValue", 50);
    assert_eq!(
        world.tick().await["decision"]["plan"],
        json!({ "do": "set_desired", "desired": 3 })
    );
    world
        .printed(|line| {
            line["message"]
                == "Secrets Manager does not answer; the database URL read before is used"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_apart() {
    // The function's clock runs two minutes ahead: libfaketime moves the wall clock and leaves
    // timers alone.
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    assert!(std::path::Path::new(library).exists(), "install faketime: scripts/setup.sh test");
    let setup = Setup::desired(3)
        .env("LD_PRELOAD", library)
        .env("FAKETIME", "+120s")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let world = World::start(setup).await;
    world.heartbeat(&world.in_service(), false);
    let record = world.tick().await;
    held_back(&world, &record, "clock_skew");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_acting_the_next_tick_goes_on() {
    let mut world = World::start(Setup::desired(1)).await;
    world.send(4);
    // Longer than an attempt may take, and as often as it is tried again.
    world.double.faults().delay("SetDesiredCapacity", 9, Duration::from_secs(5));
    let function = world.function.clone();
    let acting = tokio::spawn(async move { function.invoke(SCHEDULE).await });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    world.restart_function().await;
    acting.await.expect("joins").expect_err("it was killed");
    world.double.faults().clear();
    let record = world.tick().await;
    assert_eq!(
        record["type"], "decision",
        "the dead tick's lock went with its connection: {record}"
    );
    assert_eq!(world.group().desired, 4);
}
