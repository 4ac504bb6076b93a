//! How many jobs need a worker of this group.
//!
//! A job is counted where it runs. The registry says it first: a row with a job occupies its
//! machine whatever pg-boss says of that job, and a row of an instance outside the group takes its
//! job out of the count. Active jobs that no row shows were taken a moment ago by a worker of the
//! group that has not said so yet, or run somewhere else; they count as far as such workers exist.

use super::workers::{Fleet, InstanceWork};
use super::{Policy, QueueCounts, QueueSnapshot};
use serde::{Deserialize, Serialize};

/// The jobs that need a worker, by kind. `jobs` is what capacity is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Due in the general queue.
    pub ready: u32,
    /// Due in the general queue within one boot time: a worker launched now is there just in time.
    pub due_soon: u32,
    /// Active in the general queue and the targeted queues of the group's workers, as pg-boss says.
    pub active: u32,
    /// Jobs on instances of the group: those that the registry shows, and of the other active ones
    /// as many as may have been taken by workers that have not reported since.
    pub running: u32,
    /// How many of `running` are on instances that are on their way out and finish them there.
    pub draining: u32,
    /// Active jobs that run outside the group or whose worker is gone, and all jobs in targeted
    /// queues of workers outside the group, such as desktop workers: no capacity is kept for them.
    #[serde(default)]
    pub elsewhere: u32,
    /// Jobs waiting for one particular idle worker: they keep it, and never ask for another.
    pub pinned: u32,
    pub jobs: u32,
    /// Whether `active` is what pg-boss says. Otherwise it is the number of jobs in the registry:
    /// a lower bound.
    pub exact: bool,
}

impl Demand {
    pub(super) fn of(policy: &Policy, queue: &QueueSnapshot, fleet: &Fleet<'_>) -> Demand {
        let jobs_per_worker = policy.jobs_per_worker.get();
        let staying = fleet.sum(|work| if work.leaving { 0 } else { work.jobs });
        let draining = fleet.sum(|work| if work.leaving { work.jobs } else { 0 });
        let shown = staying.saturating_add(draining);
        let (active, exact) = match active(queue, fleet) {
            Some(active) => (active, true),
            None => (shown, false),
        };
        let unattributed = active.saturating_sub(shown).saturating_sub(queue.jobs_elsewhere);
        let room = fleet.sum(|work| match work {
            InstanceWork { leaving: false, may_have_taken: true, jobs, .. } => {
                jobs_per_worker.saturating_sub(*jobs)
            }
            _ => 0,
        });
        let unnoticed = unattributed.min(room);
        let running = shown.saturating_add(unnoticed);
        let pinned = fleet.sum(|work| match work {
            InstanceWork { leaving: false, jobs: 0, waiting_for_it, .. } => {
                (*waiting_for_it).min(jobs_per_worker)
            }
            _ => 0,
        });
        let (ready, due_soon) = (queue.general.ready, queue.general.due_soon);
        let jobs =
            [ready, due_soon, running - draining, pinned].into_iter().fold(0, u32::saturating_add);
        Demand {
            ready,
            due_soon,
            active,
            running,
            draining,
            elsewhere: active.saturating_sub(running).saturating_add(of_strangers(fleet)),
            pinned,
            jobs,
            exact,
        }
    }

    /// The seed's formula: workers needed for these jobs.
    #[must_use]
    pub fn need(&self, policy: &Policy) -> u32 {
        self.jobs.div_ceil(policy.jobs_per_worker.get())
    }
}

/// The general queue's counts and those of the targeted queues of the group's workers.
fn ours<'a>(
    queue: &'a QueueSnapshot,
    fleet: &'a Fleet<'_>,
) -> impl Iterator<Item = &'a QueueCounts> {
    let targeted = fleet.own_queues.iter().map(|targeted| &targeted.counts);
    std::iter::once(&queue.general).chain(targeted)
}

/// Live active jobs of the group's queues; `None` as soon as one of the counts is unknown.
fn active(queue: &QueueSnapshot, fleet: &Fleet<'_>) -> Option<u32> {
    ours(queue, fleet)
        .map(|counts| counts.active.known().map(|active| active.live))
        .try_fold(0, |sum: u32, live| Some(sum.saturating_add(live?)))
}

/// Jobs in the queues of workers outside the group.
fn of_strangers(fleet: &Fleet<'_>) -> u32 {
    let strangers = fleet.strangers_queues.iter();
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
