//! A million finished jobs do not make a tick slow.

use crate::support::{
    DOWNSTREAM, LOOK_AHEAD, NEWEST, QUEUE, app_source, documented, install, look, server, snapshot,
};
use fleet_core::scaling::ActiveCounts;
use fleet_protocol::reading::{Reading, UnknownCause};
use serde_json::json;

const INDEX_SQL: &str = include_str!("../../../docs/sql/active-index.sql");
const FINISHED: u32 = 1_000_000;

struct Large {
    version: &'static str,
    /// Column names and values of a finished job besides id, name and state.
    columns: &'static str,
    /// Where the documented index goes, for the versions that have none of their own.
    index_on: Option<&'static str>,
}

async fn check(large: Large) {
    let (server, database) = (server(), format!("large_{}", large.version.replace('.', "_")));
    let mut boss = install(server, &database, large.version);
    let columns = large.columns;
    server
        .execute(
            &database,
            &format!(
                "INSERT INTO pgboss.job (name, state, {columns}) \
                 SELECT '{QUEUE}', 'completed', now(), now(), now() FROM generate_series(1, {FINISHED})"
            ),
        )
        .expect("finished jobs");
    boss.insert(QUEUE, 200, json!({}), json!({})).expect("insert");
    assert_eq!(boss.fetch(QUEUE, 20).expect("fetch").len(), 20);
    boss.insert(QUEUE, 1000, json!({}), json!({ "startAfter": later(server, &database).await }))
        .expect("insert");
    server.execute(&database, "VACUUM (ANALYZE) pgboss.job").expect("vacuum");

    let mut source = app_source(server, &database);
    let seen = snapshot(&mut source).await.expect("a snapshot");
    assert_eq!((seen.general.ready, seen.general.deferred), (180, None));
    let shown = look(&mut source).await.expect("a look");
    assert_eq!((shown.general.ready, shown.general.deferred), (180, Some(1000)));
    if let Some(table) = large.index_on {
        match &seen.general.active {
            Reading::Unknown(reason) => {
                assert_eq!(reason.cause, UnknownCause::NotAsked);
                assert!(reason.detail.contains("docs/sql/active-index.sql"), "{}", reason.detail);
            }
            Reading::Known(counts) => panic!("a million rows were scanned for {counts:?}"),
        }
        let plan = source.explain(LOOK_AHEAD).await.expect("a plan");
        assert_index_only(&plan);

        let statement = documented(
            INDEX_SQL,
            &format!("CREATE INDEX CONCURRENTLY IF NOT EXISTS fleet_active ON {table}"),
        );
        server.execute(&database, &statement).expect("the documented index");
        source = app_source(server, &database);
    }
    let seen = snapshot(&mut source).await.expect("a snapshot");
    assert!(
        matches!(seen.general.active, Reading::Known(ActiveCounts { live: 20, expired: 0, .. })),
        "{:?}",
        seen.general.active
    );
    let plan = source.explain(LOOK_AHEAD).await.expect("a plan");
    assert_index_only(&plan);
}

/// After a burst Postgres has no statistics yet, and takes the table for nearly empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_that_nobody_counted_yet_is_read_in_the_order_of_an_index() {
    let (server, database) = (server(), "burst");
    drop(install(server, database, fleet_local::pgboss::DEFAULT_VERSION));
    let burst = format!(
        "ALTER TABLE pgboss.job_common SET (autovacuum_enabled = off); \
         INSERT INTO pgboss.job_common (name) SELECT '{QUEUE}' FROM generate_series(1, 200000)"
    );
    server.execute(database, &burst).expect("ready jobs");
    let plan = app_source(server, database).explain(LOOK_AHEAD).await.expect("a plan");
    assert!(!plan.contains("Sort Key: job.start_after"), "{plan}");
    assert!(plan.contains("Index Only Scan using job_common_i5"), "{plan}");
}

/// That the waiting jobs are read from an index alone, and next to nothing of the job table itself.
/// The one sequential scan there may be is version 9's proof that the queue exists, which ends at
/// its first row.
fn assert_index_only(plan: &str) {
    let long_scan =
        |line: &str| line.contains("Seq Scan on j") && !line.contains("rows=1 loops=1)");
    assert!(!plan.lines().any(long_scan), "{plan}");
    assert!(
        plan.lines()
            .any(|line| line.contains("Index Only Scan using job") && line.contains(" on job")),
        "{plan}"
    );
    let buffers = plan
        .lines()
        .find_map(|line| line.trim().strip_prefix("Buffers: shared hit="))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u32>().ok())
        .expect("a count of buffers");
    // 20 active jobs, each on a page of its own, are most of it; the 1,000 deferred ones would be a
    // dozen more.
    assert!(buffers < 40, "{buffers} buffers\n{plan}");
}

/// A day from now in the database's own words, which every version of pg-boss takes.
async fn later(server: &fleet_local::postgres::Postgres, database: &str) -> String {
    let client = server.connect(database).await.expect("connect");
    let query = "SELECT to_char((now() + interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    client.query_one(query, &[]).await.expect("a date").get(0)
}

#[tokio::test]
async fn pgboss_9() {
    check(Large {
        version: "9.0.3",
        columns: "createdon, startedon, completedon",
        index_on: Some("pgboss.job "),
    })
    .await;
}

#[tokio::test]
async fn pgboss_12_13() {
    check(Large {
        version: DOWNSTREAM,
        columns: "created_on, started_on, completed_on",
        index_on: Some("pgboss.job_common"),
    })
    .await;
}

#[tokio::test]
async fn pgboss_newest() {
    check(Large {
        version: NEWEST,
        columns: "created_on, started_on, completed_on",
        index_on: None,
    })
    .await;
}
