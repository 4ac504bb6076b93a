//! The documented role suffices, and cannot read what the applicants sent.

use crate::support::{
    DOWNSTREAM, NEWEST, QUEUE, app_source, documented, install, server, snapshot, source,
};
use fleet_local::postgres::Postgres;
use fleet_protocol::reading::{Reading, UnknownCause};
use serde_json::json;
use std::collections::BTreeMap;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

const ROLE_SQL: &str = include_str!("../../../docs/sql/role.sql");
const ROW_SECURITY_SQL: &str = include_str!("../../../docs/sql/row-security.sql");

/// The grants of the documentation for one generation of pg-boss; the role itself is made by the
/// caller.
async fn check_role(version: &str, grants: &[&str]) {
    let server = server();
    let name = format!("reader_{}", version.replace('.', "_"));
    let mut boss = install(server, &name, version);
    boss.insert(QUEUE, 3, json!({ "email": "someone@example.com" }), json!({})).expect("insert");

    let create = documented(ROLE_SQL, "CREATE ROLE fleet_reader");
    let registry = documented(ROLE_SQL, "GRANT SELECT (worker_id");
    let schema = documented(ROLE_SQL, "GRANT USAGE ON SCHEMA");
    let version_grant = documented(ROLE_SQL, "GRANT SELECT (version)");
    let mut statements = vec![create, schema, version_grant, registry];
    statements.extend(grants.iter().map(|grant| documented(ROLE_SQL, grant)));
    for statement in statements {
        let statement = statement.replace("fleet_reader", &name).replace("change-me", "pw");
        server.execute(&name, &statement).expect(&statement);
    }

    let url = server.url(&name, "pw", &name);
    let seen = snapshot(&mut source(&url, Some(server.ca_pem()))).await.expect("a snapshot");
    assert_eq!(seen.general.ready, 3);
    assert!(seen.general.active.known().is_some());
    assert_eq!(seen.workers, Reading::Known(Vec::new()));

    let client = server.connect(&name).await.expect("connect");
    client.batch_execute(&format!("SET ROLE {name}")).await.expect("become the role");
    for private in ["data", "output", "*"] {
        let denied = client.batch_execute(&format!("SELECT {private} FROM pgboss.job")).await;
        let code = denied.expect_err("denied").code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{private}");
    }
}

#[tokio::test]
async fn on_pgboss_9() {
    let grants =
        ["GRANT SELECT (id, name, state, startafter", "GRANT SELECT (name) ON pgboss.archive"];
    check_role("9.0.3", &grants).await;
}

#[tokio::test]
async fn on_pgboss_10() {
    let grants = [
        "GRANT SELECT (id, name, state, start_after, started_on, expire_in,",
        "GRANT SELECT (name, policy) ON pgboss.queue",
    ];
    check_role("10.4.2", &grants).await;
}

const SECONDS: &str = "GRANT SELECT (id, name, state, start_after, started_on, expire_seconds,";
const QUEUES: &str = "GRANT SELECT (name, policy) ON pgboss.queue";
const HEARTBEAT: &str = "GRANT SELECT (heartbeat_on, heartbeat_seconds)";
const BLOCKED: &str = "GRANT SELECT (blocked)";

#[tokio::test]
async fn on_pgboss_12() {
    check_role(DOWNSTREAM, &[SECONDS, QUEUES, HEARTBEAT]).await;
}

#[tokio::test]
async fn on_the_newest() {
    check_role(NEWEST, &[SECONDS, QUEUES, HEARTBEAT, BLOCKED]).await;
}

