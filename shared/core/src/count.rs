//! Counting in the width that records and metrics have.

/// How many there are; more than `u32` holds is its maximum.
pub(crate) fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
