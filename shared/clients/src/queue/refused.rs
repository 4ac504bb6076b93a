//! Waiting after credentials were refused: a pooler that counts wrong passwords shuts everybody out
//! for as long as somebody goes on trying.

use fleet_protocol::reading::Unknown;
use std::time::{Duration, Instant};

/// Supabase's pooler shuts for two minutes at ten failures within 150 s. With this pause before the
/// second attempt, and twice the pause before each further one, four functions
/// together stay below.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
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

    /// Attempts within the pooler's window, by somebody who would ask every second.
    fn attempts(seconds: u64) -> u32 {
        let start = Instant::now();
        let mut refused = Refused::default();
        for second in 0..seconds {
            let now = start + Duration::from_secs(second);
            if refused.pause(now).is_none() {
                let detail = "the password is wrong".to_owned();
                refused.note(Unknown { cause: UnknownCause::Unreachable, detail }, now);
            }
        }
        refused.attempts
    }

    #[test]
    fn refused_credentials_are_tried_less_and_less_often() {
        assert_eq!(attempts(60), 1);
        // Four functions together: below ten within the pooler's 150 s.
        assert_eq!(attempts(150), 2);
        assert_eq!(attempts(600), 4);
        assert_eq!(attempts(3600), 14);
    }

    #[test]
    fn the_pause_says_why_and_how_long() {
        let now = Instant::now();
        let mut refused = Refused::default();
        assert_eq!(refused.pause(now), None);
        let detail = "the password is wrong".to_owned();
        refused.note(Unknown { cause: UnknownCause::Unreachable, detail }, now);
        let said = refused.pause(now + Duration::from_secs(10)).expect("a pause");
        assert!(said.detail.contains("wrong") && said.detail.contains("51 s"), "{}", said.detail);
        refused.clear();
        assert_eq!(refused.pause(now), None);
    }
}
