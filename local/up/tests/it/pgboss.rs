use std::collections::BTreeMap;

use fleet_local::postgres::{Options, Postgres};
use fleet_local::{pgboss, registry};
use serde_json::json;

use crate::tls::{ask, connect};

const QUEUE: &str = "gh_apply_job";

/// State and number of jobs, counted by us.
async fn states(server: &Postgres, database: &str) -> BTreeMap<String, i64> {
    let client = server.connect(database).await.unwrap();
    let sql = "SELECT state::text, count(*) FROM pgboss.job WHERE name = $1 GROUP BY 1";
    let rows = client.query(sql, &[&QUEUE]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn counts(expected: &[(&str, i64)]) -> BTreeMap<String, i64> {
    expected.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect()
}

#[tokio::test]
async fn every_major_version_does_what_it_is_told() {
    let server = Postgres::start(Options::default()).unwrap();
    for (version, schema) in [
        ("9.0.3", 20),
        ("10.4.2", 24),
        ("11.1.2", 26),
        (pgboss::DEFAULT_VERSION, 30),
        ("12.38.0", 46),
    ] {
        let database = format!("v{}", version.replace('.', "_"));
        server.create_database(&database).unwrap();
        let package = pgboss::install(version).unwrap();
        let mut boss = package.start(&server.app_url_in(&database), &server.ca_file()).unwrap();
        assert_eq!(boss.schema_version().unwrap(), schema, "{version}");

        boss.create_queue(QUEUE, json!({})).unwrap();
        let options = json!({ "retryLimit": 1, "expireInSeconds": 14_400 });
        for n in 0..6 {
            assert!(boss.send(QUEUE, json!({ "n": n }), options.clone()).unwrap().is_some());
        }
        boss.send(QUEUE, json!({}), json!({ "startAfter": 3600 })).unwrap();
        boss.insert(QUEUE, 3, json!({}), json!({ "startAfter": "2099-01-01T00:00:00Z" })).unwrap();
        assert_eq!(states(&server, &database).await, counts(&[("created", 10)]), "{version}");

        let claimed = boss.fetch(QUEUE, 5).unwrap();
        assert_eq!(claimed.len(), 5, "{version}");
        boss.complete(QUEUE, &claimed[..2]).unwrap();
        boss.fail(QUEUE, &claimed[2..3]).unwrap();
        boss.cancel(QUEUE, &claimed[3..4]).unwrap();
        let expected =
            [("created", 5), ("active", 1), ("completed", 2), ("retry", 1), ("cancelled", 1)];
        assert_eq!(states(&server, &database).await, counts(&expected), "{version}");

        // The one that was never started is left, and the one whose retry is due at once.
        let rest = boss.fetch(QUEUE, 10).unwrap();
        assert_eq!(rest.len(), 2, "{version}");
        boss.fail(QUEUE, &rest).unwrap();
        boss.stop().unwrap();
    }
}

#[test]
fn what_the_package_refuses_is_an_error_with_its_words() {
    let server = Postgres::start(Options::default()).unwrap();
    let package = pgboss::install(pgboss::DEFAULT_VERSION).unwrap();
    let mut boss = package.start(&server.app_url(), &server.ca_file()).unwrap();
    let error = boss.send("nowhere", json!({}), json!({})).unwrap_err().to_string();
    assert!(error.contains("pg-boss: send:") && error.contains("nowhere"), "{error}");
    let other = server.ca_file().with_file_name("other.pem");
    std::fs::write(&other, fleet_local::certs::other_ca_pem().unwrap()).unwrap();
    let error = package.start(&server.app_url(), &other).unwrap_err().to_string();
    assert!(error.contains("pg-boss: start:"), "{error}");
}

#[tokio::test]
async fn the_registry_has_the_origin_tables() {
    let server = Postgres::start(Options::default()).unwrap();
    registry::install(&server, "fleet").unwrap();
    let client = server.connect("fleet").await.unwrap();
    let insert =
        "INSERT INTO gh_worker_registry (worker_id, current_job_id) VALUES ('w', $1::text::uuid)";
    let unknown = "00000000-0000-0000-0000-000000000000";
    let error = client.execute(insert, &[&unknown]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23503", "the job must exist");
    let none: Option<&str> = None;
    client.execute(insert, &[&none]).await.unwrap();
    let row = client
        .query_one("SELECT status, current_job_id IS NULL FROM gh_worker_registry", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, String>(0).as_str(), row.get::<_, bool>(1)), ("active", true));
    let error = client.execute("UPDATE gh_worker_registry SET status = 'idle'", &[]).await;
    assert_eq!(error.unwrap_err().code().unwrap().code(), "23514", "only the three states");
}

#[tokio::test]
async fn a_reader_sees_counts_and_no_payloads() {
    let server = Postgres::start(Options::default()).unwrap();
    for version in ["9.0.3", pgboss::DEFAULT_VERSION] {
        let database = format!("v{}", version.replace('.', "_"));
        server.create_database(&database).unwrap();
        let package = pgboss::install(version).unwrap();
        let mut boss = package.start(&server.app_url_in(&database), &server.ca_file()).unwrap();
        boss.create_queue(QUEUE, json!({})).unwrap();
        registry::install(&server, &database).unwrap();
        registry::create_reader(&server, &database, &format!("r_{database}"), "r3ad").unwrap();
        let url = server.url(&format!("r_{database}"), "r3ad", &database);
        let client = connect(&url, server.ca_pem()).await.unwrap();
        ask(&client, "SELECT count(*) FROM pgboss.job WHERE state < 'active'").await.unwrap();
        ask(&client, "SELECT count(*) FROM gh_worker_registry").await.unwrap();
        for forbidden in
            ["SELECT max(data::text) FROM pgboss.job", "DELETE FROM gh_worker_registry"]
        {
            assert!(ask(&client, forbidden).await.unwrap_err().contains("db error"), "{forbidden}");
        }
    }
}
