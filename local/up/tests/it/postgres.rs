use std::path::Path;
use std::time::Duration;

use fleet_local::certs::other_ca_pem;
use fleet_local::postgres::{Build, Options, Postgres, Tls};
use tokio::time::timeout;

use crate::tls::{ask, connect};

#[tokio::test]
async fn a_server_takes_verified_tls_and_nothing_less() {
    let server = Postgres::start(Options::default()).unwrap();
    let client = connect(&server.app_url(), server.ca_pem()).await.unwrap();
    let who = ask(&client, "SELECT current_user || ' ' || current_database()").await.unwrap();
    assert_eq!(who, "app fleet");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(ask(&client, encrypted).await.unwrap(), "t");
    let superuser = connect(&server.superuser_url(), server.ca_pem()).await.unwrap();
    assert_eq!(ask(&superuser, "SHOW is_superuser").await.unwrap(), "on");
    assert!(ask(&superuser, "SHOW server_version").await.unwrap().starts_with(server.version()));

    let other = connect(&server.app_url(), &other_ca_pem().unwrap()).await.unwrap_err();
    assert!(other.contains("UnknownIssuer") || other.contains("BadSignature"), "{other}");
    let plain: tokio_postgres::Config =
        server.app_url().strip_suffix("?sslmode=verify-full").unwrap().parse().unwrap();
    let refused = plain.connect(tokio_postgres::NoTls).await.err().unwrap();
    let refused = refused.as_db_error().unwrap().message().to_owned();
    assert!(refused.contains("no encryption"), "{refused}");
    let wrong = server.url("app", "wrong", "fleet");
    assert!(connect(&wrong, server.ca_pem()).await.unwrap_err().contains("password"), "{wrong}");
}

#[tokio::test]
async fn a_flawed_certificate_is_refused_for_its_flaw() {
    for (tls, reason) in [
        (Tls::Expired, "expired"),
        (Tls::WrongName, "not valid for name"),
        (Tls::Off, "server does not support TLS"),
    ] {
        let server = Postgres::start(Options { tls, ..Options::default() }).unwrap();
        let refused = connect(&server.app_url(), server.ca_pem()).await.unwrap_err();
        assert!(refused.contains(reason), "{tls:?}: {refused}");
    }
}

#[tokio::test]
async fn a_server_survives_every_kind_of_end() {
    let mut server = Postgres::start(Options::default()).unwrap();
    server.execute("fleet", "CREATE TABLE kept AS SELECT 7 AS n").unwrap();
    let port = server.port();
    for end in [Postgres::stop, Postgres::stop_immediate, Postgres::kill] {
        let client = connect(&server.app_url(), server.ca_pem()).await.unwrap();
        end(&mut server).unwrap();
        assert!(ask(&client, "SELECT 1").await.is_err(), "its connections end with it");
        assert!(connect(&server.app_url(), server.ca_pem()).await.is_err());
        server.restart().unwrap();
        assert_eq!(server.port(), port);
        let client = server.connect("fleet").await.unwrap();
        // The table was never flushed by us; the write-ahead log brings it back.
        assert_eq!(ask(&client, "SELECT n FROM kept").await.unwrap(), "7");
    }
}

#[tokio::test]
async fn a_paused_server_accepts_and_does_not_answer() {
    let server = Postgres::start(Options::default()).unwrap();
    let client = connect(&server.app_url(), server.ca_pem()).await.unwrap();
    server.pause().unwrap();
    let open = ask(&client, "SELECT 'late'");
    tokio::pin!(open);
    assert!(timeout(Duration::from_millis(300), &mut open).await.is_err());
    std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    server.resume().unwrap();
    assert_eq!(timeout(Duration::from_secs(60), open).await.unwrap().unwrap(), "late");
}

#[tokio::test]
async fn databases_are_separate_and_settings_arrive() {
    let settings = vec![("work_mem".to_owned(), "7MB".to_owned())];
    let server = Postgres::start(Options { settings, ..Options::default() }).unwrap();
    server.create_database("one").unwrap();
    server.execute("one", "CREATE TABLE only_here ()").unwrap();
    let error = server.execute("fleet", "SELECT FROM only_here").unwrap_err().to_string();
    assert!(error.contains("does not exist (SQLSTATE 42P01)"), "{error}");
    let client = connect(&server.app_url_in("one"), server.ca_pem()).await.unwrap();
    assert_eq!(ask(&client, "SHOW work_mem").await.unwrap(), "7MB");
}

#[test]
fn nothing_is_left_after_a_panic() {
    let seen = std::sync::Mutex::new((String::new(), 0));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let server = Postgres::start(Options::default()).unwrap();
        let folder = server.ca_file().parent().unwrap().display().to_string();
        *seen.lock().unwrap() = (folder, server.port());
        std::panic::resume_unwind(Box::new("a test failed"));
    }));
    assert!(outcome.is_err());
    let (folder, port) = seen.into_inner().unwrap();
    assert!(!Path::new(&folder).exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn the_build_from_npm_is_another_version() {
    let server = Postgres::start(Options { build: Build::Npm, ..Options::default() }).unwrap();
    assert!(server.version().starts_with("17."), "{}", server.version());
    let client = connect(&server.app_url(), server.ca_pem()).await.unwrap();
    assert_eq!(ask(&client, "SELECT 1").await.unwrap(), "1");
}
