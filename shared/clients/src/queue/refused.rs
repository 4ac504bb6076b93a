//! Waiting after credentials were refused: a pooler that counts wrong passwords shuts everybody out
//! for as long as somebody goes on trying.

use fleet_protocol::reading::Unknown;
use std::time::{Duration, Instant};

/// Supabase's pooler shuts for two minutes at ten failures within 150 s. An environment of a
/// function remembers only its own attempts, so each makes one in any such time: nine of them stay
/// below, and the stack keeps six places.
const FIRST_PAUSE: Duration = Duration::from_secs(160);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The refusals of one set of credentials. New credentials begin anew.
#[derive(Debug, Default)]
pub(super) struct Refused {
    last: Option<(Unknown, Instant)>,
    attempts: u32,
}

impl Refused {
    /// What to answer instead of an attempt at `now`, while the pause lasts.
    pub(super) fn pause(&self, now: Instant) -> Option<Unknown> {
        let (unknown, at) = self.last.as_ref()?;
        let left = (*at + self.pause_after()).checked_duration_since(now)?;
        let detail = format!(
            "{} (not tried again for {} s, unless DATABASE_URL changes)",
            unknown.detail,
            left.as_secs() + 1
        );
        (!left.is_zero()).then_some(Unknown { cause: unknown.cause, detail })
    }

    pub(super) fn note(&mut self, refusal: Unknown, now: Instant) {
        self.last = Some((refusal, now));
        self.attempts = self.attempts.saturating_add(1);
    }

    pub(super) fn clear(&mut self) {
        *self = Refused::default();
    }

    fn pause_after(&self) -> Duration {
        let doubled = self.attempts.saturating_sub(1).min(8);
        (FIRST_PAUSE * 2_u32.pow(doubled)).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_protocol::reading::UnknownCause;

    /// The seconds of an hour in which somebody who would ask every second asks.
    fn attempts() -> Vec<u64> {
        let start = Instant::now();
        let mut refused = Refused::default();
        let ask = |second: &u64| {
            let now = start + Duration::from_secs(*second);
            let asks = refused.pause(now).is_none();
            if asks {
                let detail = "the password is wrong".to_owned();
                refused.note(Unknown { cause: UnknownCause::Unreachable, detail }, now);
            }
            asks
        };
        (0..3600).filter(ask).collect()
    }

    #[test]
    fn refused_credentials_are_tried_less_and_less_often() {
        assert_eq!(attempts()[..4], [0, 160, 460, 760]);
        assert_eq!(attempts().len(), 13);
    }

    #[test]
    fn nine_environments_stay_below_what_shuts_the_pooler() {
        const WINDOW_S: u64 = 150;
        const SHUTS_AT: usize = 10;
        let attempts = attempts();
        let within = |from: u64| {
            let window = from..=from + WINDOW_S;
            attempts.iter().filter(|at| window.contains(at)).count()
        };
        let most = (0..3600).map(within).max();
        assert!(most.is_some_and(|most| most * 9 < SHUTS_AT), "{most:?} each");
    }

    #[test]
    fn the_pause_says_why_and_how_long() {
        let now = Instant::now();
        let mut refused = Refused::default();
        assert_eq!(refused.pause(now), None);
        let detail = "the password is wrong".to_owned();
        refused.note(Unknown { cause: UnknownCause::Unreachable, detail }, now);
        let said = refused.pause(now + Duration::from_secs(10)).expect("a pause");
        assert!(said.detail.contains("wrong") && said.detail.contains("151 s"), "{}", said.detail);
        refused.clear();
        assert_eq!(refused.pause(now), None);
    }
}
