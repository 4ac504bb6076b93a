//! What one tick remembers for the next. Losing it is safe: everything is then held for one full
//! hold.

use super::summary::{DecisionSummary, SUMMARIES_KEPT};
use super::{BootMemory, Decision, HoldMemory, IdleMemory, SpareMemory, UnableWorker};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// The size of a standard SSM parameter; the encoded memory never exceeds it.
pub const STATE_LIMIT_BYTES: usize = 4096;
/// The layout of the encoded memory. A reader that meets a higher one treats the memory as lost.
const LAYOUT: u32 = 1;
/// One sample a minute, for the page's last hour.
const RING_SAMPLES: usize = 60;
const HOLD_STEPS: usize = 32;

/// The memory as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a tick has one of it")]
pub enum Memory {
    Kept(State),
    Lost { cause: LossCause, detail: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// There was none: the first tick, or somebody deleted it.
    Absent,
    /// It could not be read from where it is kept.
    Unreachable,
    Corrupt,
    /// It was written by a later version of this program.
    NewerVersion,
}

impl Memory {
    /// Reads the encoded memory; what cannot be read is lost, with the cause, and never an error.
    #[must_use]
    pub fn decode(text: &str) -> Memory {
        #[derive(Deserialize)]
        struct Layout {
            v: u32,
        }
        let corrupt = |error: serde_json::Error| Memory::Lost {
            cause: LossCause::Corrupt,
            detail: error.to_string(),
        };
        match serde_json::from_str::<Layout>(text) {
            Err(error) => corrupt(error),
            Ok(Layout { v }) if v > LAYOUT => Memory::Lost {
                cause: LossCause::NewerVersion,
                detail: format!("layout {v}, this version reads up to {LAYOUT}"),
            },
            Ok(_) => serde_json::from_str::<Encoded>(text)
                .map_or_else(corrupt, |encoded| Memory::Kept(encoded.state)),
        }
    }

    /// The state to go on from: what was kept, or an empty one.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Memory::Kept(state) => state.clone(),
            Memory::Lost { .. } => State::default(),
        }
    }
}

/// What became of the calls that carry a decision out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallResults {
    /// AWS did them.
    pub made: u32,
    /// AWS refused them.
    pub refused: u32,
    /// No answer came: they may have been done or not.
    pub unanswered: u32,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    v: u32,
    /// The version before cannot do without this field; what it remembers there is confirmed anew.
    #[serde(default, skip_deserializing, rename = "idle")]
    idle_before: [u8; 0],
    #[serde(flatten)]
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Counts the ticks.
    pub seq: u64,
    /// When the last tick was.
    pub at: UnixMs,
    /// The desired capacity we left behind; another number means that something else changed it.
    pub desired: Option<u32>,
    /// The desired capacity that we asked for without an answer: it may have become that instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u32>,
    pub hold: HoldMemory,
    /// Instances whose worker was proven idle at the last tick, and since when.
    #[serde(default, rename = "idle_since", skip_serializing_if = "IdleMemory::is_empty")]
    pub idle: IdleMemory,
    /// Instances whose worker cannot take a job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unable: Vec<UnableWorker>,
    /// Since when the group has had fewer instances than it is to have, and none of them booting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_since: Option<UnixMs>,
    /// When the last instance was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_at: Option<UnixMs>,
    /// An instance on its way out whose worker takes jobs, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_told: Option<(InstanceId, UnixMs)>,
    #[serde(default, skip_serializing_if = "SpareMemory::is_empty")]
    pub spare: SpareMemory,
    #[serde(default, skip_serializing_if = "BootMemory::is_empty")]
    pub boot: BootMemory,
    /// Whether the group follows its desired capacity and its workers take jobs, as the last tick
    /// saw it; `None` where it could not tell, and from the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converging: Option<bool>,
    /// The last hour, oldest first.
    pub ring: Vec<Sample>,
    /// The last decisions that changed something or were bound by another rule than the one
    /// before, oldest first. Memory from before there were any has none.
    #[serde(default, rename = "told")]
    pub decisions: Vec<DecisionSummary>,
}

