//! The callers' tokens: who holds one, and what it may do. They are in Secrets Manager, or in the
//! environment of a function that runs without it.
//!
//! A token of its own for everybody is in `FLEET_TOKENS`, by name, as its SHA-256 and its scopes.
//! `FLEET_OPERATOR_TOKEN`, `FLEET_READER_TOKEN` and `FLEET_TICKER_TOKEN` are tokens in clear named
//! `operator`, `reader` and `ticker`.
//!
//! During a rotation the previous version of the secret is valid beside the current one, for a
//! bounded time, and only for names that the current one has too.

use crate::config::{
    OPERATOR_TOKEN_KEY, READER_TOKEN_KEY, TICKER_TOKEN_KEY, TOKENS_KEY, token_fix,
};
use crate::secrets::{SecretError, SecretFields, Secrets, Stage};
use fleet_protocol::time::UnixMs;
use secrecy::ExposeSecret;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How long after a rotation the previous tokens stay valid.
pub const PREVIOUS_FOR_MS: i64 = 24 * 3600 * 1000;
/// More than a team has people and pipelines.
const MOST_TOKENS: usize = 100;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at everything.
    Read,
    /// Have the scaling function make a tick now.
    Tick,
    /// Everything, the other scopes included.
    Operate,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Read => "read",
            Scope::Tick => "tick",
            Scope::Operate => "operate",
        })
    }
}

/// The scopes of one token. Written as `read, tick`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Whether they include what is needed.
    #[must_use]
    pub fn allow(&self, needs: Scope) -> bool {
        self.0.contains(&needs) || self.0.contains(&Scope::Operate)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.0.iter().enumerate() {
            write!(f, "{}{scope}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The keys of the tokens in clear, with the name and the scope of each.
pub(crate) const IN_CLEAR: [(&str, &str, Scope); 3] = [
    (OPERATOR_TOKEN_KEY, "operator", Scope::Operate),
    (READER_TOKEN_KEY, "reader", Scope::Read),
    (TICKER_TOKEN_KEY, "ticker", Scope::Tick),
];

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// The SHA-256 of a token.
#[must_use]
pub fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// A token that is valid, by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub name: Arc<str>,
    pub scopes: Scopes,
    pub hash: TokenHash,
}

impl Token {
    /// A token in clear.
    #[must_use]
    pub fn new(name: &str, scope: Scope, token: &str) -> Token {
        Token { name: name.into(), scopes: Scopes(vec![scope]), hash: hash(token) }
    }
}

/// A token of `FLEET_TOKENS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sha256: String,
    scopes: Vec<Scope>,
}

/// Reads `FLEET_TOKENS`: a JSON object of names, each with `sha256` and `scopes`.
///
/// # Errors
/// What is wrong, by name. Shows neither a token nor a hash.
pub fn parse(text: &str) -> Result<Vec<Token>, String> {
    // serde's own message would quote what it stumbled over, which may be a token in clear.
    let entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| "is not a JSON object of names".to_owned())?;
    if entries.len() > MOST_TOKENS {
        return Err(format!("has {} names; {MOST_TOKENS} are the most", entries.len()));
    }
    entries.into_iter().map(|(name, entry)| entry_token(&name, entry)).collect()
}

fn entry_token(name: &str, entry: serde_json::Value) -> Result<Token, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if !(1..=32).contains(&name.len()) || !name.bytes().all(word) {
        return Err("has a name that is not 1 to 32 letters, digits, . _ @ and -".to_owned());
    }
    if let Some((key, ..)) = IN_CLEAR.iter().find(|(_, taken, _)| *taken == name) {
        return Err(format!("has the name {name:?}, which is that of {key}"));
    }
    let wrong = |what: &str| format!("has for {name:?} {what}");
    let entry: Entry = serde_json::from_value(entry).map_err(|_| {
        wrong("something else than {\"sha256\": \"…\", \"scopes\": [\"read\", \"tick\" or \"operate\"]}")
    })?;
    let hash = parse_hash(&entry.sha256)
        .ok_or_else(|| wrong("a sha256 that is not 64 hexadecimal digits"))?;
    let mut scopes = entry.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(wrong("no scope"));
    }
    Ok(Token { name: name.into(), scopes: Scopes(scopes), hash })
}

fn parse_hash(text: &str) -> Option<TokenHash> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// Where the functions find the tokens that are valid.
#[derive(Debug)]
pub enum Tokens {
    /// The environment, which wins.
    Environment(Vec<Token>),
    /// The current and, for a while, the previous version of a secret.
    Secret(Arc<Secrets>),
}

