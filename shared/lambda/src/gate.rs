//! Who may call the HTTP routes: whoever shows a token with the scope that the route needs.
//!
//! A token that is not known may be one that was just rotated in, so it causes one more look into
//! Secrets Manager; looks have a least distance, so rubbish cannot hammer it.

use crate::clock;
use fleet_clients::secrets::{SecretError, Secrets};
use fleet_clients::telemetry::error_chain;
use fleet_clients::tokens::{Scope, Scopes, Token, TokenHash, Tokens, hash};
use serde::Serialize;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tokio::sync::Mutex;

/// The least time between two looks into Secrets Manager, successful or not.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15);
/// How long the tokens that were read are used: a token that is revoked works no longer than this.
const CACHED_FOR: Duration = Duration::from_secs(60);

/// Who called. Written as `alice:1a2b3c4d`: the token's name, and the beginning of its SHA-256,
/// which tells two tokens of one name apart and gives neither away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: Arc<str>,
    scopes: Scopes,
    token: [u8; 4],
}

impl Caller {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The first eight hexadecimal digits of the token's SHA-256.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let [a, b, c, d] = self.token;
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.fingerprint())
    }
}

impl Serialize for Caller {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no bearer token: 401.
    Missing,
    /// The token is nobody's: 401.
    Wrong,
    /// The token is valid, and may not do this: 403.
    Forbidden { caller: Caller, needs: Scope },
    /// The tokens to compare with cannot be read now: 503, because the caller may be right.
    Unavailable,
}

/// Where the valid tokens are.
pub trait TokenSource: Send + Sync {
    /// All tokens that are valid now, at least one.
    fn tokens(&self) -> impl Future<Output = Result<Vec<Token>, SecretError>> + Send;
}

impl TokenSource for Tokens {
    async fn tokens(&self) -> Result<Vec<Token>, SecretError> {
        self.valid(clock::now()).await
    }
}

/// Lets the holders of tokens in.
#[derive(Debug)]
pub struct Gate<S = Tokens> {
    source: S,
    looked: Mutex<Looked>,
}

/// What the last look brought.
#[derive(Debug, Default)]
struct Looked {
    /// When the last look began, whatever came of it.
    last: Option<Instant>,
    /// The token that may do most comes last. Empty before the first success.
    valid: Vec<Token>,
    read_at: Option<Instant>,
}

impl Gate<Tokens> {
    /// The gate with the tokens from the environment where there are any, else the secret's.
    pub fn new(environment: Option<Vec<Token>>, secrets: Arc<Secrets>) -> Gate<Tokens> {
        Gate::over(environment.map_or(Tokens::Secret(secrets), Tokens::Environment))
    }
}

impl<S: TokenSource> Gate<S> {
    pub fn over(source: S) -> Gate<S> {
        Gate { source, looked: Mutex::new(Looked::default()) }
    }

    /// Who calls, by the value of a request's `Authorization` header.
    ///
    /// # Errors
    /// Where nobody with the scope that it `needs` does.
    pub async fn check(
        &self,
        authorization: Option<&str>,
        needs: Scope,
    ) -> Result<Caller, Refusal> {
        self.check_at(authorization, needs, Instant::now()).await
    }

    /// Whether a request with this header may go on to its function, which checks it for itself: a
    /// token that cannot be looked up now goes on too, and is told so there.
    pub async fn lets_on(&self, authorization: Option<&str>) -> bool {
        let checked = self.check(authorization, Scope::Read).await;
        !matches!(checked, Err(Refusal::Missing | Refusal::Wrong))
    }

    async fn check_at(
        &self,
        authorization: Option<&str>,
        needs: Scope,
        now: Instant,
    ) -> Result<Caller, Refusal> {
        let shown = hash(authorization.and_then(bearer).ok_or(Refusal::Missing)?);
        let Token { name, scopes, hash: [a, b, c, d, ..] } = self.token_of(&shown, now).await?;
        let caller = Caller { name, scopes, token: [a, b, c, d] };
        if caller.scopes.allow(needs) {
            Ok(caller)
        } else {
            Err(Refusal::Forbidden { caller, needs })
        }
    }

    async fn token_of(&self, shown: &TokenHash, now: Instant) -> Result<Token, Refusal> {
        let mut looked = self.looked.lock().await;
        if looked.is_fresh(now)
            && let Some(token) = looked.find(shown)
        {
            return Ok(token);
        }
        if looked.may_look(now) {
            looked.last = Some(now);
            match self.source.tokens().await {
                Ok(mut tokens) => {
                    tokens.sort_by_key(|token| token.scopes.allow(Scope::Operate));
                    looked.valid = tokens;
                    looked.read_at = Some(now);
                }
                Err(error) => {
                    tracing::warn!(
                        error = error_chain(&error),
                        "the callers' tokens were not read"
                    );
                    return Err(Refusal::Unavailable);
                }
            }
        }
        if !looked.is_fresh(now) {
            return Err(Refusal::Unavailable);
        }
        looked.find(shown).ok_or(Refusal::Wrong)
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
    /// Of two tokens with the same hash it is the one that may do more.
    fn find(&self, shown: &TokenHash) -> Option<Token> {
        let found = (1_u32..).zip(&self.valid).fold(0, |found, (number, token)| {
            u32::conditional_select(&found, &number, token.hash.ct_eq(shown))
        });
        let index = usize::try_from(found).ok()?.checked_sub(1)?;
        self.valid.get(index).cloned()
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