#[tokio::test]
async fn a_missing_grant_is_named() {
    let (server, database) = (server(), "ungranted");
    let _boss = install(server, database, NEWEST);
    server
        .execute(
            database,
            "CREATE ROLE halfway LOGIN PASSWORD 'pw';
             GRANT USAGE ON SCHEMA pgboss TO halfway;
             GRANT SELECT ON pgboss.version, pgboss.queue TO halfway;
             GRANT SELECT (name, state, start_after, started_on, expire_seconds) ON pgboss.job TO halfway;
             GRANT SELECT (heartbeat_on, heartbeat_seconds) ON pgboss.job TO halfway",
        )
        .expect("grants");
    let url = server.url("halfway", "pw", database);
    let mut source = source(&url, Some(server.ca_pem()));
    let denied = snapshot(&mut source).await.expect_err("blocked is not granted");
    assert_eq!(denied.cause, UnknownCause::Failed);
    assert!(denied.detail.contains("GRANT SELECT (blocked)"), "{}", denied.detail);

    // Without the registry's grant the queue is read, and no worker is taken for idle.
    server.execute(database, "GRANT SELECT (blocked) ON pgboss.job TO halfway").expect("grant");
    let seen = snapshot(&mut source).await.expect("a snapshot");
    match seen.workers {
        Reading::Unknown(reason) => assert!(reason.detail.contains("GRANT SELECT (worker_id")),
        Reading::Known(rows) => panic!("not granted, yet {rows:?}"),
    }
}

/// The address of the database for a new role that may read every table.
fn reader(server: &Postgres, database: &str, role: &str) -> String {
    server
        .execute(
            database,
            &format!(
                "CREATE ROLE {role} LOGIN PASSWORD 'pw';
                 GRANT USAGE ON SCHEMA pgboss TO {role};
                 GRANT SELECT ON ALL TABLES IN SCHEMA pgboss TO {role};
                 GRANT SELECT ON gh_worker_registry TO {role}"
            ),
        )
        .expect("grants");
    server.url(role, "pw", database)
}

/// What cannot be read any more is left out at the next reading, not when the tables are looked up
/// again.
#[tokio::test]
async fn a_registry_whose_grant_is_taken_back_does_not_stop_the_queue() {
    let (server, database) = (server(), "revoked");
    let mut boss = install(server, database, DOWNSTREAM);
    boss.insert(QUEUE, 3, json!({}), json!({})).expect("insert");
    let url = reader(server, database, "revoked");
    let mut warm = source(&url, Some(server.ca_pem()));
    let seen = snapshot(&mut warm).await.expect("a snapshot");
    assert_eq!(seen.workers, Reading::Known(Vec::new()));
    for (take, give, says) in [
        (
            "REVOKE SELECT ON gh_worker_registry FROM revoked",
            "GRANT SELECT ON gh_worker_registry TO revoked",
            "GRANT SELECT (",
        ),
        (
            "ALTER TABLE gh_worker_registry ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE gh_worker_registry DISABLE ROW LEVEL SECURITY",
            "CREATE POLICY",
        ),
    ] {
        server.execute(database, take).expect(take);
        let seen = snapshot(&mut warm).await.expect("the queue is read");
        assert_eq!(seen.general.ready, 3);
        match seen.workers {
            Reading::Unknown(reason) => assert!(reason.detail.contains(says), "{}", reason.detail),
            Reading::Known(rows) => panic!("{take}, yet {rows:?}"),
        }
        server.execute(database, give).expect(give);
        warm = source(&url, Some(server.ca_pem()));
        snapshot(&mut warm).await.expect("readable again");
    }
}

/// Row-level security turns a table into an empty one, without an error. That must not read as an
/// empty queue.
#[tokio::test]
async fn rows_hidden_by_policies_are_not_an_empty_queue() {
    let (server, database) = (server(), "hidden");
    let mut boss = install(server, database, DOWNSTREAM);
    boss.insert(QUEUE, 3, json!({}), json!({})).expect("insert");
    let url = reader(server, database, "outsider");
    let mut warm = source(&url, Some(server.ca_pem()));
    assert_eq!(snapshot(&mut warm).await.expect("a snapshot").general.ready, 3);

    server
        .execute(database, "ALTER TABLE gh_worker_registry ENABLE ROW LEVEL SECURITY")
        .expect("hide the registry");
    let mut fresh = source(&url, Some(server.ca_pem()));
    match snapshot(&mut fresh).await.expect("a snapshot").workers {
        Reading::Unknown(reason) => assert!(reason.detail.contains("CREATE POLICY")),
        Reading::Known(rows) => panic!("hidden, yet {rows:?}"),
    }
    server
        .execute(
            database,
            "ALTER TABLE gh_worker_registry DISABLE ROW LEVEL SECURITY; ALTER TABLE pgboss.job ENABLE ROW LEVEL SECURITY",
        )
        .expect("hide the jobs");
    // A source that looks the tables up finds out, and so does one that looked before.
    for source in [&mut fresh, &mut warm] {
        let hidden = snapshot(source).await.expect_err("hidden");
        assert_eq!(hidden.cause, UnknownCause::Failed, "{}", hidden.detail);
        assert!(hidden.detail.contains("row-level security"), "{}", hidden.detail);
    }
    // The owner is not subject to them.
    let seen = snapshot(&mut app_source(server, database)).await.expect("a snapshot");
    assert_eq!(seen.general.ready, 3);
}

