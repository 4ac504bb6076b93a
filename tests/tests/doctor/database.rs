//! The database through the pooler: certificate, password, rights, pg-boss.

use crate::world::*;
use fleet_local::registry;
use serde_json::json;

/// The fleet's secret with this address.
fn with_url(world: &World, url: &str) {
    let secret = json!({ "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": OPERATOR });
    world.double.put_secret(FLEET_SECRET, &secret.to_string()).expect("kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_certificate_are_named() {
    let world = World::start().await;
    let found = world.doctor_with(&[], &[("GHFLEET_DATABASE_CA", "")]).await;
    let put = "aws secretsmanager put-secret-value --secret-id ghosthands/test/fleet";
    found.names("database", "connection", "certificate was not issued by", put);
    with_url(&world, &world.url.replace(password(&world.url), "wrong"));
    let found = world.doctor().await;
    assert_eq!(found.code, 1);
    found.names("database", "connection", "SQLSTATE", put);
    found.is("not_checked", "database", "rights", "let nobody in", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_the_environment_wins_and_one_that_cannot_be_used_says_why() {
    let world = World::start().await;
    let own = ("GHFLEET_DATABASE_URL", "mysql://me@db/x");
    let found = world.doctor_with(&[], &[own]).await;
    found.names("database", "connection", "the address cannot be used", "put-secret-value");
    let (state, _, _) = found.of("clocks", "database");
    assert_eq!(state, "not_checked");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_and_row_level_security_are_named() {
    let world = World::start().await;
    let role = format!("reader_{}", world.database);
    registry::create_reader(&world.postgres, &world.database, &role, "a-readers-word")
        .expect("the role is created");
    let url = world.postgres.url(&role, "a-readers-word", &world.database);
    // The pooler has no such role in its list, so this one asks the server itself.
    let ca = ("GHFLEET_DATABASE_CA", world.postgres.ca_pem());
    let own = ("GHFLEET_DATABASE_URL", url.as_str());
    let found = world.doctor_with(&[], &[ca, own]).await;
    assert_eq!(found.code, 0, "{:#?}", found.troubles());

    world.sql("ALTER TABLE pgboss.job ENABLE ROW LEVEL SECURITY");
    let found = world.doctor_with(&[], &[ca, own]).await;
    found.names("database", "rights", "row-level security may hide rows", "docs/sql/role.sql");
    world.sql("ALTER TABLE pgboss.job DISABLE ROW LEVEL SECURITY");
    world.sql(&format!("REVOKE SELECT ON gh_worker_registry FROM {role}"));
    let found = world.doctor_with(&[], &[ca, own]).await;
    found.names("database", "worker registry", "may not read", "docs/sql/role.sql");
    found.is("ok", "database", "rights", "", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pgboss_that_nobody_tested_with_is_named() {
    let world = World::start().await;
    world.sql("UPDATE pgboss.version SET version = 99");
    let found = world.doctor().await;
    found.is("warning", "database", "pg-boss", "schema 99 is newer", "");
}
