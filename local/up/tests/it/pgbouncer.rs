use fleet_local::pgbouncer::{Options, PgBouncer};
use fleet_local::postgres::{self, Postgres};

use crate::tls::{ask, connect};

#[tokio::test]
async fn many_clients_share_few_connections_over_tls() {
    let server = Postgres::start(postgres::Options::default()).unwrap();
    let pooler = PgBouncer::start(&server, Options { pool_size: 2, ..Options::default() }).unwrap();
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(connect(pooler.app_url(), pooler.ca_pem()).await.unwrap());
    }
    let mut backends = std::collections::BTreeSet::new();
    for client in &clients {
        backends.insert(ask(client, "SELECT pg_backend_pid()").await.unwrap());
    }
    assert!(backends.len() <= 2, "{backends:?}");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(ask(&clients[0], encrypted).await.unwrap(), "t", "on the server's side too");

    let refused = connect(pooler.app_url(), server.ca_pem()).await.unwrap_err();
    assert!(refused.contains("UnknownIssuer") || refused.contains("BadSignature"), "{refused}");
    let plain: tokio_postgres::Config =
        pooler.app_url().strip_suffix("?sslmode=verify-full").unwrap().parse().unwrap();
    assert!(plain.connect(tokio_postgres::NoTls).await.is_err());
}

#[tokio::test]
async fn a_role_that_a_test_made_gets_in() {
    let server = Postgres::start(postgres::Options::default()).unwrap();
    let pooler = PgBouncer::start(&server, Options::default()).unwrap();
    server.execute("fleet", "CREATE ROLE reader LOGIN PASSWORD 'r3ad'").unwrap();
    let client = connect(&pooler.url("reader", "r3ad", "fleet"), pooler.ca_pem()).await.unwrap();
    assert_eq!(ask(&client, "SELECT current_user").await.unwrap(), "reader");
    let wrong = connect(&pooler.url("reader", "no", "fleet"), pooler.ca_pem()).await.unwrap_err();
    assert!(wrong.contains("SASL authentication failed"), "{wrong}");
}

#[tokio::test]
async fn a_pooler_that_ends_takes_its_connections_along() {
    let server = Postgres::start(postgres::Options::default()).unwrap();
    let mut pooler = PgBouncer::start(&server, Options::default()).unwrap();
    let client = connect(pooler.app_url(), pooler.ca_pem()).await.unwrap();
    assert_eq!(ask(&client, "SELECT 1").await.unwrap(), "1");
    pooler.kill().unwrap();
    assert!(ask(&client, "SELECT 1").await.is_err());
    connect(&server.app_url(), server.ca_pem()).await.unwrap();
}