/// What the documented check says for `role`, by table.
async fn needed(server: &Postgres, database: &str, role: &str) -> BTreeMap<String, String> {
    let client = server.connect(database).await.expect("connect");
    let check = ROW_SECURITY_SQL.replace("fleet_reader", role);
    let rows = client.simple_query(&check).await.expect("the check runs");
    let rows = rows.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let text = |row: &SimpleQueryRow, n: usize| row.get(n).expect("a value").to_owned();
    rows.map(|row| (text(row, 0), text(row, 1))).collect()
}

/// Supabase's habit: row-level security on every table. What the check tells to do is enough, and
/// no superuser is needed for it.
#[tokio::test]
async fn where_row_security_is_on_the_policies_that_the_check_names_suffice() {
    let (server, database) = (server(), "policies");
    let mut boss = install(server, database, NEWEST);
    boss.insert(QUEUE, 3, json!({}), json!({})).expect("insert");
    server
        .execute(database, "INSERT INTO gh_worker_registry (worker_id) VALUES ('w')")
        .expect("a row");
    let url = reader(server, database, "policed");
    let tables = [
        "gh_automation_jobs",
        "gh_worker_registry",
        "pgboss.job",
        "pgboss.queue",
        "pgboss.version",
    ]
    .map(str::to_owned);
    let checked: Vec<String> = needed(server, database, "policed").await.into_keys().collect();
    assert_eq!(checked, tables);
    for (_, says) in needed(server, database, "policed").await {
        assert!(says.starts_with("nothing"), "{says}");
    }
    for table in &tables {
        server
            .execute(database, &format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
            .expect("enable");
    }
    let mut warm = source(&url, Some(server.ca_pem()));
    snapshot(&mut warm).await.expect_err("hidden");
    for (table, says) in needed(server, database, "policed").await {
        assert!(says.starts_with("CREATE POLICY"), "{table}: {says}");
        // As the tables' owner, which is no superuser.
        server.execute(database, &format!("SET ROLE app; {says}")).expect(&says);
    }
    let seen = snapshot(&mut warm).await.expect("a snapshot");
    assert_eq!(seen.general.ready, 3);
    assert_eq!(seen.workers.known().expect("the registry").len(), 1);
    for (_, says) in needed(server, database, "policed").await {
        assert!(says.starts_with("nothing"), "{says}");
    }

    // A policy that shows a part is none, and neither is one beside a restrictive one; both are
    // noticed by a source that looked the tables up before.
    for (change, back) in [
        (
            "ALTER POLICY fleet_reads ON pgboss.job USING (state = 'completed')",
            "ALTER POLICY fleet_reads ON pgboss.job USING (true)",
        ),
        (
            "CREATE POLICY fewer ON pgboss.job AS RESTRICTIVE FOR SELECT USING (priority > 5)",
            "DROP POLICY fewer ON pgboss.job",
        ),
        (
            "DROP POLICY fleet_reads ON pgboss.job",
            "CREATE POLICY fleet_reads ON pgboss.job FOR SELECT TO policed USING (true)",
        ),
    ] {
        server.execute(database, change).expect(change);
        let hidden = snapshot(&mut warm).await.expect_err(change);
        assert!(hidden.detail.contains("row-level security"), "{change}: {}", hidden.detail);
        let says = &needed(server, database, "policed").await["pgboss.job"];
        assert!(!says.starts_with("nothing"), "{change}: {says}");
        server.execute(database, back).expect(back);
        snapshot(&mut warm).await.expect(back);
    }
}
