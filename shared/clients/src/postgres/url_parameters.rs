//! The parameters after the `?` of a database URL: what each one means here.

use super::url::{Settings, UrlProblem, decode};
use std::time::Duration;
use tokio_postgres::config::ChannelBinding;

type ParameterCheck = Result<(), &'static str>;

/// A parameter's name and what is done with its value. Names come from this table alone, so
/// messages can show them.
type Parameter = (&'static str, fn(&str, &mut Settings) -> ParameterCheck);

const PARAMETERS: &[Parameter] = &[
    // TLS
    ("sslmode", |value, _| match value {
        "require" | "verify-ca" | "verify-full" => Ok(()),
        "disable" | "allow" | "prefer" | "no-verify" => Err(
            "this mode allows a server that has not proved who it is; use sslmode=verify-full and give the CA in DATABASE_CA",
        ),
        _ => Err("not a mode; use sslmode=verify-full"),
    }),
    ("ssl", |value, _| yes(value, "TLS is always used; remove it or use sslmode=verify-full")),
    ("sslaccept", |value, _| {
        only(value, &["strict"], "certificates are always verified; use sslaccept=strict")
    }),
    ("sslrootcert", |value, settings| {
        settings.root_certificate = Some(value.to_owned());
        if value.is_empty() {
            Err("the path is empty; name a PEM file, or `system`")
        } else {
            Ok(())
        }
    }),
    ("sslcert", |_, _| Err(NO_CLIENT_CERTIFICATE)),
    ("sslkey", |_, _| Err(NO_CLIENT_CERTIFICATE)),
    ("sslpassword", |_, _| Err(NO_CLIENT_CERTIFICATE)),
    ("sslidentity", |_, _| Err(NO_CLIENT_CERTIFICATE)),
    ("sslcrl", |_, _| Err(NO_REVOCATION)),
    ("sslcrldir", |_, _| Err(NO_REVOCATION)),
    ("sslsni", |value, _| only(value, &["1"], "the host name is always sent; remove it")),
    ("sslcompression", |value, _| only(value, &["0"], "TLS compression is unsafe; remove it")),
    ("ssl_min_protocol_version", |value, _| {
        only(
            value,
            &["TLSv1", "TLSv1.1", "TLSv1.2"],
            "TLS 1.2 or 1.3 is used; ask for TLSv1.2 or remove it",
        )
    }),
    ("ssl_max_protocol_version", |value, _| {
        only(value, &["TLSv1.3"], "TLS 1.2 or 1.3 is used; remove it")
    }),
    ("sslnegotiation", |value, _| {
        only(value, &["postgres"], "poolers do not speak direct negotiation; remove it")
    }),
    ("gssencmode", |value, _| {
        only(
            value,
            &["disable", "prefer"],
            "GSSAPI is not supported, TLS is used instead; remove it",
        )
    }),
    ("channel_binding", |value, settings| {
        settings.channel_binding = Some(match value {
            "disable" => ChannelBinding::Disable,
            "prefer" => ChannelBinding::Prefer,
            "require" => ChannelBinding::Require,
            _ => return Err("use disable, prefer or require (a pooler cannot do require)"),
        });
        Ok(())
    }),
    // The connection
    ("application_name", |value, settings| {
        settings.application_name = Some(value.to_owned());
        Ok(())
    }),
    ("fallback_application_name", |value, settings| {
        settings.application_name.get_or_insert_with(|| value.to_owned());
        Ok(())
    }),
    ("connect_timeout", |value, settings| {
        let seconds = value.parse::<u32>().ok().filter(|seconds| *seconds > 0);
        let seconds =
            seconds.ok_or("use whole seconds, 1 or more (a tick cannot wait for ever)")?;
        settings.connect_timeout = Some(Duration::from_secs(seconds.into()));
        Ok(())
    }),
    ("target_session_attrs", |value, _| {
        only(value, &["any", "read-write", "primary"], "a standby may lag behind; use read-write")
    }),
    ("load_balance_hosts", |value, _| only(value, &["disable"], "one host is used; remove it")),
    ("client_encoding", |value, _| {
        let utf8 = ["utf8", "UTF8", "utf-8", "UTF-8", "auto"];
        only(value, &utf8, "UTF8 is always used; remove it")
    }),
    ("options", |_, _| {
        Err(
            "a transaction pooler refuses or loses it; remove it (limits are set in every transaction)",
        )
    }),
    ("replication", |_, _| Err("this program only reads tables; remove it")),
    ("host", |_, _| Err(WRITE_IN_PLACE)),
    ("hostaddr", |_, _| Err("the certificate is checked against the host's name; remove it")),
    ("port", |_, _| Err(WRITE_IN_PLACE)),
    ("user", |_, _| Err(WRITE_IN_PLACE)),
    ("password", |_, _| Err(WRITE_IN_PLACE)),
    ("dbname", |_, _| Err(WRITE_IN_PLACE)),
    ("passfile", |_, _| Err(WRITE_IN_PLACE)),
    ("service", |_, _| Err(WRITE_IN_PLACE)),
    ("keepalives", |_, _| Err(OWN_LIMITS)),
    ("keepalives_idle", |_, _| Err(OWN_LIMITS)),
    ("keepalives_interval", |_, _| Err(OWN_LIMITS)),
    ("keepalives_count", |_, _| Err(OWN_LIMITS)),
    ("tcp_user_timeout", |_, _| Err(OWN_LIMITS)),
    // Prisma, node-pg, Supabase. What they ask for is already so.
    ("pgbouncer", |value, _| {
        // Right through a transaction pooler, and no less right without one.
        only(value, &["true", "false"], "use true or false")
    }),
    ("connection_limit", |value, _| {
        // One connection is the least that any limit allows.
        number(value, 1, "use a whole number, 1 or more (one connection is used)")
    }),
    ("pool_timeout", |value, _| {
        // There is no pool, so nothing waits for one.
        number(value, 0, "use whole seconds")
    }),
    ("statement_cache_size", |value, _| {
        // No statement is ever cached, which is within every size.
        number(value, 0, "use a whole number")
    }),
    ("socket_timeout", |_, _| Err(OWN_LIMITS)),
    ("max_idle_connection_lifetime", |_, _| Err(OWN_LIMITS)),
    ("max_connection_lifetime", |_, _| Err(OWN_LIMITS)),
    ("schema", |value, _| {
        // It would set the search path, and every table is read by its qualified name.
        if value.is_empty() { Err("the name is empty; remove it") } else { Ok(()) }
    }),
    ("uselibpqcompat", |value, _| {
        only(value, &["true", "false"], "use true or false (sslmode always verifies here)")
    }),
    // Marks that hosting integrations leave in the URL for their own drivers.
    ("supa", |_, _| Ok(())),
    ("workaround", |_, _| Ok(())),
];

const NO_CLIENT_CERTIFICATE: &str =
    "client certificates are not supported; remove it and use a password";
const NO_REVOCATION: &str = "revocation lists are not supported; remove it";
const WRITE_IN_PLACE: &str =
    "write it in its own place, postgres://user:password@host:port/database";
const OWN_LIMITS: &str = "every wait here has a limit of its own; remove it";

/// Applies `query`, the text after the `?`, and adds what is wrong with it to `problems`.
pub(super) fn read(query: &str, problems: &mut Vec<UrlProblem>) -> Settings {
    let mut settings = Settings::default();
    let mut seen: Vec<&'static str> = Vec::new();
    for (index, pair) in query.split('&').enumerate().filter(|(_, pair)| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some((name, apply)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
            problems.push(UrlProblem::UnknownParameter { position: index + 1 });
            continue;
        };
        if seen.contains(name) {
            problems.push(UrlProblem::Twice(name));
            continue;
        }
        seen.push(name);
        if let Some(value) = decode(value, name, problems)
            && let Err(reason) = apply(&value, &mut settings)
        {
            problems.push(UrlProblem::Parameter { name, reason });
        }
    }
    settings
}

fn only(value: &str, accepted: &[&str], otherwise: &'static str) -> ParameterCheck {
    if accepted.contains(&value) { Ok(()) } else { Err(otherwise) }
}

fn yes(value: &str, otherwise: &'static str) -> ParameterCheck {
    only(value, &["true", "1", "require"], otherwise)
}

fn number(value: &str, at_least: u32, otherwise: &'static str) -> ParameterCheck {
    match value.parse::<u32>() {
        Ok(number) if number >= at_least => Ok(()),
        _ => Err(otherwise),
    }
}
