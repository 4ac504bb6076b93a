//! What a well-formed value is. Each check returns what to do about a value that is not.

use fleet_protocol::environment;

type Checked = Result<(), &'static str>;

fn ensure(holds: bool, fix: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(fix) }
}

pub(super) fn environment(text: &str) -> Checked {
    ensure(environment::is_name(text), environment::RULE)
}

/// The characters that Auto Scaling takes in a group's name, without the few that only ever get
/// there by mistake.
pub(super) fn group(text: &str) -> Checked {
    let fits = text.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != ':');
    ensure(
        fits && (1..=255).contains(&text.len()),
        "Set the name of the Auto Scaling group: 1 to 255 characters without spaces and colons",
    )
}

/// CloudWatch alarms by name.
pub(super) fn alarms(text: &str) -> Checked {
    let fits = |name: &str| (1..=255).contains(&name.trim().chars().count());
    let listed = text.is_empty() || text.split(',').all(fits);
    ensure(
        listed && text.split(',').count() <= 10 && !text.contains(char::is_control),
        "Set the names of at most 10 CloudWatch alarms of 1 to 255 characters with commas between \
         them, or nothing",
    )
}

/// SSM's rule for the name of a parameter in a hierarchy.
pub(super) fn parameter(text: &str) -> Checked {
    let parts: Vec<&str> = text.split('/').skip(1).collect();
    let reserved = parts.first().is_some_and(|first| {
        let first = first.to_ascii_lowercase();
        first.starts_with("aws") || first.starts_with("ssm")
    });
    let fits = text.starts_with('/')
        && parts.len() <= 15
        && text.len() <= 1011
        && parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| word(c, "_.-")));
    ensure(
        fits && !reserved,
        "Set an SSM parameter name such as /ghosthands/production/autoscale/state: letters, digits, _ . and - between \
         slashes, not beginning with /aws or /ssm",
    )
}

pub(super) fn secret_id(text: &str) -> Checked {
    // Only an ARN has colons, so that an address pasted here by mistake is refused.
    let also = if text.starts_with("arn:") { "/_+=.@-:" } else { "/_+=.@-" };
    ensure(
        (1..=2048).contains(&text.len()) && text.chars().all(|c| word(c, also)),
        "Set the name or the ARN of a secret, such as ghosthands/production/fleet",
    )
}

/// pg-boss's rule for its schema, which also keeps it safe inside an SQL identifier.
pub(super) fn schema(text: &str) -> Checked {
    let digit_first = text.starts_with(|c: char| c.is_ascii_digit());
    ensure(
        !digit_first && (1..=50).contains(&text.len()) && text.chars().all(|c| word(c, "_")),
        "Set the schema's name as pg-boss takes it: up to 50 letters, digits and underscores, not beginning with a digit",
    )
}

/// pg-boss's rule for the name of a queue.
pub(super) fn queue(text: &str) -> Checked {
    ensure(
        (1..=255).contains(&text.len()) && text.chars().all(|c| word(c, "_.-/")),
        "Set the queue's name as pg-boss takes it: letters, digits, _ . - and /",
    )
}

/// Long enough that guessing is hopeless, and of characters that survive an HTTP header.
pub(super) fn token(text: &str) -> Checked {
    ensure(
        text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "Set at least 16 printable ASCII characters without spaces, for example from: openssl rand -hex 32",
    )
}

/// Auto Scaling's rule for the name of a lifecycle hook.
pub(super) fn hook(text: &str) -> Checked {
    ensure(
        (1..=255).contains(&text.len()) && text.chars().all(|c| word(c, "-_/")),
        "Set the lifecycle hook's name: letters, digits, - _ and /",
    )
}

/// SSM's rule for the name of a document.
pub(super) fn document(text: &str) -> Checked {
    ensure(
        (3..=128).contains(&text.len()) && text.chars().all(|c| word(c, "_.-")),
        "Set the SSM document's name: 3 to 128 letters, digits, _ . and -",
    )
}

pub(super) fn region(text: &str) -> Checked {
    ensure(
        (1..=32).contains(&text.len()) && text.chars().all(|c| word(c, "-")),
        "Set the region of the Auto Scaling group, such as us-east-1",
    )
}

pub(super) fn endpoint(text: &str) -> Checked {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = rest.is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
        !host.is_empty()
            && port.parse::<u16>().is_ok()
            && text.bytes().all(|b| b.is_ascii_graphic())
    });
    ensure(fits, "Set an address such as https://host or http://host:port, or remove it")
}

/// Where news goes out to. Without TLS only to this machine, for a test.
pub(super) fn webhook(text: &str) -> Checked {
    let authority = text.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or(""));
    let here = authority.is_none_or(|authority| {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        ["127.0.0.1", "localhost"].contains(&host)
    });
    ensure(
        here && endpoint(text).is_ok() && !text.contains('@'),
        "Set an address such as https://host/path, or remove it; http:// is taken for 127.0.0.1 and localhost only",
    )
}

fn word(c: char, also: &str) -> bool {
    c.is_ascii_alphanumeric() || also.contains(c)
}
