//! Database URLs as Supabase, Prisma and libpq write them.

use super::url_parameters;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::time::Duration;
use tokio_postgres::config::ChannelBinding;

const DEFAULT_PORT: u16 = 5432;

/// What is wrong with a database URL. Every message is made of fixed words only, so that no piece
/// of the URL, and with it no piece of a password in an unexpected place, can ever be printed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    #[error("must begin with postgres:// or postgresql://, without quotation marks around it")]
    Scheme,
    #[error("holds a #, which ends a URL for some clients; write it as %23")]
    Hash,
    #[error("has more than one @ before the host; write an @ in the user or password as %40")]
    SecondAt,
    #[error(
        "names no user before the host (postgres://user:password@host/database); a / or ? in the password is written %2F or %3F"
    )]
    NoUser,
    #[error("has a {0} with an invalid percent sequence; write a % itself as %25")]
    Encoding(&'static str),
    #[error("names no valid host: one DNS name or IP address is needed, an IPv6 address in [ ]")]
    Host,
    #[error("names more than one host; name the one that accepts writes, or the pooler")]
    ManyHosts,
    #[error("names a Unix socket as host; TLS needs a DNS name or an IP address")]
    Socket,
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    #[error("has a / in the database name; write it as %2F")]
    DatabaseName,
    #[error("sets {0} twice; keep one")]
    Twice(&'static str),
    #[error("sets {name}: {reason}")]
    Parameter { name: &'static str, reason: &'static str },
    #[error(
        "has a parameter this program does not know as number {position} after the ?; remove it (an & or ? in the password is written %26 or %3F)"
    )]
    UnknownParameter { position: usize },
}

/// A parsed database URL. Its `Debug` shows the host and the port, nothing else.
#[derive(Clone)]
pub struct DatabaseUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<SecretString>,
    /// The user's name where the URL names none, as in libpq.
    pub(super) database: Option<String>,
    pub(super) settings: Settings,
}

/// What the parameters after the `?` ask for.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) application_name: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) channel_binding: Option<ChannelBinding>,
    pub(super) root_certificate: Option<String>,
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl DatabaseUrl {
    /// Reads a URL; on failure every problem in it at once.
    ///
    /// Each parameter is honoured, or satisfied by the way this program works anyway, or rejected
    /// with the reason: none is dropped in silence.
    ///
    /// # Errors
    /// Every problem in it.
    pub fn parse(url: &SecretString) -> Result<DatabaseUrl, Vec<UrlProblem>> {
        // A secret pasted into a console often ends in a newline.
        let text = url.expose_secret().trim();
        let Some(rest) =
            text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
        else {
            return Err(vec![UrlProblem::Scheme]);
        };
        let mut problems = Vec::new();
        if rest.contains('#') {
            problems.push(UrlProblem::Hash);
        }
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));

        let (user, password) = credentials(authority, &mut problems);
        let (host, port) = address(authority, &mut problems);
        if path.contains('/') {
            problems.push(UrlProblem::DatabaseName);
        }
        let database = decode(path, "database name", &mut problems).filter(|name| !name.is_empty());
        let settings = url_parameters::read(query, &mut problems);

        match (user, host, port) {
            (Some(user), Some(host), Some(port)) if problems.is_empty() => {
                Ok(DatabaseUrl { host, port, user, password, database, settings })
            }
            _ => Err(problems),
        }
    }

    /// `host:port`, for messages.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The path that `sslrootcert` names; `system` means the public web roots.
    #[must_use]
    pub fn root_certificate(&self) -> Option<&str> {
        self.settings.root_certificate.as_deref()
    }

    /// `text` from the server with the password taken out, should it ever be in there.
    pub(super) fn scrub(&self, text: &str) -> String {
        match self.password.as_ref().map(ExposeSecret::expose_secret) {
            Some(password) if !password.is_empty() => text.replace(password, "[password]"),
            _ => text.to_owned(),
        }
    }
}

fn credentials(
    authority: &str,
    problems: &mut Vec<UrlProblem>,
) -> (Option<String>, Option<SecretString>) {
    let Some((credentials, host)) = authority.split_once('@') else {
        problems.push(UrlProblem::NoUser);
        return (None, None);
    };
    if host.contains('@') {
        problems.push(UrlProblem::SecondAt);
        return (None, None);
    }
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    if user.is_empty() {
        problems.push(UrlProblem::NoUser);
    }
    let password = password.and_then(|password| decode(password, "password", problems));
    (decode(user, "user", problems), password.map(SecretString::from))
}

fn address(authority: &str, problems: &mut Vec<UrlProblem>) -> (Option<String>, Option<u16>) {
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    if address.contains(',') {
        problems.push(UrlProblem::ManyHosts);
        return (None, None);
    }
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or("not a port"))),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port.map(str::parse::<u16>) {
        None => Some(DEFAULT_PORT),
        Some(Ok(port)) if port != 0 => Some(port),
        Some(_) => {
            problems.push(UrlProblem::Port);
            None
        }
    };
    let Some(host) = decode(host, "host", problems) else {
        return (None, port);
    };
    if host.starts_with('/') {
        problems.push(UrlProblem::Socket);
        return (None, port);
    }
    if ServerName::try_from(host.as_str()).is_err() {
        problems.push(UrlProblem::Host);
        return (None, port);
    }
    (Some(host), port)
}

/// `text` with `%XX` undone. NUL is refused because the Postgres protocol ends strings with it.
pub(super) fn decode(
    text: &str,
    part: &'static str,
    problems: &mut Vec<UrlProblem>,
) -> Option<String> {
    let decoded = decode_bytes(text).and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded {
        Some(decoded) if !decoded.contains('\0') => Some(decoded),
        _ => {
            problems.push(UrlProblem::Encoding(part));
            None
        }
    }
}

fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
