//! How many jobs want a worker.

use super::idle::{Fleet, InstanceWork};
use super::{Policy, QueueCounts, QueueSnapshot};
use serde::{Deserialize, Serialize};

/// The jobs that want a worker, by kind. `jobs` is what capacity is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Due in the general queue.
    pub ready: u32,
    /// Due in the general queue within one boot time: a worker launched now is there just in time.
    pub due_soon: u32,
    /// Running, in the general queue and the targeted queues of the group's workers, as pg-boss
    /// says.
    pub active: u32,
    /// Waiting or running in targeted queues of workers outside the group, such as desktop workers:
    /// no capacity is kept for them.
    #[serde(default)]
    pub elsewhere: u32,
    /// How many of `active` can really be running: the rest is more than all machines together
    /// could hold, so it belongs to dead workers whose jobs have not expired, or to workers outside
    /// the group.
    pub running: u32,
    /// How many of `running` are on instances that are on their way out and finish them there.
    pub draining: u32,
    /// Jobs waiting for one particular idle worker: they keep it, and never ask for another.
    pub pinned: u32,
    pub jobs: u32,
    /// Whether `active` is what pg-boss says. Otherwise it is the number of busy workers in the
    /// registry: a lower bound.
    pub exact: bool,
}

impl Demand {
    pub(super) fn of(policy: &Policy, queue: &QueueSnapshot, fleet: &Fleet<'_>) -> Demand {
        let jobs_per_worker = policy.jobs_per_worker.get();
        let (active, exact) = match active(queue, fleet) {
            Some(active) => (active, true),
            None => (fleet.count(|work| work.busy), false),
        };
        let running = active.min(fleet.machines().saturating_mul(jobs_per_worker));
        // Who stays runs its own: a leaving worker whose job is not counted as running must not
        // cover one of theirs.
        let staying = fleet.count(|work| !work.leaving && work.busy);
        let draining =
            fleet.count(|work| work.leaving && work.busy).min(running.saturating_sub(staying));
        let pinned = fleet.sum(|work| match work {
            InstanceWork { leaving: false, busy: false, waiting_for_it, .. } => {
                (*waiting_for_it).min(jobs_per_worker)
            }
            _ => 0,
        });
        let (ready, due_soon) = (queue.general.ready, queue.general.due_soon);
        let jobs =
            [ready, due_soon, running - draining, pinned].into_iter().fold(0, u32::saturating_add);
        let elsewhere = elsewhere(queue, fleet);
        Demand { ready, due_soon, active, elsewhere, running, draining, pinned, jobs, exact }
    }

    /// The seed's formula: workers needed for these jobs.
    pub fn need(&self, policy: &Policy) -> u32 {
        self.jobs.div_ceil(policy.jobs_per_worker.get())
    }
}

/// The general queue's counts and those of the targeted queues of the group's workers. Without the
/// registry the workers' names are unknown, and any targeted queue may be one of theirs.
fn ours<'a>(
    queue: &'a QueueSnapshot,
    fleet: &'a Fleet<'_>,
) -> impl Iterator<Item = &'a QueueCounts> {
    let known = queue.workers.known().is_some();
    let targeted = queue.targeted.iter().filter(move |pin| !known || fleet.owns(&pin.worker));
    std::iter::once(&queue.general).chain(targeted.map(|targeted| &targeted.counts))
}

/// Live active jobs of the group's queues; `None` as soon as one of the counts is unknown.
fn active(queue: &QueueSnapshot, fleet: &Fleet<'_>) -> Option<u32> {
    ours(queue, fleet)
        .map(|counts| counts.active.known().map(|active| active.live))
        .try_fold(0, |sum: u32, live| Some(sum.saturating_add(live?)))
}

/// Jobs in the queues of workers outside the group.
fn elsewhere(queue: &QueueSnapshot, fleet: &Fleet<'_>) -> u32 {
    if queue.workers.known().is_none() {
        return 0;
    }
    let strangers = queue.targeted.iter().filter(|pin| !fleet.owns(&pin.worker));
    strangers
        .map(|pin| {
            let active = pin.counts.active.known().map_or(0, |active| active.live);
            pin.counts.ready.saturating_add(pin.counts.due_soon).saturating_add(active)
        })
        .fold(0, u32::saturating_add)
}

/// Jobs past their expiry that pg-boss has not swept yet.
pub(super) fn expired(queue: &QueueSnapshot, fleet: &Fleet<'_>) -> u32 {
    ours(queue, fleet)
        .map(|counts| counts.active.known().map_or(0, |active| active.expired))
        .fold(0, u32::saturating_add)
}
