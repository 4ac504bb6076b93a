//! Who may call the HTTP routes: whoever shows the role's token.
//!
//! The token is in Secrets Manager. During a rotation the new and the old one are both valid, so nobody is locked out. A token that does
//! not fit may be one that was just rotated in, so it causes one more look; looks have a least distance, so rubbish cannot hammer
//! Secrets Manager. One [`Gate`] guards one role.

use crate::config::OPERATOR_TOKEN_KEY;
use crate::secrets::{CACHED_FOR, SecretError, Secrets, Stage};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::Mutex;

/// The least time between two looks into Secrets Manager, successful or not.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// What a request's `Authorization` header is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Operator,
    /// There is no bearer token: 401.
    Missing,
    /// The token is not the role's: 401.
    Wrong,
    /// The tokens to compare with cannot be read now: 503, because the caller may be right.
    Unavailable,
}

/// Where a role's valid tokens are.
pub trait TokenSource: Send + Sync {
    /// All tokens that are valid now, at least one.
    fn tokens(&self) -> impl Future<Output = Result<Vec<SecretString>, SecretError>> + Send;
}

/// Where the function finds them.
#[derive(Debug)]
pub enum Tokens {
    /// The environment, which wins.
    Fixed(SecretString),
    /// The current and the previous value of one key of a secret.
    Secret { secrets: Arc<Secrets>, key: &'static str },
}

impl TokenSource for Tokens {
    async fn tokens(&self) -> Result<Vec<SecretString>, SecretError> {
        let (secrets, key) = match self {
            Tokens::Fixed(token) => return Ok(vec![token.clone()]),
            Tokens::Secret { secrets, key } => (secrets, key),
        };
        let mut tokens = vec![secrets.fetch(Stage::Current).await?.get(key)?.clone()];
        let previous = secrets.fetch(Stage::Previous).await;
        match previous.and_then(|fields| fields.get(key).cloned()) {
            Ok(token) => tokens.push(token),
            Err(error @ SecretError::Aws { .. }) => return Err(error),
            // There is none: the secret was never rotated, or the old version is from before the key was added.
            Err(_) => {}
        }
        Ok(tokens)
    }
}

/// Lets the holder of the operator's token in.
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
    /// Hashes, so that a comparison takes the same time whatever the lengths. Empty before the first success.
    valid: Vec<Fingerprint>,
    read_at: Option<Instant>,
}

impl Gate<Tokens> {
    /// The gate of the operator: the token from the environment where there is one, else the secret's.
    pub fn operator(fixed: Option<SecretString>, secrets: Arc<Secrets>) -> Self {
        Self::new(match fixed {
            Some(token) => Tokens::Fixed(token),
            None => Tokens::Secret { secrets, key: OPERATOR_TOKEN_KEY },
        })
    }
}

impl<S: TokenSource> Gate<S> {
    pub fn new(source: S) -> Self {
        Self { source, looked: Mutex::new(Looked::default()) }
    }

    /// What the value of a request's `Authorization` header is worth.
    pub async fn check(&self, authorization: Option<&str>) -> Access {
        self.check_at(authorization, Instant::now()).await
    }

