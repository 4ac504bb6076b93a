//! The deploy secret: compared in constant time, current and previous both valid so that rotation
//! drops nobody.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::secrets::CALLER_SECRETS;
use crate::server::Server;

pub(super) const HEADER: &str = "x-deploy-secret";

/// True when the request shows a valid secret. Hashing first makes the comparison independent of
/// every length, and all of them are always compared.
pub(super) fn is_shown(server: &Server, headers: &HeaderMap) -> bool {
    let shown = headers.get(HEADER).map(|value| value.as_bytes()).unwrap_or_default();
    let shown = Sha256::digest(shown);
    let environment = server.secrets.environment();
    let mut valid = Choice::from(0);
    for name in CALLER_SECRETS {
        let known =
            environment.get(name).map(|secret| secret.expose_secret().trim()).unwrap_or_default();
        let same = Sha256::digest(known.as_bytes()).ct_eq(&shown);
        // An empty secret is none at all.
        valid |= same & Choice::from(u8::from(!known.is_empty()));
    }
    valid.into()
}

/// Whoever guesses fills no log.
const BETWEEN_WORDS: Duration = Duration::from_secs(10);

/// Requests without a valid secret, for the log.
#[derive(Debug, Default)]
pub struct Refusals {
    state: Mutex<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    /// Since the last line.
    count: u64,
    said: Option<Instant>,
}

impl Refusals {
    /// Notes one, and says so when the last line is ten seconds old.
    pub(super) fn note(&self, peer: IpAddr, path: &str) {
        if let Some(count) = self.count(Instant::now()) {
            tracing::warn!(
                kind = "secret_refused",
                peer = %peer,
                path,
                count,
                "requests with a wrong or missing X-Deploy-Secret were refused; the last one came from this peer"
            );
        }
    }

    /// How many there were since the last line, when it is time for one.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < BETWEEN_WORDS) {
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.count))
    }
}

#[cfg(test)]
mod tests {
    use super::{BETWEEN_WORDS, Refusals};
    use std::time::Instant;

    #[test]
    fn a_flood_of_wrong_secrets_is_one_line_in_ten_seconds_with_their_number() {
        let refusals = Refusals::default();
        let began = Instant::now();
        assert_eq!(refusals.count(began), Some(1));
        for _ in 0..999 {
            assert_eq!(refusals.count(began), None);
        }
        assert_eq!(refusals.count(began + BETWEEN_WORDS), Some(1000));
    }
}
