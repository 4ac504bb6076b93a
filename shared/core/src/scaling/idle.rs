//! What the workers of the group are doing, and which of them is proven idle.
//!
//! A registry row is up to a heartbeat old, so "no job" in it is no proof by itself: the worker may
//! have taken one since. The proof is the order of two moments of the database's clock: the worker
//! said "no job" *after* the most recent start of any job that still runs.

use super::{Group, Instance, QueueSnapshot, TargetedQueue, WorkerRow, WorkerStatus};
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Three of the workers' heartbeats of 30 s: an older row says nothing about now.
const FRESH_MS: i64 = 90_000;
/// A heartbeat further in the future says nothing: a clock was set back, or the date is none.
const SKEW_MS: i64 = 30_000;
/// A worker notes its job some moments after pg-boss marked it active, and a heartbeat may carry
/// the moment before.
const CLAIM_LAG_MS: i64 = 5_000;
/// Beyond this the last tick says nothing about what happened in between.
const CONTINUITY_MS: i64 = 180_000;

/// A worker proven idle, and the first of the unbroken ticks that proved it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleSince {
    #[serde(rename = "i")]
    pub instance: InstanceId,
    #[serde(rename = "t")]
    pub since: UnixMs,
}

/// Why an instance in service is not proven idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotIdle {
    /// Its worker has a job, or took one after it last said it had none.
    Busy,
    /// A job waits for this very worker.
    Pinned,
    /// Its worker is being drained by somebody.
    Draining,
    /// No worker of it has a fresh row.
    NoHeartbeat,
    /// A job started after its last heartbeat, and may be its.
    MayHaveTaken,
    /// Protected from scale-in.
    Protected,
    /// Being replaced by the group.
    Unhealthy,
}

/// What is known of one instance's worker.
#[derive(Debug)]
pub(super) struct InstanceWork<'a> {
    pub instance: &'a Instance,
    /// On its way out: not capacity any more.
    pub leaving: bool,
    /// A fresh row of it says it has a job.
    pub busy: bool,
    /// Jobs in its targeted queue that are due within a boot time.
    pub waiting_for_it: u32,
    /// What its targeted queue may be named by.
    names: BTreeSet<WorkerId>,
    not_idle: Option<NotIdle>,
}

/// The group's instances with what the registry and the queue say of each.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    works: Vec<InstanceWork<'a>>,
}

impl<'a> Fleet<'a> {
    pub(super) fn of(group: &'a Group, queue: &QueueSnapshot) -> Fleet<'a> {
        let rows: &[WorkerRow] = match &queue.workers {
            Reading::Known(rows) => rows,
            Reading::Unknown(_) => &[],
        };
        let mut by_instance: BTreeMap<&InstanceId, Vec<&WorkerRow>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.status != WorkerStatus::Offline) {
            if let Some(instance) = &row.instance {
                by_instance.entry(instance).or_default().push(row);
            }
        }
        let works = group
            .instances
            .iter()
            .map(|instance| {
                let rows = by_instance.get(&instance.id).map_or(&[][..], Vec::as_slice);
                work(instance, rows, queue)
            })
            .collect();
        Fleet { works }
    }

