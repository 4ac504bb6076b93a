//! Moments as whole milliseconds: exact, ordered and the same after a round trip through JSON.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Milliseconds from `earlier` to `self`; negative where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: UnixMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The second that this moment is in.
    #[must_use]
    pub fn whole_seconds(self) -> UnixMs {
        UnixMs(self.0.div_euclid(1000).saturating_mul(1000))
    }

    /// This moment, `seconds` later.
    #[must_use]
    pub fn plus_seconds(self, seconds: u32) -> UnixMs {
        UnixMs(self.0.saturating_add(i64::from(seconds) * 1000))
    }
}

/// RFC 3339, in UTC.
impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => at.fmt(f),
            // Beyond the year 9999 either way.
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}
