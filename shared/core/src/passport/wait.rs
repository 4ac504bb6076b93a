//! A wait, split by what it was for.

use super::{Segment, SegmentKind};
use fleet_protocol::time::UnixMs;

/// The moments that end the parts of a wait, as far as they are known. Clocks differ, so each is
/// taken into the wait, and none before the one that comes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundaries {
    pub from: UnixMs,
    /// The claim, the end without one, or now. Not before `from`.
    pub until: UnixMs,
    /// When the last retry fell due.
    pub retry_due: Option<UnixMs>,
    /// It waits for other jobs to complete.
    pub blocked: bool,
    /// It was taken.
    pub claimed: bool,
    /// Milliseconds within which a tick counts a job.
    pub tick_ms: i64,
    /// When its machine's capacity was asked for.
    pub requested: Option<UnixMs>,
    pub launched: Option<UnixMs>,
    /// When its worker registered.
    pub registered: Option<UnixMs>,
    /// When its worker ended the job before; `None` is unknown, `Some(None)` that there was none.
    pub job_before: Option<Option<UnixMs>>,
}

/// The parts of the wait, one after the other, none of them empty: together they are the wait.
#[must_use]
pub fn split(wait: &Boundaries) -> Vec<Segment> {
    let mut parts = Parts { at: wait.from, until: wait.until, segments: Vec::new() };
    if let Some(due) = wait.retry_due {
        parts.until(due, SegmentKind::Retry, true);
    }
    if !wait.claimed {
        not_taken(wait, &mut parts);
    } else {
        for_its_machine(wait, &mut parts);
        for_its_worker(wait, &mut parts);
    }
    parts.segments
}

/// Nobody knows which machine will take it.
fn not_taken(wait: &Boundaries, parts: &mut Parts) {
    if wait.blocked {
        return parts.rest(SegmentKind::Queue, true);
    }
    parts.until(UnixMs(parts.at.0.saturating_add(wait.tick_ms)), SegmentKind::Tick, false);
    parts.rest(SegmentKind::Unsplit, false);
}

/// Until its worker was there. Where it was there before, this part is empty.
fn for_its_machine(wait: &Boundaries, parts: &mut Parts) {
    if let Some(registered) = wait.registered
        && registered <= parts.at
    {
        return;
    }
    let Some(launched) = wait.launched else {
        // A worker that registered later waited for its machine, nobody knows for how long.
        if let Some(registered) = wait.registered {
            parts.until(registered, SegmentKind::Unsplit, false);
        }
        return;
    };
    if launched > parts.at {
        // A tick counts it within the time between two of them. What it then asked for later
        // was for others, or had to wait for their end.
        let counted = UnixMs(parts.at.0.saturating_add(wait.tick_ms));
        match wait.requested {
            Some(requested) => {
                parts.until(requested.min(counted), SegmentKind::Tick, requested <= counted);
                parts.until(requested, SegmentKind::Queue, false);
                parts.until(launched, SegmentKind::Launch, true);
            }
            None => {
                parts.until(launched.min(counted), SegmentKind::Tick, false);
                parts.until(launched, SegmentKind::Unsplit, false);
            }
        }
    }
    if let Some(registered) = wait.registered {
        parts.until(registered, SegmentKind::Boot, true);
    }
}

/// Until its worker took it.
fn for_its_worker(wait: &Boundaries, parts: &mut Parts) {
    let Some(job_before) = wait.job_before.filter(|_| wait.registered.is_some()) else {
        return parts.rest(SegmentKind::Unsplit, false);
    };
    if let Some(ended) = job_before {
        parts.until(ended, SegmentKind::Queue, true);
    }
    parts.rest(SegmentKind::Claim, true);
}

struct Parts {
    at: UnixMs,
    until: UnixMs,
    segments: Vec<Segment>,
}

impl Parts {
    /// The part from where the one before ended.
    fn until(&mut self, moment: UnixMs, kind: SegmentKind, exact: bool) {
        let end = moment.min(self.until);
        if end <= self.at {
            return;
        }
        let ms = end.since(self.at).unsigned_abs();
        let (from, because) = (self.at.to_string(), kind.words(exact));
        self.segments.push(Segment { kind, from, ms, exact, because });
        self.at = end;
    }

    fn rest(&mut self, kind: SegmentKind, exact: bool) {
        self.until(self.until, kind, exact);
    }
}