    pub(super) fn machines(&self) -> u32 {
        u32::try_from(self.works.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn count(&self, which: impl Fn(&InstanceWork<'_>) -> bool) -> u32 {
        self.sum(|work| u32::from(which(work)))
    }

    pub(super) fn sum(&self, of: impl Fn(&InstanceWork<'_>) -> u32) -> u32 {
        self.works.iter().map(of).fold(0, u32::saturating_add)
    }

    /// Instances proven idle at this reading, each with the first moment of the unbroken proof.
    pub(super) fn idle(
        &self,
        before: &[IdleSince],
        last_tick: UnixMs,
        now: UnixMs,
    ) -> Vec<IdleSince> {
        let unbroken = (0..=CONTINUITY_MS).contains(&now.since(last_tick));
        let mut idle: Vec<IdleSince> = self
            .works
            .iter()
            .filter(|work| work.not_idle.is_none() && !work.leaving)
            .filter(|work| work.instance.lifecycle.is_capacity())
            .map(|work| {
                let known = before.iter().find(|idle| idle.instance == work.instance.id);
                let since = known.filter(|_| unbroken).map_or(now, |idle| idle.since.min(now));
                IdleSince { instance: work.instance.id.clone(), since }
            })
            .collect();
        // Longest idle first, so that the next to go is always among those that are remembered.
        idle.sort_by(|a, b| (a.since, &a.instance).cmp(&(b.since, &b.instance)));
        idle
    }

    /// Whether a worker of this name is in the group, staying or leaving.
    pub(super) fn owns(&self, worker: &WorkerId) -> bool {
        self.works.iter().any(|work| work.names.contains(worker))
    }

    /// Whether a worker of this name is in the group and stays.
    pub(super) fn has_worker(&self, worker: &WorkerId) -> bool {
        self.works.iter().any(|work| !work.leaving && work.names.contains(worker))
    }

    /// How many instances in service are not idle, by why.
    pub(super) fn count_not_idle(&self) -> BTreeMap<NotIdle, u32> {
        let mut counts = BTreeMap::new();
        for work in self.works.iter().filter(|work| work.instance.lifecycle.is_capacity()) {
            if let Some(why) = work.not_idle {
                *counts.entry(why).or_insert(0) += 1;
            }
        }
        counts
    }
}

fn work<'a>(
    instance: &'a Instance,
    rows: &[&WorkerRow],
    queue: &QueueSnapshot,
) -> InstanceWork<'a> {
    let fresh: Vec<&&WorkerRow> = rows
        .iter()
        .filter(|row| (-SKEW_MS..=FRESH_MS).contains(&queue.db_now.since(row.last_heartbeat)))
        .collect();
    // The old workers are named by their instance; newer ones by any of these.
    let own = WorkerId::new(instance.id.as_str());
    let names: BTreeSet<WorkerId> = rows
        .iter()
        .flat_map(|row| std::iter::once(&row.worker).chain(&row.target))
        .chain([&own])
        .cloned()
        .collect();
    let pins = queue.targeted.iter().filter(|targeted| names.contains(&targeted.worker));
    let waiting_for_it = pins
        .clone()
        .map(|pin| pin.counts.ready.saturating_add(pin.counts.due_soon))
        .fold(0, u32::saturating_add);
    let busy = fresh.iter().any(|row| row.has_job);
    let not_idle = if rows.iter().any(|row| row.has_job) {
        // Also a stale row: a worker that stopped reporting with a job in hand may still be at it.
        Some(NotIdle::Busy)
    } else if pins.clone().next().is_some() {
        Some(NotIdle::Pinned)
    } else if fresh.is_empty() {
        Some(NotIdle::NoHeartbeat)
    } else if fresh.iter().any(|row| row.status != WorkerStatus::Active) {
        Some(NotIdle::Draining)
    } else if !fresh.iter().all(|row| said_so_after_every_start(row, queue)) {
        Some(NotIdle::MayHaveTaken)
    } else if instance.protected {
        Some(NotIdle::Protected)
    } else if !instance.healthy {
        Some(NotIdle::Unhealthy)
    } else {
        None
    };
    let leaving = instance.lifecycle.is_leaving();
    InstanceWork { instance, leaving, busy, waiting_for_it, names, not_idle }
}

/// The targeted queues of the group's workers. Without the registry the workers' names are unknown,
/// and any targeted queue may be one of theirs.
pub fn own_queues<'a>(queue: &'a QueueSnapshot, group: &Group) -> Vec<&'a TargetedQueue> {
    let fleet = Fleet::of(group, queue);
    let known = queue.workers.known().is_some();
    queue.targeted.iter().filter(|pin| !known || fleet.owns(&pin.worker)).collect()
}

/// Jobs of targeted queues do not matter here: they run on their own worker, which is pinned.
fn said_so_after_every_start(row: &WorkerRow, queue: &QueueSnapshot) -> bool {
    match &queue.general.active {
        Reading::Unknown(_) => false,
        Reading::Known(active) => {
            active.newest_start.is_none_or(|start| row.last_heartbeat.since(start) >= CLAIM_LAG_MS)
        }
    }
}
