//! Moments as whole milliseconds: exact, ordered and the same after a round trip through JSON.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Milliseconds from `earlier` to `self`; negative where `earlier` is later.
    pub fn since(self, earlier: UnixMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment, `seconds` later.
    pub fn plus_seconds(self, seconds: u32) -> UnixMs {
        UnixMs(self.0.saturating_add(i64::from(seconds) * 1000))
    }
}