/// One minute of the last hour. What was unknown is `None`, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SampleRow", into = "SampleRow")]
pub struct Sample {
    /// Minutes since 1970.
    pub minute: u32,
    pub ready: Option<u32>,
    pub active: Option<u32>,
    pub desired: Option<u32>,
    pub in_service: Option<u32>,
}

/// A sample as a row of numbers: a third of the bytes of named fields.
type SampleRow = (u32, Option<u32>, Option<u32>, Option<u32>, Option<u32>);

impl From<SampleRow> for Sample {
    fn from((minute, ready, active, desired, in_service): SampleRow) -> Self {
        Sample { minute, ready, active, desired, in_service }
    }
}

impl From<Sample> for SampleRow {
    fn from(sample: Sample) -> Self {
        (sample.minute, sample.ready, sample.active, sample.desired, sample.in_service)
    }
}

impl State {
    /// The memory as text of at most [`STATE_LIMIT_BYTES`]. Where it would be longer, what people
    /// only look at goes first: all but the newest decision, then the oldest samples.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut encoded = Encoded { v: LAYOUT, idle_before: [], state: self.clone() };
        encoded.state.hold.shorten(HOLD_STEPS);
        loop {
            let text = serde_json::to_string(&encoded).expect("numbers and strings always encode");
            if text.len() <= STATE_LIMIT_BYTES {
                return text;
            }
            if encoded.state.decisions.len() > 1 {
                encoded.state.decisions.remove(0);
            } else if !encoded.state.ring.is_empty() {
                encoded.state.ring.remove(0);
            } else if !encoded.state.idle.is_empty() {
                encoded.state.idle.shorten();
            } else if encoded.state.decisions.pop().is_none() {
                encoded.state.unable.pop();
            }
        }
    }

    /// What is known of workers does not outlive a reading that gave no answer.
    pub(super) fn forget_workers(&mut self) {
        self.idle = IdleMemory::default();
        self.unable.clear();
        self.not_told = None;
    }

    /// Adds a sample; a later one of the same minute replaces it, and those older than an hour go.
    pub(super) fn remember(&mut self, sample: Sample) {
        self.ring.retain(|old| {
            old.minute < sample.minute
                && sample.minute - old.minute < u32::try_from(RING_SAMPLES).expect("60 fits")
        });
        self.ring.push(sample);
    }

    /// Keeps a summary of the decision where it changes something, or where another rule binds
    /// than did last.
    pub(super) fn summarize(&mut self, decision: &Decision, now: UnixMs) {
        let summary = DecisionSummary::of(decision, now);
        let news = self.decisions.last().is_none_or(|last| last.rule != summary.rule);
        if news || summary.from != summary.to {
            self.decisions.push(summary);
            let beyond = self.decisions.len().saturating_sub(SUMMARIES_KEPT);
            self.decisions.drain(..beyond);
        }
    }

    /// Corrects the expectation by what became of the decision's calls, so that the next tick does
    /// not take a change that was not made for one that something else took back. Calls that were
    /// not sent, as in a dry run, are in none of the numbers.
    ///
    /// Where a call was not answered, both the capacity with and without it are expected.
    pub fn after_calls(&mut self, decision: &Decision, results: CallResults) {
        let CallResults { made, refused, unanswered } = results;
        if let Some(before) = decision.desired_before {
            let after = decision.action.desired_after(before);
            let calls = decision.action.calls();
            // Each call changes the capacity by its share: one instance, or all of it.
            let changed = |calls_made: u32| match calls_made {
                0 => before,
                made if made >= calls => after,
                made => before.saturating_sub(made),
            };
            self.desired = Some(changed(made));
            self.unanswered = (unanswered > 0).then(|| changed(made.saturating_add(unanswered)));
        }
        if refused > 0 || unanswered > 0 {
            self.mark_failed();
        }
    }

    fn mark_failed(&mut self) {
        if let Some(last) =
            self.decisions.last_mut().filter(|last| last.at == self.at.whole_seconds())
        {
            last.failed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::Unable;

    fn summary(n: u32) -> DecisionSummary {
        DecisionSummary {
            at: UnixMs(1_764_000_000_000 + i64::from(n) * 60_000),
            from: Some(n),
            to: Some(n + 1),
            rule: "need".to_owned(),
            words: format!("{n} jobs need {n} workers and some more words"),
            failed: false,
        }
    }

    fn crowded() -> State {
        let mut state = State {
            seq: u64::MAX,
            at: UnixMs(i64::MAX),
            desired: Some(u32::MAX),
            ..State::default()
        };
        for level in (1..=200).rev() {
            state.hold.touch(level, UnixMs(4_000_000_000_000 - i64::from(level)));
        }
        let ids: Vec<InstanceId> =
            (0..2_000).map(|n| InstanceId::new(format!("i-{n:017x}"))).collect();
        state.idle = ids.iter().map(|id| (id, UnixMs(4_000_000_000_000))).collect();
        state.unable = ids
            .iter()
            .take(24)
            .map(|id| UnableWorker { instance: id.clone(), since: state.at, why: Unable::NoRow })
            .collect();
        for tick in 0..500 {
            state.spare.observe(tick * 7919 % 1000, 95, UnixMs(i64::from(tick) * 10_000));
        }
        for n in 0..20 {
            state.decisions.push(summary(n));
        }
        for minute in 29_000_000..29_000_200 {
            let many = Some(1_000_000);
            state.remember(Sample {
                minute,
                ready: many,
                active: many,
                desired: many,
                in_service: many,
            });
        }
        state
    }

    #[test]
    fn the_memory_never_outgrows_its_parameter() {
        let text = crowded().encode();
        assert!(text.len() <= STATE_LIMIT_BYTES, "{} bytes", text.len());
        let Memory::Kept(read) = Memory::decode(&text) else { panic!("{text}") };
        assert_eq!(read.unable, crowded().unable);
        assert!(read.idle.len() > 40, "{} idle instances left", read.idle.len());
        assert_eq!(read.decisions.len(), 1, "the newest decision is the last to go");
    }

    #[test]
    fn an_ordinary_hour_fits_whole() {
        let mut state = State::default();
        state.hold.touch(10, UnixMs(1_764_000_000_000));
        for minute in 29_400_000..29_400_060 {
            state.remember(Sample {
                minute,
                ready: Some(12),
                active: Some(10),
                desired: Some(10),
                in_service: None,
            });
        }
        state.decisions = (0..8).map(summary).collect();
        let text = state.encode();
        assert!(text.len() < 3072, "{} bytes", text.len());
        assert_eq!(Memory::decode(&text), Memory::Kept(state));
    }

    #[test]
    fn memory_of_the_version_before_is_read_and_the_version_before_reads_ours() {
        let before = r#"{"v":1,"seq":7,"at":5,"desired":3,"hold":[[3,5]],"idle":[],"ring":[]}"#;
        let Memory::Kept(mut state) = Memory::decode(before) else { panic!("lost") };
        assert_eq!((state.seq, state.decisions.len(), state.idle.is_empty()), (7, 0, true));
        // The version before passes over fields that it does not know, so the layout keeps its
        // number.
        state.decisions.push(summary(1));
        let ours = state.encode();
        assert!(ours.starts_with("{\"v\":1,\"idle\":[],"), "{ours}");
    }

    #[test]
    fn rubbish_and_the_future_are_lost_memory_with_the_cause() {
        for (text, expected) in [
            ("", LossCause::Corrupt),
            ("null", LossCause::Corrupt),
            ("{\"v\":1}", LossCause::Corrupt),
            ("{\"v\":2,\"everything\":\"else\"}", LossCause::NewerVersion),
        ] {
            let Memory::Lost { cause, .. } = Memory::decode(text) else { panic!("{text}") };
            assert_eq!(cause, expected, "{text}");
        }
    }

    #[test]
    fn the_ring_holds_one_sample_a_minute_and_one_hour() {
        let mut state = State::default();
        let sample = |minute, ready| Sample {
            minute,
            ready: Some(ready),
            active: None,
            desired: None,
            in_service: None,
        };
        state.remember(sample(100, 1));
        state.remember(sample(100, 2));
        state.remember(sample(130, 3));
        assert_eq!(state.ring, [sample(100, 2), sample(130, 3)]);
        state.remember(sample(160, 4));
        assert_eq!(state.ring, [sample(130, 3), sample(160, 4)]);
    }
}