impl Tokens {
    /// All tokens that are valid at this time, one of them an operator's. A token of the secret
    /// that cannot be used is left out, with an error in the log that names its key.
    ///
    /// # Errors
    /// Where the secret cannot be read, or has no operator's token that can be used.
    pub async fn valid(&self, now: UnixMs) -> Result<Vec<Token>, SecretError> {
        let secrets = match self {
            Tokens::Environment(tokens) => return Ok(tokens.clone()),
            Tokens::Secret(secrets) => secrets,
        };
        let current = secrets.fetch(Stage::Current).await?;
        let mut tokens = tokens_of(&current);
        if !tokens.iter().any(|token| token.scopes.allow(Scope::Operate)) {
            return Err(current.missing(OPERATOR_TOKEN_KEY));
        }
        // A version is made current when it is written, so its date is that of the rotation.
        let rotated = current.created();
        if rotated.is_some_and(|rotated| now.since(rotated) < PREVIOUS_FOR_MS) {
            let previous = match secrets.fetch(Stage::Previous).await {
                Ok(previous) => tokens_of(&previous),
                Err(error @ SecretError::Aws { .. }) => return Err(error),
                // There is none: the secret was never rotated, or the old version was no JSON yet.
                Err(_) => Vec::new(),
            };
            let names: Vec<Arc<str>> = tokens.iter().map(|token| Arc::clone(&token.name)).collect();
            tokens.extend(previous.into_iter().filter(|token| names.contains(&token.name)));
        }
        Ok(tokens)
    }
}

/// The tokens of one version of the secret that can be used.
fn tokens_of(fields: &SecretFields) -> Vec<Token> {
    let mut tokens: Vec<Token> = IN_CLEAR
        .into_iter()
        .filter_map(|(key, name, scope)| {
            let token = fields.get(key).ok()?.expose_secret();
            if let Err(fix) = token_fix(token) {
                tracing::error!(key, fix, "a token of the secret cannot be used");
                return None;
            }
            Some(Token::new(name, scope, token))
        })
        .collect();
    match fields.get_json(TOKENS_KEY).map(|text| parse(text.expose_secret())) {
        Some(Ok(named)) => tokens.extend(named),
        Some(Err(wrong)) => {
            tracing::error!(key = TOKENS_KEY, wrong, "the tokens of this key cannot be used");
        }
        None => {}
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf 'a-token-of-alice' | sha256sum
    const ALICE: &str = "baabef150d394e9ef91997e5a10c1f8692531a583bb3885e3f8b266010f7e48c";

    #[test]
    fn named_tokens_have_a_hash_and_scopes() {
        let text =
            format!(r#"{{"alice": {{"sha256": "{ALICE}", "scopes": ["tick", "read", "tick"]}}}}"#);
        let tokens = parse(&text).unwrap();
        assert_eq!((tokens.len(), &*tokens[0].name), (1, "alice"));
        assert_eq!(tokens[0].scopes.to_string(), "read, tick");
        assert_eq!(tokens[0].hash, hash("a-token-of-alice"));
        assert!(tokens[0].scopes.allow(Scope::Tick) && !tokens[0].scopes.allow(Scope::Operate));
        let operator = Token::new("operator", Scope::Operate, "a-token");
        assert!(
            [Scope::Read, Scope::Tick, Scope::Operate].iter().all(|s| operator.scopes.allow(*s))
        );
        assert_eq!(parse("{}").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_named_and_no_token_is_shown() {
        let good = format!(r#"{{"sha256": "{ALICE}", "scopes": ["read"]}}"#);
        let many: Vec<String> = (0..101).map(|n| format!(r#""n{n}": {good}"#)).collect();
        for (text, says) in [
            ("hunter2".to_owned(), "not a JSON object"),
            ("[]".to_owned(), "not a JSON object"),
            (r#"{"alice": "hunter2"}"#.to_owned(), "alice"),
            (
                r#"{"alice": {"sha256": "hunter2", "scopes": ["read"]}}"#.to_owned(),
                "64 hexadecimal",
            ),
            (format!(r#"{{"alice": {{"sha256": "{ALICE}", "scopes": []}}}}"#), "no scope"),
            (format!(r#"{{"alice": {{"sha256": "{ALICE}", "scopes": ["hunter2"]}}}}"#), "alice"),
            (format!(r#"{{"alice": {{"sha256": "{ALICE}"}}}}"#), "alice"),
            (format!(r#"{{"a b": {good}}}"#), "a name that is not"),
            (format!(r#"{{"operator": {good}}}"#), "FLEET_OPERATOR_TOKEN"),
            (format!(r#"{{"ticker": {good}}}"#), "FLEET_TICKER_TOKEN"),
            (format!("{{{}}}", many.join(",")), "100 are the most"),
        ] {
            let wrong = parse(&text).unwrap_err();
            assert!(wrong.contains(says) && !wrong.contains("hunter2"), "{text}: {wrong}");
        }
    }
}
