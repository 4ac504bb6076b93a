//! The last decisions in words, for people who want to know why the fleet is as it is.

use super::Decision;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Decisions that are kept.
pub(super) const SUMMARIES_KEPT: usize = 8;
/// Reasons are kept up to this many bytes; what an outside source said can be long.
const WORDS: usize = 120;

/// One decision, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SummaryRow", into = "SummaryRow")]
pub struct DecisionSummary {
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
type SummaryRow = (i64, Option<u32>, Option<u32>, String, String, u8);

impl From<SummaryRow> for DecisionSummary {
    fn from((second, from, to, rule, words, failed): SummaryRow) -> Self {
        DecisionSummary {
            at: UnixMs(second.saturating_mul(1000)),
            from,
            to,
            rule,
            words,
            failed: failed != 0,
        }
    }
}

impl From<DecisionSummary> for SummaryRow {
    fn from(summary: DecisionSummary) -> Self {
        let DecisionSummary { at, from, to, rule, words, failed } = summary;
        (at.0 / 1000, from, to, rule, words, u8::from(failed))
    }
}

impl DecisionSummary {
    pub(super) fn of(decision: &Decision, now: UnixMs) -> DecisionSummary {
        let tagged = serde_json::to_value(&decision.because).unwrap_or_default();
        let mut words = decision.because.to_string();
        if words.len() > WORDS {
            words.truncate(words.floor_char_boundary(WORDS - "…".len()));
            words.push('…');
        }
        DecisionSummary {
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
    use crate::scaling::{CallResults, Reason, ScalingAction, State};
    use fleet_protocol::reading::{Unknown, UnknownCause};

    fn decision(because: Reason, from: u32, to: u32) -> Decision {
        Decision {
            action: ScalingAction::Nothing,
            because,
            notes: vec![],
            demand: None,
            need: None,
            bounds: None,
            desired_before: Some(from),
            desired: Some(to),
            levels: None,
        }
    }

    fn need(jobs: u32) -> Reason {
        Reason::Need { jobs, workers: jobs }
    }

    #[test]
    fn what_changes_something_or_binds_anew_is_kept_and_the_rest_is_not() {
        let mut state = State::default();
        let minute = |n: i64| UnixMs(1_764_000_000_123 + n * 60_000);
        state.summarize(&decision(need(2), 2, 2), minute(0));
        state.summarize(&decision(need(2), 2, 2), minute(1));
        state.summarize(&decision(Reason::JobsReady { ready: 3 }, 2, 2), minute(2));
        state.summarize(&decision(Reason::JobsReady { ready: 1 }, 2, 2), minute(3));
        state.summarize(&decision(need(4), 2, 4), minute(4));
        state.summarize(&decision(need(5), 4, 5), minute(5));
        let kept: Vec<_> =
            state.decisions.iter().map(|s| (s.rule.as_str(), s.from, s.to)).collect();
        let expected = [
            ("need", Some(2), Some(2)),
            ("jobs_ready", Some(2), Some(2)),
            ("need", Some(2), Some(4)),
            ("need", Some(4), Some(5)),
        ];
        assert_eq!(kept, expected);
        assert_eq!(state.decisions[0].words, "2 jobs need 2 workers");
        for n in 6..30 {
            state.summarize(&decision(need(1), 5, 6), minute(n));
        }
        assert_eq!(state.decisions.len(), SUMMARIES_KEPT);
        assert_eq!(state.decisions[7].at, UnixMs(1_764_000_000_000 + 29 * 60_000));
    }

    #[test]
    fn a_change_that_aws_refused_is_marked_as_failed() {
        let mut state = State { at: UnixMs(1_764_000_000_123), ..State::default() };
        let refused = decision(need(4), 2, 4);
        state.summarize(&refused, state.at);
        state.after_calls(&refused, CallResults { refused: 1, ..CallResults::default() });
        assert!(state.decisions[0].failed);
        // A later failure is not this decision's.
        state.decisions[0].failed = false;
        state.at = UnixMs(1_764_000_060_123);
        state.after_calls(&refused, CallResults { refused: 1, ..CallResults::default() });
        assert!(!state.decisions[0].failed);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let source = Unknown { cause: UnknownCause::Failed, detail: "ä".repeat(400) };
        let summary =
            DecisionSummary::of(&decision(Reason::QueueUnknown { source }, 1, 1), UnixMs(0));
        assert!(summary.words.len() <= WORDS && summary.words.ends_with("ä…"), "{}", summary.words);
    }
}
