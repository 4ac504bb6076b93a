//! What went wrong between us and the database, in words for the person who has to repair it.

use super::{Database, NoAddressAnswers};
use fleet_protocol::reading::{Unknown, UnknownCause};
use rustls::CertificateError;
use std::io;
use std::time::Duration;
use tokio_postgres::error::{DbError, SqlState};

/// One failed step of a conversation with the database.
#[derive(Debug)]
pub enum PostgresError {
    /// The host name has no address.
    Lookup(io::Error),
    /// No address of the host took a connection.
    NoAddressAnswers(NoAddressAnswers),
    /// The handshake broke off, or a working connection died.
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

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> PostgresError {
        if let Some(server) = error.as_db_error() {
            return PostgresError::Server(Box::new(server.clone()));
        }
        if error.to_string().contains("TLS handshake")
            && chain(&error).any(|cause| cause.to_string() == "server does not support TLS")
        {
            return PostgresError::PlainText;
        }
        let io = chain(&error).find_map(|cause| cause.downcast_ref::<io::Error>());
        match io {
            Some(io) => {
                match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    Some(tls) => PostgresError::Tls(tls.clone()),
                    None => PostgresError::Network(io::Error::new(io.kind(), io.to_string())),
                }
            }
            None if error.is_closed() => PostgresError::Network(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "it was closed",
            )),
            None => PostgresError::Driver(error),
        }
    }
}

fn chain(
    error: &tokio_postgres::Error,
) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

impl PostgresError {
    /// The SQLSTATE, where the server answered with an error.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            PostgresError::Server(error) => Some(error.code()),
            _ => None,
        }
    }

    /// Whether the connection itself was lost, so that a new one may succeed at once.
    #[must_use]
    pub fn lost_connection(&self) -> bool {
        match self {
            PostgresError::Network(_) | PostgresError::TimedOut(..) => true,
            PostgresError::Server(error) => ends_session(error.code()),
            _ => false,
        }
    }

    /// Whether something at the database's address answered. Otherwise it may well be there, and
    /// only this network does not reach it.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        match self {
            PostgresError::Lookup(_)
            | PostgresError::NoAddressAnswers(_)
            | PostgresError::Network(_)
            | PostgresError::TimedOut(..) => false,
            PostgresError::PlainText
            | PostgresError::Tls(_)
            | PostgresError::Server(_)
            | PostgresError::Driver(_) => true,
        }
    }

    /// Whether the server refused these credentials, or refuses everybody's for a while because of
    /// such attempts: each further one prolongs it.
    #[must_use]
    pub fn refused_credentials(&self) -> bool {
        match self {
            PostgresError::Server(error) => {
                matches!(error.code().code(), "28P01" | "28000")
                    || pooler_word(error.code(), error.message())
                        .is_some_and(|word| matches!(word, "ECIRCUITBREAKER" | "ENOTFOUND"))
            }
            _ => false,
        }
    }

    /// This failure as the reason why a source is unknown. `database` gives the endpoint and takes
    /// the password out of the server's words.
    pub fn into_unknown(self, database: &Database) -> Unknown {
        let endpoint = database.url.endpoint();
        let (cause, what) = match self {
            PostgresError::Lookup(error) => (
                UnknownCause::Unreachable,
                format!("the host name in DATABASE_URL has no address ({error}); check it, and that this network can resolve it"),
            ),
            PostgresError::NoAddressAnswers(addresses) => addresses_words(&addresses),
            PostgresError::Network(error) => {
                (UnknownCause::Unreachable, format!("the connection was lost ({error})"))
            }
            PostgresError::PlainText => (
                UnknownCause::Unreachable,
                "the server offers no TLS; switch it on there (ssl=on, or client_tls_sslmode=require in PgBouncer)".to_owned(),
            ),
            PostgresError::Tls(error) => {
                (UnknownCause::Unreachable, tls_words(&error, database.trust.name))
            }
            PostgresError::Server(error) => {
                let (cause, advice) = server_words(error.code(), error.message());
                let message = cut(&database.url.scrub(error.message()));
                (cause, format!("{message} (SQLSTATE {}){advice}", error.code().code()))
            }
            PostgresError::TimedOut(doing, limit) => {
                (UnknownCause::TimedOut, format!("no answer within {} ms while {doing}", limit.as_millis()))
            }
            PostgresError::Driver(error) => {
                let words: Vec<String> = std::iter::once(error.to_string())
                    .chain(chain(&error).map(ToString::to_string))
                    .collect();
                (UnknownCause::Unreachable, cut(&database.url.scrub(&words.join(": "))))
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

/// Addresses that are named in one message.
const NAMED: usize = 5;

fn addresses_words(addresses: &NoAddressAnswers) -> (UnknownCause, String) {
    let NoAddressAnswers { refused, silent, limit } = addresses;
    let silent = silent
        .iter()
        .map(|address| format!("{address} did not answer within {} ms", limit.as_millis()));
    let refused = refused.iter().map(|(address, error)| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {address}"),
        _ => format!("{address}: {error}"),
    });
    let mut words: Vec<String> = silent.chain(refused).collect();
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    if more > 0 {
        words.push(format!("and {more} more addresses"));
    }
    if words.is_empty() {
        words.push("the host name has no address".to_owned());
    }
    let cause = match addresses.silent.is_empty() {
        true => UnknownCause::Unreachable,
        false => UnknownCause::TimedOut,
    };
    let advice =
        "check the host and the port, that the server runs, and that this network reaches it";
    (cause, format!("{}; {advice}", words.join(", ")))
}

/// Bytes of the server's own words in one message.
const SERVER_WORDS: usize = 300;

fn cut(text: &str) -> String {
    match text.len() > SERVER_WORDS {
        true => format!("{}…", &text[..text.floor_char_boundary(SERVER_WORDS)]),
        false => text.to_owned(),
    }
}

/// The word in parentheses with which Supabase's pooler begins an error of its own. All of them
/// have the SQLSTATE of an internal error.
fn pooler_word<'a>(code: &SqlState, message: &'a str) -> Option<&'a str> {
    let word = message.trim_start().strip_prefix('(')?.split_once(')')?.0;
    (code.code() == "XX000" && word.starts_with('E')).then_some(word)
}

