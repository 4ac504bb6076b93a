//! What one tick remembers for the next. Losing it is safe: everything is then held for one full hold.

use super::{HoldMemory, IdleSince};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// The size of a standard SSM parameter; the encoded memory never exceeds it.
pub const STATE_LIMIT_BYTES: usize = 4096;
/// The layout of the encoded memory. A reader that meets a higher one treats the memory as lost.
const LAYOUT: u32 = 1;
/// One sample a minute, for the page's last hour.
const RING_SAMPLES: usize = 60;
/// Idle workers remembered at a time; one worker is ended a tick, so the rest can wait for its turn.
const IDLE_REMEMBERED: usize = 40;
const HOLD_STEPS: usize = 32;

/// The memory as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    pub fn state(&self) -> State {
        match self {
            Memory::Kept(state) => state.clone(),
            Memory::Lost { .. } => State::default(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    v: u32,
    #[serde(flatten)]
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Counts the ticks.
    pub seq: u64,
    /// When the last tick was.
    pub at: UnixMs,
    /// The desired capacity we left behind; another number means somebody else changed it.
    pub desired: Option<u32>,
    pub hold: HoldMemory,
    /// Instances whose worker was proven idle at the last tick, and since when.
    pub idle: Vec<IdleSince>,
    /// The last hour, oldest first.
    pub ring: Vec<Sample>,
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
    /// The memory as text of at most [`STATE_LIMIT_BYTES`]. Where it would be longer, the oldest samples go first: they are only drawn.
    pub fn encode(&self) -> String {
        let mut encoded = Encoded { v: LAYOUT, state: self.clone() };
        encoded.state.idle.truncate(IDLE_REMEMBERED);
        encoded.state.hold.shorten(HOLD_STEPS);
        loop {
            let text = serde_json::to_string(&encoded).expect("numbers and strings always encode");
            if text.len() <= STATE_LIMIT_BYTES {
                return text;
            }
            if encoded.state.ring.is_empty() {
                encoded.state.idle.pop();
            } else {
                encoded.state.ring.remove(0);
            }
        }
    }

    /// Adds a sample; a later one of the same minute replaces it, and those older than an hour go.
    pub(super) fn remember(&mut self, sample: Sample) {
        self.ring.retain(|old| {
            old.minute < sample.minute
                && sample.minute - old.minute < u32::try_from(RING_SAMPLES).expect("60 fits")
        });
        self.ring.push(sample);
    }

    /// Corrects the expectation after a change that was not made, so that the next tick does not take it for somebody else's.
    pub fn change_failed(&mut self, desired_before: Option<u32>) {
        self.desired = desired_before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::InstanceId;

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
        state.idle = (0..200)
            .map(|n| IdleSince {
                instance: InstanceId::new(format!("i-{n:017x}")),
                since: UnixMs(4_000_000_000_000),
            })
            .collect();
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
        assert!(read.ring.len() > 20, "{} samples left", read.ring.len());
        assert_eq!(read.idle.len(), IDLE_REMEMBERED);
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
        let text = state.encode();
        assert!(text.len() < 2048, "{} bytes", text.len());
        assert_eq!(Memory::decode(&text), Memory::Kept(state));
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
