//! One statement tells the truth about every generation of pg-boss.

use crate::count::{self, Counted};
use crate::scenario;
use crate::support::{
    DOWNSTREAM, LOOK_AHEAD, NEWEST, QUEUE, app_source, install, install_into, look, server,
    snapshot, source_of, start,
};
use fleet_clients::queue::QueueSource;
use fleet_core::scaling::{QueueCounts, QueueSnapshot, WorkerStatus};
use fleet_local::pgboss::Boss;
use fleet_protocol::reading::{Reading, UnknownCause};

fn counted(counts: &QueueCounts) -> Counted {
    let active = counts.active.known().expect("active jobs were counted");
    Counted {
        ready: counts.ready,
        due_soon: counts.due_soon,
        // A tick leaves them out.
        deferred: counts.deferred.unwrap_or(0),
        live: active.live,
        expired: active.expired,
    }
}

/// Plays the scenario in `database` and compares the snapshot with what was put there and with a
/// count of every row.
async fn check(database: &str, mut boss: Boss, mut source: QueueSource, schema: u32) {
    let server = server();
    assert_eq!(boss.schema_version().expect("a version"), i64::from(schema));
    let expected = scenario::play(server, database, &mut boss, i64::from(schema));

    let tick = snapshot(&mut source).await.expect("a snapshot");
    let seen = look(&mut source).await.expect("a look");
    let (general, targeted) =
        count::grouped(count::rows(server, database, f64::from(LOOK_AHEAD)).await);

    assert_eq!((general, &targeted), (counted(&seen.general), &by_worker(&seen)));
    assert_eq!((expected.general, expected.targeted), (counted(&seen.general), targeted));
    // A tick sees the same without what becomes due later, and the queues of workers that hold
    // nothing else all the same.
    let now = |mut seen: QueueSnapshot| {
        let general = std::iter::once(&mut seen.general);
        for counts in general.chain(seen.targeted.iter_mut().map(|queue| &mut queue.counts)) {
            counts.deferred = None;
            counts.oldest_wait_ms = 0;
        }
        (seen.general, seen.targeted)
    };
    assert_eq!(tick.general.deferred, None);
    assert_eq!(now(tick), now(seen.clone()));
    assert_eq!((seen.schema.version, seen.schema.tested), (schema, true));

    let waited = seen.general.oldest_wait_ms;
    assert!((600_000..660_000).contains(&waited), "the oldest job waits for {waited} ms");
    let newest = seen.general.active.known().and_then(|active| active.newest_start);
    let age = seen.db_now.since(newest.expect("a live job was taken"));
    assert!((0..60_000).contains(&age), "the newest live job was taken {age} ms ago");
}

fn by_worker(seen: &QueueSnapshot) -> std::collections::BTreeMap<String, Counted> {
    seen.targeted
        .iter()
        .map(|queue| (queue.worker.as_str().to_owned(), counted(&queue.counts)))
        .collect()
}

