//! Waiting is not runnable: what a queue's policy or the workers' limit keeps back asks for no
//! worker.

use crate::support::{DOWNSTREAM, LOOK_AHEAD, NEWEST, QUEUE, app_source, server, start};
use fleet_clients::queue::{QueueSource, TickLock};
use fleet_core::scaling::QueueSnapshot;
use fleet_local::pgboss::Boss;
use fleet_local::registry;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

/// A database whose general queue has `policy`, and its pg-boss.
fn queue_of(version: &str, policy: &str) -> (String, Boss) {
    let server = server();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let database = format!("concurrency_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    server.create_database(&database).expect("create a database");
    registry::install(server, &database).expect("create the registry");
    let mut boss = start(server, &database, version);
    boss.create_queue(QUEUE, json!({ "policy": policy })).expect("create the queue");
    (database, boss)
}

fn send(boss: &mut Boss, key: &str, mut options: Value) -> Option<String> {
    options["singletonKey"] = key.into();
    boss.send(QUEUE, json!({}), options).expect("send")
}

async fn seen(source: &mut QueueSource) -> QueueSnapshot {
    match source.begin(7, LOOK_AHEAD, 0).await.expect("a snapshot") {
        TickLock::Acquired(tick) => {
            let snapshot = tick.snapshot().clone();
            tick.finish().await;
            snapshot
        }
        TickLock::HeldElsewhere => panic!("nobody else holds this lock"),
    }
}

/// Ready, due soon, and held back.
fn counts(seen: &QueueSnapshot) -> (u32, u32, u32) {
    (seen.general.ready, seen.general.due_soon, seen.held_by_key)
}

/// What as many workers as like would get from pg-boss now, one after the other.
fn taken_at_once(boss: &mut Boss) -> u32 {
    let mut taken = 0;
    while !boss.fetch(QUEUE, 1).expect("fetch").is_empty() {
        taken += 1;
    }
    taken
}

#[tokio::test]
async fn one_at_a_time_of_each_key_of_a_singleton_queue() {
    for version in ["10.4.2", "11.1.2", DOWNSTREAM, NEWEST] {
        let (database, mut boss) = queue_of(version, "singleton");
        let mut source = app_source(server(), &database);
        send(&mut boss, "a", json!({}));
        assert_eq!(boss.fetch(QUEUE, 1).expect("fetch").len(), 1);
        for key in ["a", "a", "b", "b", "b", "c"] {
            send(&mut boss, key, json!({}));
        }
        for key in ["b", "d", "d"] {
            send(&mut boss, key, json!({ "startAfter": 60 }));
        }
        // `a` runs, one each of `b` and `c` can, and one of `d` soon.
        let tick = seen(&mut source).await;
        assert_eq!(counts(&tick), (2, 1, 4), "{version}");
        assert_eq!(tick.general.active.known().map(|active| active.live), Some(1));
        let view = source.view(LOOK_AHEAD, std::time::Duration::from_secs(30)).await;
        assert_eq!(counts(&view.expect("a view").snapshot), (2, 1, 4), "{version}");
        if version == NEWEST {
            assert_eq!(taken_at_once(&mut boss), 2);
        }
    }
}

#[tokio::test]
async fn one_in_each_state_of_each_key_of_a_stately_queue() {
    for version in ["10.4.2", DOWNSTREAM, NEWEST] {
        let (database, mut boss) = queue_of(version, "stately");
        send(&mut boss, "a", json!({}));
        assert_eq!(boss.fetch(QUEUE, 1).expect("fetch").len(), 1);
        assert!(send(&mut boss, "a", json!({})).is_some());
        assert!(send(&mut boss, "a", json!({})).is_none(), "one waits already");
        send(&mut boss, "b", json!({}));
        let mut source = app_source(server(), &database);
        assert_eq!(counts(&seen(&mut source).await), (1, 0, 1), "{version}");
        if version == NEWEST {
            assert_eq!(taken_at_once(&mut boss), 1);
        }
    }
}

/// These keep jobs back when they are sent, not when they are taken: all that wait can run.
#[tokio::test]
async fn everything_that_waits_in_a_short_or_exclusive_queue_can_run() {
    for (version, policy, expected) in [
        ("10.4.2", "short", 2),
        (NEWEST, "short", 2),
        ("11.1.2", "exclusive", 1),
        (NEWEST, "exclusive", 1),
    ] {
        let (database, mut boss) = queue_of(version, policy);
        send(&mut boss, "a", json!({}));
        assert_eq!(boss.fetch(QUEUE, 1).expect("fetch").len(), 1);
        for key in ["a", "a", "b", "b"] {
            send(&mut boss, key, json!({}));
        }
        let mut source = app_source(server(), &database);
        assert_eq!(counts(&seen(&mut source).await), (expected, 0, 0), "{policy} {version}");
        if version == NEWEST {
            assert_eq!(taken_at_once(&mut boss), expected, "{policy}");
        }
    }
}

#[tokio::test]
async fn a_key_in_strict_order_waits_for_its_failed_and_retried_jobs() {
    for version in [DOWNSTREAM, NEWEST] {
        let (database, mut boss) = queue_of(version, "key_strict_fifo");
        let mut source = app_source(server(), &database);
        // By their ids: a fetch of several does not say in which order it returns them.
        let ids = ["failed", "later", "again", "runs"].map(|key| {
            let retries = u32::from(key != "failed" && key != "runs");
            let delay = if key == "later" { 600 } else { 0 };
            send(&mut boss, key, json!({ "retryLimit": retries, "retryDelay": delay }))
                .expect("it is queued")
        });
        assert_eq!(boss.fetch(QUEUE, 4).expect("fetch").len(), 4);
        boss.fail(QUEUE, &ids[..3]).expect("fail");
        for key in ["failed", "later", "again", "runs", "new", "new"] {
            send(&mut boss, key, json!({}));
        }
        // Some versions put a short pause before a retry that has none.
        let due = "UPDATE pgboss.job SET start_after = now() - interval '1 second' \
                   WHERE state = 'retry' AND singleton_key = 'again'";
        server().execute(&database, due).expect("the pause is over");
        // The retry of `again` and the first of `new` can run.
        assert_eq!(counts(&seen(&mut source).await), (2, 0, 5), "{version}");
        if version == NEWEST {
            assert_eq!(taken_at_once(&mut boss), 2);
        }
    }
}

/// pg-boss does not write down how many jobs of a group its workers run at a time: it is a setting.
#[tokio::test]
async fn so_many_of_each_group_as_the_workers_run_at_a_time() {
    let (database, mut boss) = queue_of(NEWEST, "standard");
    let mut group = |name: Option<&str>| {
        let options = name.map_or_else(|| json!({}), |id| json!({ "group": { "id": id } }));
        boss.send(QUEUE, json!({}), options).expect("send");
    };
    group(Some("g"));
    for name in [Some("g"), Some("g"), Some("g"), Some("h"), None, None, None] {
        group(name);
    }
    assert_eq!(boss.fetch(QUEUE, 1).expect("fetch").len(), 1);
    let mut unlimited = app_source(server(), &database);
    assert_eq!(counts(&seen(&mut unlimited).await), (7, 0, 0));
    let mut limited = unlimited.with_group_limit(NonZeroU32::new(2));
    // One of `g` runs, so one more can.
    assert_eq!(counts(&seen(&mut limited).await), (5, 0, 2));
}

/// A policy may change under a source that looked the tables up.
#[tokio::test]
async fn a_change_of_the_policy_is_noticed_at_the_next_reading() {
    let (database, mut boss) = queue_of("10.4.2", "singleton");
    let mut source = app_source(server(), &database);
    for _ in 0..3 {
        send(&mut boss, "a", json!({}));
    }
    assert_eq!(counts(&seen(&mut source).await), (1, 0, 2));
    server()
        .execute(&database, "UPDATE pgboss.queue SET policy = 'standard'")
        .expect("another policy");
    assert_eq!(counts(&seen(&mut source).await), (3, 0, 0));
}