fn server_words(code: &SqlState, message: &str) -> (UnknownCause, &'static str) {
    if let Some(word) = pooler_word(code, message) {
        let advice = match word {
            "ECIRCUITBREAKER" => {
                "; Supabase's pooler refuses every connection for two minutes after too many wrong passwords: correct the password in DATABASE_URL, stop whatever else still uses the old one, and wait"
            }
            "ENOTFOUND" => {
                "; Supabase's pooler knows no such project: the user in DATABASE_URL must be USER.PROJECT_REF, and the host the pooler of the project's own region"
            }
            _ if word.starts_with("EMAXCONN") => {
                "; Supabase's pooler has no place for another client: use the transaction mode's port 6543 in DATABASE_URL, or raise the pool size"
            }
            _ => {
                "; the word in parentheses is Supabase's pooler's own, see its list of error codes"
            }
        };
        return (UnknownCause::Unreachable, advice);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_pooler_say_what_to_do() {
        let words = |message| server_words(&SqlState::INTERNAL_ERROR, message);
        for (message, says) in [
            (
                "(ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked",
                "two minutes",
            ),
            ("(ENOTFOUND) tenant/user postgres.nobody not found", "USER.PROJECT_REF"),
            ("(EMAXCONN) max client connections reached, limit: 200", "6543"),
            ("(EMAXCONNSESSION) max clients reached in session mode", "6543"),
        ] {
            let (cause, advice) = words(message);
            assert_eq!(cause, UnknownCause::Unreachable, "{message}");
            assert!(advice.contains(says), "{message}: {advice}");
        }
        // An internal error of Postgres itself is none of these.
        assert_eq!(words("cache lookup failed for type 1"), (UnknownCause::Failed, ""));
        let other = server_words(&SqlState::UNDEFINED_TABLE, "(ENOTFOUND)");
        assert_eq!(other, (UnknownCause::Failed, ""));
    }

    #[test]
    fn long_words_of_the_server_are_cut() {
        assert_eq!(cut("short"), "short");
        assert!(cut(&"ä".repeat(60_000_000)).len() < 310);
    }
}
