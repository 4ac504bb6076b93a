//! Which record stands where several wrote the same parameter without knowing of each other.
//!
//! SSM's `PutParameter` has no condition (AWS: API_PutParameter), so a write learns from its
//! version that others wrote since it read. Then all the versions in between are looked at: a
//! request that came second to begin a rollout is not to take the lock, whoever else wrote before
//! it learned so.

use super::Record;
use super::decide::UNLISTED_S;
use fleet_protocol::time::UnixMs;

/// Which record is to be put back after `mine` was written over it; `None` where `mine` stands.
///
/// `since`: the record that the writer had read, and what others wrote after it, oldest first;
/// `None` for what is no record, which never stands.
#[must_use]
pub fn overwritten(mine: &Record, since: &[Option<Record>]) -> Option<usize> {
    let mut standing: Option<(usize, &Record)> = None;
    for (n, written) in since.iter().enumerate() {
        let Some(written) = written else { continue };
        if standing.is_none_or(|(_, standing)| follows(standing, written)) {
            standing = Some((n, written));
        }
    }
    let (n, standing) = standing?;
    // An SDK that got no answer sends a write again, and then meets its own.
    let stands = if n == 0 { follows(standing, mine) } else { standing == mine };
    (!stands).then_some(n)
}

/// Whether who wrote `next` had the lock of `record`, or began a later rollout.
fn follows(record: &Record, next: &Record) -> bool {
    if next.number != record.number {
        return next.number > record.number;
    }
    let first_at = |record: &Record| record.commands.first().map_or(record.at, |sent| sent.at);
    let taken_over = || {
        let waited_ms = i64::from(UNLISTED_S) * 1000;
        record.id().is_none() && first_at(next) >= UnixMs(first_at(record).0 + waited_ms)
    };
    let named = || next.id().is_some() && next.id() == record.id();
    next.key == record.key && (next.attempt == record.attempt || named() || taken_over())
}
