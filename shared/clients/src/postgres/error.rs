//! What went wrong between us and the database, in words for the person who has to repair it.

use super::Database;
use fleet_protocol::reading::{Unknown, UnknownCause};
use rustls::CertificateError;
use std::io;
use std::time::Duration;
use tokio_postgres::error::{DbError, SqlState};

/// One failed step of a conversation with the database.
#[derive(Debug)]
pub enum Failure {
    /// The host name has no address.
    Lookup(io::Error),
    /// No TCP connection, the handshake broke off, or a working connection died.
    Network(io::Error),
    /// The server does not offer TLS.
    PlainText,
    /// TLS failed: most often the certificate did not prove who the server is.
    Tls(rustls::Error),
    /// The server answered with an error.
    Server(Box<DbError>),
    /// Nothing came back in time. What was being done, and the limit.
    TimedOut(&'static str, Duration),
    /// Anything else the driver says: a protocol error, an authentication method it does not have.
    Driver(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        if let Some(server) = error.as_db_error() {
            return Failure::Server(Box::new(server.clone()));
        }
        if error.to_string().contains("TLS handshake")
            && chain(&error).any(|cause| cause.to_string() == "server does not support TLS")
        {
            return Failure::PlainText;
        }
        let io = chain(&error).find_map(|cause| cause.downcast_ref::<io::Error>());
        match io {
            Some(io) => {
                match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    Some(tls) => Failure::Tls(tls.clone()),
                    None => Failure::Network(io::Error::new(io.kind(), io.to_string())),
                }
            }
            None if error.is_closed() => {
                Failure::Network(io::Error::new(io::ErrorKind::ConnectionAborted, "it was closed"))
            }
            None => Failure::Driver(error),
        }
    }
}

fn chain(
    error: &tokio_postgres::Error,
) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

impl Failure {
    /// The SQLSTATE, where the server answered with an error.
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Failure::Server(error) => Some(error.code()),
            _ => None,
        }
    }

    /// Whether the connection itself was lost, so that a new one may succeed at once.
    pub fn lost_connection(&self) -> bool {
        match self {
            Failure::Network(_) | Failure::TimedOut(..) => true,
            Failure::Server(error) => ends_session(error.code()),
            _ => false,
        }
    }

    /// This failure as the reason why a source is unknown. `database` gives the endpoint and takes
    /// the password out of the server's words.
    pub fn into_unknown(self, database: &Database) -> Unknown {
        let endpoint = database.url.endpoint();
        let (cause, what) = match self {
            Failure::Lookup(error) => (
                UnknownCause::Unreachable,
                format!("the host name in DATABASE_URL has no address ({error}); check it, and that this network can resolve it"),
            ),
            Failure::Network(error) if error.kind() == io::ErrorKind::ConnectionRefused => (
                UnknownCause::Unreachable,
                "connection refused; check the port, and that the server runs".to_owned(),
            ),
            Failure::Network(error) => {
                (UnknownCause::Unreachable, format!("the connection was lost ({error})"))
            }
            Failure::PlainText => (
                UnknownCause::Unreachable,
                "the server offers no TLS; switch it on there (ssl=on, or client_tls_sslmode=require in PgBouncer)".to_owned(),
            ),
            Failure::Tls(error) => {
                (UnknownCause::Unreachable, tls_words(&error, database.trust.name))
            }
            Failure::Server(error) => {
                let (cause, advice) = server_words(error.code());
                let message = database.url.scrub(error.message());
                (cause, format!("{message} (SQLSTATE {}){advice}", error.code().code()))
            }
            Failure::TimedOut(doing, limit) => {
                (UnknownCause::TimedOut, format!("no answer within {} ms while {doing}", limit.as_millis()))
            }
            Failure::Driver(error) => {
                let words: Vec<String> = std::iter::once(error.to_string())
                    .chain(chain(&error).map(ToString::to_string))
                    .collect();
                (UnknownCause::Unreachable, database.url.scrub(&words.join(": ")))
            }
        };
        Unknown { cause, detail: format!("Postgres at {endpoint}: {what}") }
    }
}

fn tls_words(error: &rustls::Error, trusted: &str) -> String {
    let rustls::Error::InvalidCertificate(reason) = error else {
        return format!("TLS failed: {error}");
    };
    match reason {
        // A bad signature is what an authority of the same name, but another key, looks like.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate was not issued by {trusted}; set DATABASE_CA to the database's own CA (PEM text or a path)"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired; renew it ({reason})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet; check both clocks ({reason})")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "its certificate is for another host name; use the name it was issued for ({reason})"
            )
        }
        other => format!("its certificate was refused: {other}"),
    }
}

/// Whether the server ends the session with this error.
fn ends_session(code: &SqlState) -> bool {
    let code = code.code();
    // 57P01-57P03 shutting down, crashed, starting up; 08 connection; 25P03, 57P05 idle for too
    // long.
    code.starts_with("57P") || code.starts_with("08") || code == "25P03"
}

fn server_words(code: &SqlState) -> (UnknownCause, &'static str) {
    match code.code() {
        "28P01" | "28000" => (
            UnknownCause::Unreachable,
            "; the user or the password in DATABASE_URL is not accepted",
        ),
        "3D000" => (UnknownCause::Missing, "; check the database name in DATABASE_URL"),
        "53300" => (UnknownCause::Unreachable, "; use the transaction pooler's port"),
        "57014" => (UnknownCause::TimedOut, "; the statement was cancelled at its time limit"),
        "55P03" => (UnknownCause::TimedOut, "; a migration or another lock holds the table"),
        "42501" => (UnknownCause::Failed, "; grant what docs/sql/role.sql grants"),
        _ if ends_session(code) => (UnknownCause::Unreachable, ""),
        _ => (UnknownCause::Failed, ""),
    }
}
