//! Taking secrets out of what containers print.
//!
//! A value is found as it is and in the forms in which programs print it: the user's part and the
//! password inside a URL, percent-encoded, and in base64 at whatever place of a longer text.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

/// A shorter value is a word that a log may use by chance.
const SHORTEST_SECRET: usize = 8;

/// The line with the values of these variables replaced by their names.
#[must_use]
pub fn redact(line: &str, environment: &BTreeMap<String, SecretString>) -> String {
    let mut forms: BTreeSet<(std::cmp::Reverse<usize>, String, &str)> = BTreeSet::new();
    for (name, value) in environment {
        for form in forms_of(value.expose_secret()) {
            forms.insert((std::cmp::Reverse(form.len()), form, name));
        }
    }
    // The longest first: a part of a value must not break up the whole.
    forms.into_iter().fold(line.to_owned(), |line, (_, form, name)| {
        if line.contains(&form) { line.replace(&form, &format!("[{name}]")) } else { line }
    })
}

fn forms_of(value: &str) -> Vec<String> {
    // A value of several lines is printed as several.
    let mut plain: Vec<String> = value.lines().map(str::to_owned).collect();
    plain.extend(passwords(value));
    plain.retain(|part| part.len() >= SHORTEST_SECRET);
    let mut forms = Vec::new();
    for part in plain {
        forms.push(percent_encoded(&part, false));
        forms.push(percent_encoded(&part, true));
        forms.extend(in_base64(part.as_bytes()));
        forms.push(part);
    }
    forms.retain(|form| form.len() >= SHORTEST_SECRET);
    forms
}

/// `user:password` of a URL, the password alone, and the password as the program sees it.
fn passwords(value: &str) -> Vec<String> {
    let Some((_, rest)) = value.split_once("://") else { return Vec::new() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Not a good URL, but some programs take a `/` inside the password.
    let Some((user, _)) = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@')) else {
        return Vec::new();
    };
    let Some((_, password)) = user.split_once(':') else { return Vec::new() };
    vec![user.to_owned(), password.to_owned(), percent_decoded(password)]
}

fn percent_encoded(text: &str, small: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            byte if small => out.push_str(&format!("%{byte:02x}")),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match (first, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (first, _) => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The digits that stand for these bytes alone, wherever in a longer text they begin: three
/// possibilities, without the digits at both ends that are mixed with what is beside them.
fn in_base64(bytes: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let padded = [&vec![0; before][..], bytes].concat();
        let mixed_front = if before == 0 { 0 } else { before + 1 };
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let digits = engine.encode(&padded);
            let whole = padded.len() / 3 * 4;
            let whole = if padded.len() % 3 == 0 { whole } else { whole.min(digits.len()) };
            if let Some(form) = digits.get(mixed_front..whole) {
                forms.push(form.to_owned());
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::redact;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use secrecy::SecretString;
    use std::collections::BTreeMap;

    fn environment() -> BTreeMap<String, SecretString> {
        [
            ("DATABASE_URL", "postgres://app:p%40ss/w0rd?x@db:5432/main"),
            ("REDIS_URL", "redis://user:s3cr3t-pass@cache:6379/0"),
            ("GH_KEY", "k/e+y=1234567890"),
            ("NODE_ENV", "staging"),
        ]
        .map(|(name, value)| (name.to_owned(), SecretString::from(value)))
        .into()
    }

    #[test]
    fn parts_and_encoded_forms_of_a_value_are_taken_out() {
        let inside = STANDARD.encode("user:k/e+y=1234567890:rest");
        let shifted = STANDARD.encode("ab k/e+y=1234567890");
        for (said, canary) in [
            ("password authentication failed for s3cr3t-pass", "s3cr3t-pass"),
            ("user:s3cr3t-pass", "s3cr3t-pass"),
            ("key=k%2Fe%2By%3D1234567890", "1234567890"),
            ("key=k%2fe%2by%3d1234567890", "1234567890"),
            ("redis://user:s3cr3t-pass@cache:6379/0 refused", "s3cr3t"),
        ] {
            let shown = redact(said, &environment());
            assert!(!shown.contains(canary), "{shown}");
        }
        for said in [&inside, &shifted, &STANDARD.encode("k/e+y=1234567890")] {
            let shown = redact(&format!("Authorization: Basic {said}"), &environment());
            assert!(shown.contains("[GH_KEY]"), "{said}: {shown}");
        }
        assert_eq!(redact("staging is well", &environment()), "staging is well");
    }

    #[test]
    fn a_long_line_of_many_variables_is_done_at_once() {
        let many: BTreeMap<String, SecretString> = (0..200)
            .map(|n| (format!("GH_{n}"), SecretString::from(format!("{n}-{}", "x".repeat(4000)))))
            .collect();
        assert_eq!(redact(&"y".repeat(16_000), &many).len(), 16_000);
    }
}
