//! Who may call the HTTP routes: whoever shows a token of a role that may.
//!
//! The tokens are in Secrets Manager. During a rotation the new and the old one are both valid, so
//! nobody is locked out. A token that does not fit may be one that was just rotated in, so it
//! causes one more look; looks have a least distance, so rubbish cannot hammer Secrets Manager.

use crate::config::{EnvironmentTokens, OPERATOR_TOKEN_KEY, READER_TOKEN_KEY};
use crate::secrets::{CACHED_FOR, SecretError, SecretFields, Secrets, Stage};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tokio::sync::Mutex;

/// The least time between two looks into Secrets Manager, successful or not.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// What a token's holder may do. A later role may do all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at everything.
    Reader,
    /// Change things.
    Operator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Reader => "reader",
            Role::Operator => "operator",
        })
    }
}

/// Who called. Written as `operator:1a2b3c4d`: the role, and the beginning of the SHA-256 of the
/// token, which tells two tokens apart and gives neither away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub role: Role,
    token: [u8; 4],
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.token;
        write!(f, "{}:{a:02x}{b:02x}{c:02x}{d:02x}", self.role)
    }
}

impl Serialize for Caller {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no bearer token: 401.
    Missing,
    /// The token is nobody's: 401.
    Wrong,
    /// The token is valid, and its role may not do this: 403.
    Forbidden { caller: Caller, needs: Role },
    /// The tokens to compare with cannot be read now: 503, because the caller may be right.
    Unavailable,
}

/// Where the valid tokens are.
pub trait TokenSource: Send + Sync {
    /// All tokens that are valid now, at least one.
    fn tokens(&self)
    -> impl Future<Output = Result<Vec<(Role, SecretString)>, SecretError>> + Send;
}

/// Where the functions find them.
#[derive(Debug)]
pub enum Tokens {
    /// The environment, which wins.
    Environment(EnvironmentTokens),
    /// The current and the previous version of a secret.
    Secret(Arc<Secrets>),
}

impl TokenSource for Tokens {
    async fn tokens(&self) -> Result<Vec<(Role, SecretString)>, SecretError> {
        let secrets = match self {
            Tokens::Environment(EnvironmentTokens { operator, reader }) => {
                let reader = reader.iter().map(|token| (Role::Reader, token.clone()));
                return Ok([(Role::Operator, operator.clone())]
                    .into_iter()
                    .chain(reader)
                    .collect());
            }
            Tokens::Secret(secrets) => secrets,
        };
        let current = secrets.fetch(Stage::Current).await?;
        current.get(OPERATOR_TOKEN_KEY)?;
        let previous = match secrets.fetch(Stage::Previous).await {
            Ok(previous) => Some(previous),
            Err(error @ SecretError::Aws { .. }) => return Err(error),
            // There is none: the secret was never rotated, or the old version was no JSON yet.
            Err(_) => None,
        };
        Ok([current].iter().chain(&previous).flat_map(tokens_of).collect())
    }
}

/// The tokens of one version. A site without readers has no key for them, and an old version may be
/// from before either key.
fn tokens_of(fields: &SecretFields) -> impl Iterator<Item = (Role, SecretString)> {
    [(Role::Operator, OPERATOR_TOKEN_KEY), (Role::Reader, READER_TOKEN_KEY)]
        .into_iter()
        .filter_map(|(role, key)| Some((role, fields.get(key).ok()?.clone())))
}

/// Lets the holders of tokens in.
#[derive(Debug)]
pub struct Gate<S> {
    source: S,
    looked: Mutex<Looked>,
}

type Fingerprint = [u8; 32];

/// What the last look brought.
#[derive(Debug, Default)]
struct Looked {
    /// When the last look began, whatever came of it.
    last: Option<Instant>,
    /// Hashes, so that a comparison takes the same time whatever the lengths. Empty before the
    /// first success.
    valid: Vec<(Role, Fingerprint)>,
    read_at: Option<Instant>,
}

impl Gate<Tokens> {
    /// The gate with the tokens from the environment where there are any, else the secret's.
    pub fn new(environment: Option<EnvironmentTokens>, secrets: Arc<Secrets>) -> Self {
        Self::over(environment.map_or(Tokens::Secret(secrets), Tokens::Environment))
    }
}

impl<S: TokenSource> Gate<S> {
    pub fn over(source: S) -> Self {
        Self { source, looked: Mutex::new(Looked::default()) }
    }

    /// Who calls, by the value of a request's `Authorization` header.
    ///
    /// # Errors
    /// Where nobody with the role that it `needs` does.
    pub async fn check(&self, authorization: Option<&str>, needs: Role) -> Result<Caller, Refusal> {
        self.check_at(authorization, needs, Instant::now()).await
    }

    async fn check_at(
        &self,
        authorization: Option<&str>,
        needs: Role,
        now: Instant,
    ) -> Result<Caller, Refusal> {
        let token = authorization.and_then(bearer).ok_or(Refusal::Missing)?;
        let shown = fingerprint(token);
        let role = self.role_of(&shown, now).await?;
        let [a, b, c, d, ..] = shown;
        let caller = Caller { role, token: [a, b, c, d] };
        if role < needs {
            return Err(Refusal::Forbidden { caller, needs });
        }
        Ok(caller)
    }

    async fn role_of(&self, shown: &Fingerprint, now: Instant) -> Result<Role, Refusal> {
        let mut looked = self.looked.lock().await;
        if looked.is_fresh(now)
            && let Some(role) = looked.role_of(shown)
        {
            return Ok(role);
        }
        if looked.may_look(now) {
            looked.last = Some(now);
            match self.source.tokens().await {
                Ok(tokens) => {
                    looked.valid = tokens
                        .iter()
                        .map(|(role, token)| (*role, token.expose_secret()))
                        .filter(|(_, token)| !token.is_empty())
                        .map(|(role, token)| (role, fingerprint(token)))
                        .collect();
                    looked.read_at = Some(now);
                }
                Err(error) => {
                    let error = crate::telemetry::error_chain(&error);
                    tracing::warn!(error, "the callers' tokens could not be read");
                    return Err(Refusal::Unavailable);
                }
            }
        }
        if !looked.is_fresh(now) {
            return Err(Refusal::Unavailable);
        }
        looked.role_of(shown).ok_or(Refusal::Wrong)
    }
}

impl Looked {
    fn is_fresh(&self, now: Instant) -> bool {
        self.read_at.is_some_and(|at| now.duration_since(at) < CACHED_FOR)
    }

    fn may_look(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.duration_since(last) >= LOOK_AGAIN_AFTER)
    }

    /// Compares with every valid token, so that the time taken does not say which one was close.
    fn role_of(&self, shown: &Fingerprint) -> Option<Role> {
        let level = self.valid.iter().fold(0_u8, |level, (role, valid)| {
            let theirs = match role {
                Role::Reader => 1,
                Role::Operator => 2,
            };
            u8::conditional_select(&level, &level.max(theirs), valid.ct_eq(shown))
        });
        match level {
            0 => None,
            1 => Some(Role::Reader),
            _ => Some(Role::Operator),
        }
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token).into()
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
