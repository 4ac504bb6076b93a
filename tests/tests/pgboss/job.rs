//! One job by its id, in every generation of pg-boss, by the role that cannot read what is in it.

use crate::support::{DOWNSTREAM, NEWEST, QUEUE, app_source, documented, install, server, source};
use fleet_clients::queue::{FoundJob, QueueSource};
use fleet_core::passport::{ApplicationJob, JobId, JobState, QueueJob};
use fleet_local::pgboss::Boss;
use fleet_local::postgres::Postgres;
use fleet_protocol::reading::{Reading, UnknownCause};
use fleet_protocol::time::UnixMs;
use serde_json::{Value, json};
use std::time::Duration;

const ROLE_SQL: &str = include_str!("../../../docs/sql/role.sql");
const APPLICATION: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const LIMIT: Duration = Duration::from_secs(30);

const COMMON: [&str; 4] = [
    "GRANT USAGE ON SCHEMA",
    "GRANT SELECT (version)",
    "GRANT SELECT (worker_id, target_worker_id",
    "GRANT SELECT (id, worker_id, status, created_at",
];
const NINE: [&str; 3] = [
    "GRANT SELECT (id, name, state, startafter",
    "GRANT SELECT (name) ON pgboss.archive",
    "GRANT SELECT (createdon",
];
const NINE_ARCHIVE: &str = "GRANT SELECT (id, state, createdon";
const TEN: [&str; 3] = [
    "GRANT SELECT (id, name, state, start_after, started_on, expire_in,",
    "GRANT SELECT (name, policy) ON pgboss.queue",
    "GRANT SELECT (created_on",
];
const TEN_ARCHIVE: &str = "GRANT SELECT (id, name, state, created_on";
const LATER: [&str; 3] = [
    "GRANT SELECT (id, name, state, start_after, started_on, expire_seconds,",
    "GRANT SELECT (name, policy) ON pgboss.queue",
    "GRANT SELECT (created_on",
];
const HEARTBEAT: &str = "GRANT SELECT (heartbeat_on, heartbeat_seconds)";
const BLOCKED: &str = "GRANT SELECT (blocked)";

/// A source as a new role with these grants of the documentation, which cannot read payloads.
async fn reader(server: &Postgres, database: &str, grants: &[&str]) -> QueueSource {
    let role = format!("{database}_reader");
    let create = documented(ROLE_SQL, "CREATE ROLE fleet_reader");
    let grants = grants.iter().map(|grant| documented(ROLE_SQL, grant));
    for statement in [create].into_iter().chain(grants) {
        let statement = statement.replace("fleet_reader", &role).replace("change-me", "pw");
        server.execute(database, &statement).expect(&statement);
    }
    let client = server.connect(database).await.expect("connect");
    client.batch_execute(&format!("SET ROLE {role}")).await.expect("become the role");
    for private in ["data", "output", "*"] {
        let denied = client.batch_execute(&format!("SELECT {private} FROM pgboss.job")).await;
        let code = denied.expect_err("denied").code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{private}");
    }
    source(&server.url(&role, "pw", database), Some(server.ca_pem()))
}

async fn found(source: &mut QueueSource, id: &str) -> FoundJob {
    let id = JobId::parse(id).expect("a UUID");
    source.job(&id, LIMIT).await.expect("the job is read")
}

async fn job(source: &mut QueueSource, id: &str) -> QueueJob {
    found(source, id).await.job.expect("the job is there")
}

fn send(boss: &mut Boss, queue: &str, options: Value) -> String {
    let applicant = json!({ "email": "someone@example.com" });
    boss.send(queue, applicant, options).expect("send").expect("a job id")
}

fn take(boss: &mut Boss, queue: &str) -> Vec<String> {
    let taken = boss.fetch(queue, 1).expect("fetch");
    assert_eq!(taken.len(), 1, "one job of {queue} is due");
    taken
}

