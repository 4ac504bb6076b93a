//! The documented role suffices, and cannot read what the applicants sent.

use crate::support::{
    DOWNSTREAM, NEWEST, QUEUE, app_source, documented, install, server, snapshot, source,
};
use fleet_local::postgres::Postgres;
use fleet_protocol::reading::{Reading, UnknownCause};
use serde_json::json;

const ROLE_SQL: &str = include_str!("../../../docs/sql/role.sql");

/// The grants of the documentation for one generation of pg-boss; the role itself is made by the
/// caller.
async fn check_role(version: &str, grants: &[&str]) {
    let server = server();
    let name = format!("reader_{}", version.replace('.', "_"));
    let mut boss = install(server, &name, version);
    boss.insert(QUEUE, 3, json!({ "email": "someone@example.com" }), json!({})).expect("insert");

    let create = documented(ROLE_SQL, "CREATE ROLE fleet_reader");
    let registry = ROLE_SQL
        .split_once("GRANT SELECT (worker_id")
        .map(|(_, rest)| format!("GRANT SELECT (worker_id{rest}"))
        .expect("the registry's grant");
    let schema = documented(ROLE_SQL, "GRANT USAGE ON SCHEMA");
    let version_grant = documented(ROLE_SQL, "GRANT SELECT (version)");
    let mut statements = vec![create, schema, version_grant, &registry];
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
    let grants = ["GRANT SELECT (name, state, startafter", "GRANT SELECT (name) ON pgboss.archive"];
    check_role("9.0.3", &grants).await;
}

#[tokio::test]
async fn on_pgboss_10() {
    let grants = [
        "GRANT SELECT (name, state, start_after, started_on, expire_in)",
        "GRANT SELECT (name) ON pgboss.queue",
    ];
    check_role("10.4.2", &grants).await;
}

const SECONDS: &str = "GRANT SELECT (name, state, start_after, started_on, expire_seconds)";
const QUEUES: &str = "GRANT SELECT (name) ON pgboss.queue";
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
            "BYPASSRLS",
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
        Reading::Unknown(reason) => assert!(reason.detail.contains("BYPASSRLS")),
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
