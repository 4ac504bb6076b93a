//! Any row that the tables can hold: the statement answers, and every other row is read as ever.

use crate::support::{DOWNSTREAM, NEWEST, QUEUE, app_source, install, look, server, snapshot};
use fleet_core::scaling::{NAMES, QueueSnapshot};
use fleet_local::postgres::Postgres;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Cases for each version of pg-boss.
const CASES: usize = 60;

const MOMENTS: [&str; 12] = [
    "'infinity'",
    "'-infinity'",
    "'294276-12-31 23:59:59.999999+00'",
    "'4713-01-01 00:00:00+00 BC'",
    "'1999-12-31 23:59:59+00'",
    "'2100-01-01 00:00:01+00'",
    "'epoch'",
    "now()",
    "now() - interval '10 minutes'",
    "now() - interval '2 hours'",
    "now() + interval '1 minute'",
    "now() + interval '1 day'",
];
const SECONDS: [&str; 5] = ["900", "0", "-1", "2147483647", "-2147483648"];
const INTERVALS: [&str; 6] = [
    "interval '15 minutes'",
    "interval '0'",
    "interval '-1 second'",
    "interval '178000000 years'",
    "interval '-178000000 years'",
    "interval '99 years 11 months'",
];
const TEXTS: [&str; 9] = [
    "'i-0123456789abcdef0'",
    "''",
    "NULL",
    "repeat('x', 100000)",
    "repeat('ä', 150)",
    "E'line\\nbreak\\u001b[31m'",
    "E'\\u202e\\u0085\\\"}]'",
    "'😀'",
    "'gh_apply_job/../%_'",
];

fn moment() -> impl Strategy<Value = &'static str> {
    select(&MOMENTS[..])
}

fn text() -> impl Strategy<Value = &'static str> {
    select(&TEXTS[..])
}

/// Statements that fill the tables of a schema.
fn rows(lowercase: bool, heartbeat: bool) -> impl Strategy<Value = Vec<String>> {
    let worker = (text(), text(), text(), moment(), moment(), any::<bool>()).prop_map(
        |(target, instance, status, heartbeat, registered, named)| {
            let id = if named { "md5(random()::text)" } else { "repeat('w', 3000) || random()" };
            format!(
                "INSERT INTO gh_worker_registry (worker_id, target_worker_id, ec2_instance_id, status, last_heartbeat, registered_at) \
                 VALUES ({id}, {target}, {instance}, {status}, {heartbeat}, {registered})"
            )
        },
    );
    let expiry = if lowercase { &INTERVALS[..] } else { &SECONDS[..] };
    let job = (
        select(vec!["created", "retry", "active", "completed"]),
        moment(),
        moment(),
        select(expiry),
        moment(),
        select(&SECONDS[..]),
    )
        .prop_map(move |(state, start, started, expire, beat, seconds)| {
            let (columns, more, values) = match (lowercase, heartbeat) {
                (true, _) => ("startafter, startedon, expirein", "", String::new()),
                (false, false) => ("start_after, started_on, expire_seconds", "", String::new()),
                (false, true) => (
                    "start_after, started_on, expire_seconds",
                    ", heartbeat_on, heartbeat_seconds",
                    format!(", {beat}, {seconds}"),
                ),
            };
            format!(
                "INSERT INTO pgboss.job (name, state, {columns}{more}) \
                 VALUES ('{QUEUE}', '{state}', {start}, {started}, {expire}{values})"
            )
        });
    proptest::collection::vec(prop_oneof![worker, job], 1..25)
}