    async fn check_at(&self, authorization: Option<&str>, now: Instant) -> Access {
        let Some(token) = authorization.and_then(bearer) else {
            return Access::Missing;
        };
        let shown = fingerprint(token);
        let mut looked = self.looked.lock().await;
        if looked.is_fresh(now) && looked.admits(&shown) {
            return Access::Operator;
        }
        if looked.may_look(now) {
            looked.last = Some(now);
            match self.source.tokens().await {
                Ok(tokens) => {
                    looked.valid = tokens
                        .iter()
                        .map(|token| token.expose_secret())
                        .filter(|token| !token.is_empty())
                        .map(fingerprint)
                        .collect();
                    looked.read_at = Some(now);
                }
                Err(error) => {
                    let error = crate::telemetry::error_chain(&error);
                    tracing::warn!(error, "the tokens of the operator could not be read");
                    return Access::Unavailable;
                }
            }
        }
        match (looked.is_fresh(now), looked.admits(&shown)) {
            (false, _) => Access::Unavailable,
            (true, true) => Access::Operator,
            (true, false) => Access::Wrong,
        }
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
    fn admits(&self, shown: &Fingerprint) -> bool {
        let none = Choice::from(0);
        self.valid.iter().fold(none, |any, valid| any | valid.ct_eq(shown)).into()
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
mod tests {
    use super::*;
    use crate::aws::{AwsError, AwsErrorKind};
    use std::sync::Mutex as StdMutex;

    /// A source that tells whatever the test last put into it, and counts how often it was asked.
    #[derive(Default)]
    struct Source(StdMutex<(Vec<&'static str>, u32)>);

    impl Source {
        fn set(&self, tokens: &[&'static str]) {
            self.0.lock().unwrap().0 = tokens.to_vec();
        }

        fn asked(&self) -> u32 {
            self.0.lock().unwrap().1
        }
    }

    impl TokenSource for Source {
        async fn tokens(&self) -> Result<Vec<SecretString>, SecretError> {
            let mut inner = self.0.lock().unwrap();
            inner.1 += 1;
            if inner.0.is_empty() {
                let source = AwsError::new(AwsErrorKind::Throttled, "GetSecretValue was refused");
                return Err(SecretError::Aws { id: "ghosthands/test".to_owned(), source });
            }
            Ok(inner.0.iter().map(|token| SecretString::from(*token)).collect())
        }
    }

    fn gate(tokens: &[&'static str]) -> Gate<Source> {
        let source = Source::default();
        source.set(tokens);
        Gate::new(source)
    }

    async fn check(gate: &Gate<Source>, start: Instant, second: u64, header: &str) -> Access {
        gate.check_at(Some(header), start + Duration::from_secs(second)).await
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_current_and_the_previous_token_are_both_let_in() {
        let (gate, start) = (gate(&["new-token", "old-token"]), Instant::now());
        assert_eq!(check(&gate, start, 0, "Bearer new-token").await, Access::Operator);
        assert_eq!(check(&gate, start, 1, "bearer  old-token ").await, Access::Operator);
        assert_eq!(check(&gate, start, 2, "Bearer new-toke").await, Access::Wrong);
        assert_eq!(check(&gate, start, 3, "Bearer new-token2").await, Access::Wrong);
        assert_eq!(gate.source.asked(), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn no_bearer_token_is_missing_and_costs_no_look() {
        let (gate, start) = (gate(&["new-token"]), Instant::now());
        assert_eq!(gate.check(None).await, Access::Missing);
        for header in ["", "Bearer", "Bearer ", "Basic new-token", "new-token", "Bearernew-token"] {
            assert_eq!(check(&gate, start, 0, header).await, Access::Missing, "{header:?}");
        }
        assert_eq!(gate.source.asked(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_token_rotated_in_works_at_once_and_rubbish_cannot_hammer_the_source() {
        let (gate, start) = (gate(&["first-token"]), Instant::now());
        assert_eq!(check(&gate, start, 0, "Bearer first-token").await, Access::Operator);
        gate.source.set(&["second-token", "first-token"]);
        assert_eq!(check(&gate, start, 20, "Bearer second-token").await, Access::Operator);
        assert_eq!(gate.source.asked(), 2);
        for second in 21..=34 {
            assert_eq!(check(&gate, start, second, "Bearer rubbish").await, Access::Wrong);
        }
        assert_eq!(gate.source.asked(), 2, "looked again within the floor");
        assert_eq!(check(&gate, start, 35, "Bearer rubbish").await, Access::Wrong);
        assert_eq!(gate.source.asked(), 3);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_token_rotated_out_twice_stops_working_when_the_cache_ends() {
        let (gate, start) = (gate(&["first-token"]), Instant::now());
        assert_eq!(check(&gate, start, 0, "Bearer first-token").await, Access::Operator);
        gate.source.set(&["third-token", "second-token"]);
        assert_eq!(check(&gate, start, 299, "Bearer first-token").await, Access::Operator);
        assert_eq!(check(&gate, start, 300, "Bearer first-token").await, Access::Wrong);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_source_that_is_down_refuses_nobody_for_good_and_lets_nobody_in() {
        let (gate, start) = (gate(&[]), Instant::now());
        for second in 0..15 {
            assert_eq!(check(&gate, start, second, "Bearer a-token").await, Access::Unavailable);
        }
        assert_eq!(gate.source.asked(), 1);
        gate.source.set(&["a-token"]);
        assert_eq!(check(&gate, start, 15, "Bearer a-token").await, Access::Operator);
        gate.source.set(&[]);
        assert_eq!(check(&gate, start, 314, "Bearer a-token").await, Access::Operator);
        assert_eq!(check(&gate, start, 315, "Bearer a-token").await, Access::Unavailable);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_empty_token_in_the_secret_is_nobodys() {
        let gate = gate(&[""]);
        assert_eq!(gate.check(Some("Bearer x")).await, Access::Wrong);
    }

    #[test]
    fn debug_shows_no_token() {
        let tokens = Tokens::Fixed(SecretString::from("hunter2-hunter2-hunter2"));
        assert!(!format!("{tokens:?}").contains("hunter2"));
    }
}