async fn check_version(version: &str, schema: u32) {
    let database = format!("v{}", version.replace('.', "_"));
    let boss = install(server(), &database, version);
    // A queue without a job yet: on 10 and later it is known to exist, on 9 it cannot be.
    let fresh = snapshot(&mut app_source(server(), &database)).await;
    match schema {
        20 => assert_eq!(fresh.expect_err("no proof of the queue").cause, UnknownCause::Missing),
        _ => assert_eq!(counted(&fresh.expect("a snapshot").general), Counted::default()),
    }
    check(&database, boss, app_source(server(), &database), schema).await;

    let server = server();
    let mut other = source_of(&server.app_url_in(&database), Some(server.ca_pem()), "gh_aply_job");
    let missing = snapshot(&mut other).await.expect_err("a queue that does not exist");
    assert_eq!(missing.cause, UnknownCause::Missing);
    assert!(missing.detail.contains(r#""gh_aply_job""#), "{}", missing.detail);
}

#[tokio::test]
async fn pgboss_9() {
    check_version("9.0.3", 20).await;
}

#[tokio::test]
async fn pgboss_10() {
    check_version("10.4.2", 24).await;
}

#[tokio::test]
async fn pgboss_11() {
    check_version("11.1.2", 26).await;
}

#[tokio::test]
async fn pgboss_12_13() {
    check_version(DOWNSTREAM, 30).await;
}

/// The first with jobs that wait for others, and still with an index that holds them.
#[tokio::test]
async fn pgboss_12_19() {
    check_version("12.19.1", 31).await;
}

#[tokio::test]
async fn pgboss_12_22() {
    check_version("12.22.0", 33).await;
}

#[tokio::test]
async fn pgboss_newest() {
    check_version(NEWEST, 46).await;
}

/// A range of names would miss targeted queues where punctuation does not count in the order of
/// names.
#[tokio::test]
async fn a_collation_that_ignores_punctuation() {
    let server = server();
    server
        .execute(
            "postgres",
            "CREATE DATABASE shifted OWNER app TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'und-u-ka-shifted'",
        )
        .expect("create a database");
    let boss = install_into(server, "shifted", NEWEST);
    check("shifted", boss, app_source(server, "shifted"), 46).await;
}

/// pg-boss 9 keeps finished jobs for half a day, then moves them away.
#[tokio::test]
async fn an_archived_job_proves_a_queue_of_pgboss_9() {
    let (server, database) = (server(), "archived");
    let mut boss = install(server, database, "9.0.3");
    let id = boss.send(QUEUE, serde_json::json!({}), serde_json::json!({})).expect("send");
    let columns = "id, name, priority, data, state, retrylimit, retrycount, retrydelay, retrybackoff, \
                   startafter, startedon, singletonkey, singletonon, expirein, createdon, completedon, keepuntil, on_complete, output";
    let id = id.expect("a job id");
    server
        .execute(
            database,
            &format!(
                "INSERT INTO pgboss.archive ({columns}) SELECT {columns} FROM pgboss.job WHERE id = '{id}'; DELETE FROM pgboss.job"
            ),
        )
        .expect("archive");
    let seen = snapshot(&mut app_source(server, database)).await.expect("a snapshot");
    assert_eq!(counted(&seen.general), Counted::default());
}

#[tokio::test]
async fn a_migration_between_two_ticks_is_noticed() {
    let (server, database) = (server(), "migrated");
    let mut boss = install(server, database, DOWNSTREAM);
    let mut source = app_source(server, database);
    boss.insert(QUEUE, 5, serde_json::json!({}), serde_json::json!({})).expect("insert");
    assert_eq!(snapshot(&mut source).await.expect("a snapshot").schema.version, 30);

    boss.stop().expect("stop pg-boss");
    let boss = start(server, database, NEWEST);
    server
        .execute(
            database,
            "UPDATE pgboss.job SET blocked = true WHERE id IN (SELECT id FROM pgboss.job LIMIT 2)",
        )
        .expect("block two jobs");
    let seen = snapshot(&mut source).await.expect("a snapshot");
    assert_eq!((seen.schema.version, seen.general.ready), (46, 3));

    server.execute(database, "UPDATE pgboss.version SET version = 47").expect("a newer schema");
    let newer = snapshot(&mut source).await.expect("a snapshot");
    assert_eq!((newer.schema.version, newer.schema.tested), (47, false));
    drop(boss);
}

#[tokio::test]
async fn a_column_that_vanishes_is_looked_for_again() {
    let (server, database) = (server(), "vanished");
    let _boss = install(server, database, NEWEST);
    let mut source = app_source(server, database);
    snapshot(&mut source).await.expect("a snapshot");

    server
        .execute(database, "ALTER TABLE pgboss.job RENAME COLUMN blocked TO unrelated")
        .expect("rename");
    snapshot(&mut source).await.expect("a snapshot without the column");

    server
        .execute(database, "ALTER TABLE pgboss.job RENAME COLUMN start_after TO other")
        .expect("rename");
    let unreadable = snapshot(&mut source).await.expect_err("no column to read");
    assert_eq!(unreadable.cause, UnknownCause::Unreadable);
    assert!(unreadable.detail.contains("start_after"), "{}", unreadable.detail);
}

#[tokio::test]
async fn a_database_without_pgboss() {
    let server = server();
    server.create_database("bare").expect("create a database");
    let mut source = app_source(server, "bare");
    let missing = snapshot(&mut source).await.expect_err("no schema");
    assert_eq!(missing.cause, UnknownCause::Missing);
    assert!(missing.detail.contains(r#""pgboss"."version" does not exist"#), "{}", missing.detail);

    // The same source sees it as soon as it is there.
    let _boss = install_into(server, "bare", DOWNSTREAM);
    snapshot(&mut source).await.expect("a snapshot");
}

#[tokio::test]
async fn registry_rows_of_the_last_hour() {
    let (server, database) = (server(), "registry");
    let _boss = install(server, database, DOWNSTREAM);
    server
        .execute(
            database,
            "INSERT INTO gh_automation_jobs (id) VALUES ('00000000-0000-0000-0000-000000000001');
             INSERT INTO gh_worker_registry (worker_id, status, target_worker_id, ec2_instance_id, current_job_id, last_heartbeat) VALUES
               ('w-busy', 'active', 'i-0b', 'i-0b', '00000000-0000-0000-0000-000000000001', now() - interval '10 seconds'),
               ('w-drain', 'draining', NULL, NULL, NULL, now() - interval '59 minutes'),
               ('w-gone', 'offline', NULL, 'i-0c', NULL, now() - interval '61 minutes')",
        )
        .expect("rows");
    let seen = snapshot(&mut app_source(server, database)).await.expect("a snapshot");
    let workers = seen.workers.known().expect("the registry");
    assert_eq!(workers.len(), 2);
    let busy = &workers[0];
    assert_eq!(busy.worker.as_str(), "w-busy");
    assert_eq!(busy.target.as_ref().map(|target| target.as_str()), Some("i-0b"));
    assert_eq!(busy.instance.as_ref().map(|instance| instance.as_str()), Some("i-0b"));
    assert_eq!((busy.status, busy.has_job), (WorkerStatus::Active, true));
    assert!((10_000..40_000).contains(&seen.db_now.since(busy.last_heartbeat)));
    let drain = &workers[1];
    assert_eq!((drain.status, drain.has_job), (WorkerStatus::Draining, false));
    assert_eq!((&drain.target, &drain.instance), (&None, &None));

    // A word this version does not know is not taken for idle.
    server
        .execute(
            database,
            "ALTER TABLE gh_worker_registry DROP CONSTRAINT gh_worker_registry_status_check;
             UPDATE gh_worker_registry SET status = 'resting'",
        )
        .expect("a new status");
    let seen = snapshot(&mut app_source(server, database)).await.expect("a snapshot");
    assert_eq!(seen.workers.known().expect("the registry")[0].status, WorkerStatus::Other);
}

#[tokio::test]
async fn without_a_registry_the_queue_is_still_read() {
    let (server, database) = (server(), "unregistered");
    let mut boss = install(server, database, DOWNSTREAM);
    boss.insert(QUEUE, 3, serde_json::json!({}), serde_json::json!({})).expect("insert");
    let mut source = app_source(server, database);
    snapshot(&mut source).await.expect("a snapshot");
    server.execute(database, "DROP TABLE gh_worker_registry").expect("drop");
    let seen = snapshot(&mut source).await.expect("a snapshot");
    assert_eq!(seen.general.ready, 3);
    match seen.workers {
        Reading::Unknown(reason) => assert_eq!(reason.cause, UnknownCause::Missing),
        Reading::Known(rows) => panic!("no table, yet {rows:?}"),
    }
}