async fn check(version: &str, grants: &[&str], archive: Option<&str>) {
    let (server, database) = (server(), format!("job_{}", version.replace('.', "_")));
    let mut boss = install(server, &database, version);
    let grants: Vec<&str> = COMMON.iter().chain(grants).chain(&archive).copied().collect();
    let mut source = reader(server, &database, &grants).await;
    let sql = |statement: &str| server.execute(&database, statement).expect(statement);
    let started = if version.starts_with('9') { "startedon" } else { "started_on" };

    // Finished, with the application's row, which has an id of its own.
    let done = send(&mut boss, QUEUE, json!({ "retryLimit": 0, "expireInSeconds": 14_400 }));
    take(&mut boss, QUEUE);
    sql(&format!(
        "INSERT INTO gh_worker_registry (worker_id, ec2_instance_id) VALUES ('w-one', 'i-0a');
         INSERT INTO gh_automation_jobs (worker_id, status, started_at, completed_at)
         VALUES ('w-one', 'completed', now() - interval '9 minutes', now() - interval '4 minutes');
         INSERT INTO gh_automation_jobs (id, worker_id, status, started_at, metadata)
         VALUES ('{APPLICATION}', 'w-one', 'failed', now(), '{{\"pgBossJobId\": \"{done}\"}}')"
    ));
    boss.complete(QUEUE, std::slice::from_ref(&done)).expect("complete");
    let seen = found(&mut source, &done).await;
    let row = seen.job.expect("the job is there");
    assert_eq!((row.state, row.queue.as_str(), row.target), (JobState::Completed, QUEUE, None));
    assert_eq!((row.id.as_str(), row.archived, row.blocked), (done.as_str(), false, false));
    assert_eq!((row.retry_count, row.retry_limit), (Some(0), Some(0)));
    assert_eq!((row.retry_delay_s, row.retry_backoff), (Some(0), Some(false)));
    assert_eq!((row.expire_s, &row.unreadable), (Some(14_400), &Vec::<String>::new()));
    let times = [row.created, row.start_after, row.started, row.completed, Some(seen.now)];
    let times: Vec<UnixMs> = times.into_iter().map(|at| at.expect("a moment")).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(seen.now.since(times[0]) < 60_000, "{times:?}");
    let Reading::Known(Some(ApplicationJob { id, status, worker, started: began, .. })) =
        seen.application
    else {
        panic!("the row that names pg-boss's id")
    };
    assert_eq!((id.as_str(), status.as_str()), (APPLICATION, "failed"));
    assert_eq!((worker.as_ref().map(|it| it.as_str()), began.is_some()), (Some("w-one"), true));
    let worker = seen.worker.known().and_then(Option::as_ref).expect("the worker's row");
    assert_eq!(worker.instance.as_ref().map(|it| it.as_str()), Some("i-0a"));
    assert!(worker.registered.is_some());
    let before = seen.job_before.known().copied().flatten().expect("the job before");
    assert!((200_000..300_000).contains(&seen.now.since(before)), "{before}");
    // The application's id leads to the same job.
    assert_eq!(job(&mut source, APPLICATION).await.id, done);

    // Failed, retried, and failed for good.
    let failing = send(&mut boss, QUEUE, json!({ "retryLimit": 1, "retryDelay": 0 }));
    take(&mut boss, QUEUE);
    boss.fail(QUEUE, std::slice::from_ref(&failing)).expect("fail");
    let row = job(&mut source, &failing).await;
    assert_eq!((row.state, row.completed), (JobState::Retry, None));
    take(&mut boss, QUEUE);
    let row = job(&mut source, &failing).await;
    assert_eq!((row.state, row.retry_count, row.retry_limit), (JobState::Active, Some(1), Some(1)));
    assert!(row.start_after > row.created, "pg-boss has overwritten it");
    boss.fail(QUEUE, std::slice::from_ref(&failing)).expect("fail");
    let row = job(&mut source, &failing).await;
    assert_eq!((row.state, row.completed.is_some()), (JobState::Failed, true));

    // Running, past its expiry.
    let lost = send(&mut boss, QUEUE, json!({ "expireInSeconds": 900 }));
    take(&mut boss, QUEUE);
    sql(&format!(
        "UPDATE pgboss.job SET {started} = now() - interval '2 hours' WHERE id = '{lost}'"
    ));
    let row = job(&mut source, &lost).await;
    assert_eq!((row.state, row.expire_s), (JobState::Active, Some(900)));

    // Targeted, waiting and cancelled.
    let own = format!("{QUEUE}/i-0b");
    boss.create_queue(&own, json!({})).expect("create a queue");
    let targeted = send(&mut boss, &own, json!({}));
    let row = job(&mut source, &targeted).await;
    assert_eq!(row.target.as_ref().map(|it| it.as_str()), Some("i-0b"));
    assert_eq!((row.state, row.queue, row.started), (JobState::Created, own, None));
    let later = send(&mut boss, QUEUE, json!({ "startAfter": 600 }));
    let row = job(&mut source, &later).await;
    let ahead = row.start_after.zip(row.created).map(|(due, created)| due.since(created));
    assert!(ahead.is_some_and(|ms| (590_000..610_000).contains(&ms)), "{ahead:?}");
    boss.cancel(QUEUE, std::slice::from_ref(&later)).expect("cancel");
    let row = job(&mut source, &later).await;
    assert_eq!((row.state, row.completed.is_some()), (JobState::Cancelled, true));

    // Queues of others are not looked into, and it is said which were.
    boss.create_queue("gh_apply_jobs", json!({})).expect("create a queue");
    let strange = send(&mut boss, "gh_apply_jobs", json!({}));
    let seen = found(&mut source, &strange).await;
    assert!(seen.job.is_none());
    assert!(seen.looked_in[0].starts_with(r#""pgboss"."job" (gh_apply_job and "#), "{seen:?}");
    assert_eq!(seen.looked_in.last().map(String::as_str), Some("public.gh_automation_jobs"));

    if archive.is_some() {
        let client = server.connect(&database).await.expect("connect");
        let columns = "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute \
                       WHERE attrelid = 'pgboss.archive'::regclass AND attnum > 0 \
                       AND NOT attisdropped AND attname NOT IN ('archivedon', 'archived_on')";
        let columns: String = client.query_one(columns, &[]).await.expect("columns").get(0);
        sql(&format!(
            "INSERT INTO pgboss.archive ({columns}) SELECT {columns} FROM pgboss.job WHERE id = '{done}'; \
             DELETE FROM pgboss.job WHERE id = '{done}'"
        ));
        let row = job(&mut source, &done).await;
        assert_eq!((row.state, row.archived), (JobState::Completed, true));
        assert!(row.created.is_some() && row.completed.is_some());
    }
}

#[tokio::test]
async fn on_pgboss_9() {
    check("9.0.3", &NINE, Some(NINE_ARCHIVE)).await;
}

#[tokio::test]
async fn on_pgboss_10() {
    check("10.4.2", &TEN, Some(TEN_ARCHIVE)).await;
}

#[tokio::test]
async fn on_pgboss_11() {
    check("11.1.2", &LATER, None).await;
}

#[tokio::test]
async fn on_pgboss_12() {
    let grants = [LATER[0], LATER[1], LATER[2], HEARTBEAT];
    check(DOWNSTREAM, &grants, None).await;
}

#[tokio::test]
async fn on_the_newest() {
    let grants = [LATER[0], LATER[1], LATER[2], HEARTBEAT, BLOCKED];
    check(NEWEST, &grants, None).await;
}

/// A role of before passports knows when a job is due and was taken; the rest is named.
#[tokio::test]
async fn columns_that_are_not_granted_are_left_out_by_name() {
    let (server, database) = (server(), "job_ungranted");
    let mut boss = install(server, database, DOWNSTREAM);
    let grants = [COMMON[0], COMMON[1], COMMON[2], LATER[0], LATER[1], HEARTBEAT];
    let mut source = reader(server, database, &grants).await;
    let id = send(&mut boss, QUEUE, json!({}));
    take(&mut boss, QUEUE);
    let seen = found(&mut source, &id).await;
    let row = seen.job.expect("the job is there");
    assert_eq!((row.state, row.created, row.retry_count), (JobState::Active, None, None));
    assert!(row.started.is_some() && row.start_after.is_some());
    let denied = [
        "created_on",
        "completed_on",
        "retry_count",
        "retry_limit",
        "retry_delay",
        "retry_backoff",
    ];
    assert_eq!(row.unreadable, denied);
    for cause in [seen.application.known().is_none(), seen.job_before.known().is_none()] {
        assert!(cause);
    }
    let Reading::Unknown(unknown) = seen.application else { panic!("not granted") };
    assert_eq!(unknown.cause, UnknownCause::NotAsked);
    assert!(unknown.detail.contains("role.sql"), "{}", unknown.detail);
}

#[tokio::test]
async fn a_job_behind_row_security_is_unknown_and_not_missing() {
    let (server, database) = (server(), "job_hidden");
    let mut boss = install(server, database, DOWNSTREAM);
    let grants: Vec<&str> = COMMON.iter().chain(&LATER).copied().chain([HEARTBEAT]).collect();
    let mut source = reader(server, database, &grants).await;
    let id = send(&mut boss, QUEUE, json!({}));
    let sql = |statement: &str| server.execute(database, statement).expect(statement);
    sql("ALTER TABLE gh_automation_jobs ENABLE ROW LEVEL SECURITY");
    let seen = found(&mut source, &id).await;
    assert!(seen.job.is_some());
    let Reading::Unknown(unknown) = seen.application else { panic!("hidden") };
    assert!(unknown.detail.contains("row-level security"), "{}", unknown.detail);
    sql("ALTER TABLE pgboss.job ENABLE ROW LEVEL SECURITY");
    let hidden = source.job(&JobId::parse(&id).expect("a UUID"), LIMIT).await;
    let hidden = hidden.expect_err("it may be there");
    assert!(hidden.detail.contains("row-level security"), "{}", hidden.detail);
}

#[tokio::test]
async fn a_migration_between_two_looks_is_noticed() {
    let (server, database) = (server(), "job_migrated");
    let mut boss = install(server, database, DOWNSTREAM);
    let mut source = app_source(server, database);
    let id = send(&mut boss, QUEUE, json!({}));
    assert_eq!(job(&mut source, &id).await.state, JobState::Created);
    boss.stop().expect("stop pg-boss");
    let _boss = crate::support::start(server, database, NEWEST);
    server.execute(database, "UPDATE pgboss.job SET blocked = true").expect("block it");
    assert!(job(&mut source, &id).await.blocked);
}

/// Dates that are none cost their own fields.
#[tokio::test]
async fn moments_that_are_none_are_left_out() {
    let (server, database) = (server(), "job_hostile");
    let mut boss = install(server, database, DOWNSTREAM);
    let mut source = app_source(server, database);
    let id = send(&mut boss, QUEUE, json!({}));
    take(&mut boss, QUEUE);
    server
        .execute(
            database,
            "UPDATE pgboss.job SET started_on = 'infinity', completed_on = '-infinity', \
             created_on = '0044-03-15 BC', retry_count = 2147483647",
        )
        .expect("hostile rows");
    server
        .execute(
            database,
            &format!(
                "INSERT INTO gh_automation_jobs (id, started_at, metadata) \
                 VALUES ('{APPLICATION}', 'infinity', '{{\"pgBossJobId\": \"{}\"}}'), \
                        ('{id}', NULL, '[]')",
                "-".repeat(36)
            ),
        )
        .expect("hostile rows");
    let row = job(&mut source, &id).await;
    assert_eq!((row.created, row.started, row.completed), (None, None, None));
    assert_eq!(row.retry_count, Some(2_147_483_647));
    // What is noted there is no id.
    assert!(found(&mut source, APPLICATION).await.job.is_none());
}
