//! Which record stands where several wrote the same parameter without knowing of each other.
//!
//! SSM's `PutParameter` has no condition (AWS: API_PutParameter), so a write learns from its
//! version that others wrote since it read. Then all the versions in between are looked at: a
//! request that came second to begin a rollout is not to take the lock, whoever else wrote before
//! it learned so.

use super::Record;
use super::decide::UNLISTED_S;
use fleet_protocol::time::UnixMs;

/// Of the records that others wrote between the reading and the write of `mine`, oldest first, the
/// one that is to be put back; `None` where `mine` stands. A text that is no record never stands.
///
/// `creates`: `mine` begins a rollout. Then the first of all has the lock; else `mine` belongs to
/// whoever had it already.
pub fn overwritten(mine: &Record, creates: bool, between: &[Option<Record>]) -> Option<usize> {
    let mut standing = (!creates).then_some(mine);
    let mut at = None;
    for (n, written) in between.iter().enumerate() {
        let Some(written) = written else { continue };
        if standing.is_none_or(|standing| follows(standing, written)) {
            (standing, at) = (Some(written), Some(n));
        }
    }
    // An SDK that got no answer sends a write again, and then meets its own.
    at.filter(|_| !creates || standing.is_some_and(|standing| !is_same_attempt(standing, mine)))
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

fn is_same_attempt(one: &Record, other: &Record) -> bool {
    (one.number, &one.key, &one.attempt) == (other.number, &other.key, &other.attempt)
}
