//! A server that has not proved who it is is refused, and the message says what to do.

use crate::support::{DOWNSTREAM, install, server, snapshot, source};
use fleet_local::certs::other_ca_pem;
use fleet_local::postgres::{Options, Postgres, Tls};
use fleet_protocol::reading::UnknownCause;

fn start(tls: Tls) -> Postgres {
    Postgres::start(Options { tls, ..Options::default() }).expect("start PostgreSQL")
}

/// That `url` is refused as unreachable, in words that hold all of `words` and not the password.
async fn refused(url: &str, ca: Option<&str>, words: &[&str]) {
    let unknown = snapshot(&mut source(url, ca)).await.expect_err("refused");
    assert_eq!(unknown.cause, UnknownCause::Unreachable, "{}", unknown.detail);
    for word in words {
        assert!(unknown.detail.contains(word), "{word:?} is not in: {}", unknown.detail);
    }
    let password = url.split(['/', ':', '@']).nth(4).expect("a password in the URL");
    assert!(!unknown.detail.contains(password), "{}", unknown.detail);
}

#[tokio::test]
async fn another_authority() {
    let other = other_ca_pem().expect("a certificate");
    let words = ["not issued by the authority in DATABASE_CA", "set DATABASE_CA"];
    refused(&server().app_url(), Some(&other), &words).await;
    // Without a configured authority, the public ones are believed; they did not sign it either.
    refused(&server().app_url(), None, &["public web authority", "set DATABASE_CA"]).await;
}

#[tokio::test]
async fn an_expired_certificate() {
    let server = start(Tls::Expired);
    refused(&server.app_url(), Some(server.ca_pem()), &["has expired"]).await;
}

#[tokio::test]
async fn a_certificate_for_another_host() {
    let server = start(Tls::WrongName);
    refused(&server.app_url(), Some(server.ca_pem()), &["another host name"]).await;
}

#[tokio::test]
async fn a_server_without_tls() {
    let server = start(Tls::Off);
    refused(&server.app_url(), Some(server.ca_pem()), &["offers no TLS"]).await;
}

#[tokio::test]
async fn nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let url = format!("postgres://u:s3cretword@127.0.0.1:{port}/d");
    refused(&url, None, &["connection refused", &port.to_string()]).await;
}

#[tokio::test]
async fn a_host_without_address() {
    let words = ["no address", "nowhere.invalid:5432"];
    refused("postgres://u:s3cretword@nowhere.invalid/d", None, &words).await;
}

#[tokio::test]
async fn a_password_that_is_not_accepted() {
    let url = server().url("app", "s3cretword", "postgres");
    refused(&url, Some(server().ca_pem()), &["not accepted", "28P01"]).await;
}

#[tokio::test]
async fn a_database_that_does_not_exist() {
    let url = server().app_url_in("nowhere");
    let unknown = snapshot(&mut source(&url, Some(server().ca_pem()))).await.expect_err("missing");
    assert_eq!(unknown.cause, UnknownCause::Missing);
}

#[tokio::test]
async fn the_authority_may_be_a_file_or_in_the_url() {
    let database = "authorities";
    let _boss = install(server(), database, DOWNSTREAM);
    let url = server().app_url_in(database);
    let file = server().ca_file();
    let file = file.to_str().expect("a path");
    snapshot(&mut source(&url, Some(file))).await.expect("DATABASE_CA as a path");
    let url = format!("{url}&sslrootcert={file}&pgbouncer=true&connection_limit=1");
    snapshot(&mut source(&url, None)).await.expect("sslrootcert");
}