async fn check(version: &str) {
    let (server, database) = (server(), format!("hostile_{}", version.replace('.', "_")));
    let mut boss = install(server, &database, version);
    // pg-boss 9 knows a queue by its jobs.
    boss.insert(QUEUE, 1, serde_json::json!({}), serde_json::json!({})).expect("insert");
    server
        .execute(
            &database,
            "ALTER TABLE gh_worker_registry DROP CONSTRAINT gh_worker_registry_status_check; \
             ALTER TABLE gh_worker_registry ALTER status DROP NOT NULL, ALTER last_heartbeat DROP NOT NULL; \
             UPDATE pgboss.job SET state = 'completed'",
        )
        .expect("let any row in");
    let lowercase = version.starts_with('9');
    let start = if lowercase { "startafter" } else { "start_after" };
    let strategy = rows(lowercase, !lowercase);
    let mut source = app_source(server, &database);
    let mut runner = TestRunner::deterministic();
    for case in 0..CASES {
        let statements = strategy.new_tree(&mut runner).expect("rows").current();
        let all = statements.join(";\n");
        server.execute(&database, &all).unwrap_or_else(|error| panic!("{error}: {all}"));
        let tick = snapshot(&mut source).await;
        let tick = tick.unwrap_or_else(|unknown| panic!("case {case}: {unknown:?}\n{all}"));
        let view = look(&mut source).await;
        let view = view.unwrap_or_else(|unknown| panic!("case {case}: {unknown:?}\n{all}"));
        let facts = facts(server, &database, start).await;
        for seen in [&tick, &view] {
            assert_eq!(seen.general.ready, facts.due, "case {case}:\n{all}");
            let active = seen.general.active.known().expect("counted");
            assert_eq!(active.live + active.expired, facts.active, "case {case}:\n{all}");
            let workers = seen.workers.known().expect("the registry");
            assert_eq!(workers.len(), facts.reporting, "case {case}:\n{all}");
            assert!(seen.unreadable.examples.len() <= NAMES);
            assert_bounded(seen);
        }
        assert_eq!(view.unreadable.rows, facts.odd, "case {case}:\n{all}");
        let empty = format!(
            "DELETE FROM gh_worker_registry; DELETE FROM pgboss.job; \
             INSERT INTO pgboss.job (name, state) VALUES ('{QUEUE}', 'completed')"
        );
        server.execute(&database, &empty).expect("empty again");
    }
}

/// Counted by comparisons alone.
struct Facts {
    due: u32,
    active: u32,
    reporting: usize,
    odd: u32,
}

async fn facts(server: &Postgres, database: &str, start: &str) -> Facts {
    let client = server.connect(database).await.expect("connect");
    let started = start.replace("start", "started").replace("startedafter", "startedon");
    let started = started.replace("started_after", "started_on");
    let odd = |moment: &str| {
        format!(
            "coalesce({moment} < '2000-01-01 00:00:00+00' OR {moment} > '2100-01-01 00:00:00+00', true)"
        )
    };
    let query = format!(
        "SELECT (SELECT count(*) FROM pgboss.job WHERE name = '{QUEUE}' AND state < 'active' AND {start} < now()), \
         (SELECT count(*) FROM pgboss.job WHERE name = '{QUEUE}' AND state = 'active'), \
         (SELECT count(*) FROM gh_worker_registry WHERE last_heartbeat > now() - interval '1 hour' OR {heartbeat}), \
         (SELECT count(*) FROM gh_worker_registry WHERE {heartbeat}) \
         + (SELECT count(*) FROM pgboss.job WHERE name = '{QUEUE}' AND state < 'active' AND {start_odd}) \
         + (SELECT count(*) FROM pgboss.job WHERE name = '{QUEUE}' AND state = 'active' AND {started_odd})",
        heartbeat = odd("last_heartbeat"),
        start_odd = odd(start),
        started_odd = odd(&started),
    );
    let row = client.query_one(&query, &[]).await.expect("facts");
    let number = |n: usize| u32::try_from(row.get::<_, i64>(n)).expect("small");
    Facts { due: number(0), active: number(1), reporting: number(2) as usize, odd: number(3) }
}

fn assert_bounded(seen: &QueueSnapshot) {
    let rows = seen.workers.known().expect("the registry");
    for row in rows {
        let ids = [Some(row.worker.as_str()), row.target.as_ref().map(|id| id.as_str())];
        for id in ids.into_iter().flatten().chain(row.instance.as_ref().map(|id| id.as_str())) {
            assert!(id.len() <= 128 && !id.chars().any(char::is_control), "{id:?}");
        }
    }
}

#[tokio::test]
async fn pgboss_9() {
    check("9.0.3").await;
}

#[tokio::test]
async fn pgboss_12_13() {
    check(DOWNSTREAM).await;
}

#[tokio::test]
async fn pgboss_newest() {
    check(NEWEST).await;
}
