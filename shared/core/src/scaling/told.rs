//! The last decisions in words, for people who want to know why the fleet is as it is.

use super::Decision;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Decisions that are kept.
pub(super) const TOLD_KEPT: usize = 8;
/// Reasons are kept up to this many bytes; what an outside source said can be long.
const WORDS: usize = 120;

/// One decision, as short as it can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ToldRow", into = "ToldRow")]
pub struct Told {
    /// To the second.
    pub at: UnixMs,
    /// The desired capacity before and after.
    pub from: Option<u32>,
    pub to: Option<u32>,
    /// The tag of the rule that bound, such as `need`.
    pub rule: String,
    pub words: String,
    /// It was decided, and AWS did not say that it did it.
    pub failed: bool,
}

/// As a row: half the bytes of named fields.
type ToldRow = (i64, Option<u32>, Option<u32>, String, String, u8);

impl From<ToldRow> for Told {
    fn from((second, from, to, rule, words, failed): ToldRow) -> Self {
        Told { at: UnixMs(second.saturating_mul(1000)), from, to, rule, words, failed: failed != 0 }
    }
}

impl From<Told> for ToldRow {
    fn from(told: Told) -> Self {
        let Told { at, from, to, rule, words, failed } = told;
        (at.0 / 1000, from, to, rule, words, u8::from(failed))
    }
}

impl Told {
    pub(super) fn of(decision: &Decision, now: UnixMs) -> Told {
        let tagged = serde_json::to_value(&decision.because).unwrap_or_default();
        let mut words = decision.because.to_string();
        if words.len() > WORDS {
            words.truncate(words.floor_char_boundary(WORDS - "…".len()));
            words.push('…');
        }
        Told {
            at: now.whole_seconds(),
            from: decision.desired_before,
            to: decision.desired,
            rule: tagged["rule"].as_str().unwrap_or_default().to_owned(),
            words,
            failed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::{Plan, Reason, State};
    use fleet_protocol::reading::{Unknown, UnknownCause};

    fn decision(because: Reason, from: u32, to: u32) -> Decision {
        Decision {
            plan: Plan::Nothing,
            because,
            notes: vec![],
            demand: None,
            need: None,
            bounds: None,
            desired_before: Some(from),
            desired: Some(to),
        }
    }

    fn need(jobs: u32) -> Reason {
        Reason::Need { jobs, workers: jobs }
    }

    #[test]
    fn what_changes_something_or_binds_anew_is_told_and_the_rest_is_not() {
        let mut state = State::default();
        let minute = |n: i64| UnixMs(1_764_000_000_123 + n * 60_000);
        state.tell(&decision(need(2), 2, 2), minute(0));
        state.tell(&decision(need(2), 2, 2), minute(1));
        state.tell(&decision(Reason::JobsReady { ready: 3 }, 2, 2), minute(2));
        state.tell(&decision(Reason::JobsReady { ready: 1 }, 2, 2), minute(3));
        state.tell(&decision(need(4), 2, 4), minute(4));
        state.tell(&decision(need(5), 4, 5), minute(5));
        let told: Vec<_> =
            state.told.iter().map(|told| (told.rule.as_str(), told.from, told.to)).collect();
        let expected = [
            ("need", Some(2), Some(2)),
            ("jobs_ready", Some(2), Some(2)),
            ("need", Some(2), Some(4)),
            ("need", Some(4), Some(5)),
        ];
        assert_eq!(told, expected);
        assert_eq!(state.told[0].words, "2 jobs want a worker: 2 needed");
        for n in 6..30 {
            state.tell(&decision(need(1), 5, 6), minute(n));
        }
        assert_eq!(state.told.len(), TOLD_KEPT);
        assert_eq!(state.told[7].at, UnixMs(1_764_000_000_000 + 29 * 60_000));
    }

    #[test]
    fn a_change_that_aws_refused_is_told_as_one() {
        let mut state = State { at: UnixMs(1_764_000_000_123), ..State::default() };
        state.tell(&decision(need(4), 2, 4), state.at);
        state.change_failed(Some(2));
        assert!(state.told[0].failed);
        // A later failure is not this decision's.
        state.told[0].failed = false;
        state.at = UnixMs(1_764_000_060_123);
        state.change_failed(Some(2));
        assert!(!state.told[0].failed);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let source = Unknown { cause: UnknownCause::Failed, detail: "ä".repeat(400) };
        let told = Told::of(&decision(Reason::QueueUnknown { source }, 1, 1), UnixMs(0));
        assert!(told.words.len() <= WORDS && told.words.ends_with("ä…"), "{}", told.words);
    }
}
