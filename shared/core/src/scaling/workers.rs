//! What the workers of the group are doing: which of them can take a job, and which is idle.
//!
//! A registry row is up to a heartbeat old, so "no job" in it is no proof by itself: the worker may
//! have taken one since. The proof is the order of two moments of the database's clock: the worker
//! said "no job" *after* the most recent start of any job that still runs. A worker that keeps the
//! contract says in its row whether it takes jobs (`accepting`); such a row without a job makes it
//! likely idle, which is enough where a drain stands behind it.

use super::{
    Group, Instance, Observation, QueueSnapshot, TargetedQueue, Unable, WorkerRow, WorkerStatus,
};
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Three of the workers' heartbeats of 30 s: an older row says nothing about now.
const FRESH_MS: i64 = 90_000;
/// A row that was written while the snapshot was taken may carry a moment after it. One further in
/// the future was written by another clock, and proves nothing.
const FUTURE_MS: i64 = 2_000;
/// A worker notes its job some moments after pg-boss marked it active, and a heartbeat may carry
/// the moment before.
const CLAIM_LAG_MS: i64 = 5_000;

/// Why an instance in service is not proven idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotIdle {
    /// Its worker has a job, or took one after it last said it had none.
    Busy,
    /// A job waits for this very worker.
    Pinned,
    /// Its worker is being drained, or says that it takes no jobs.
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
    /// Jobs that its rows show, stale rows included: a worker that stopped reporting with a job in
    /// hand may still be at it.
    pub jobs: u32,
    /// Of `jobs`, those of fresh rows.
    pub fresh_jobs: u32,
    /// A fresh row says that it takes jobs.
    pub takes_jobs: bool,
    /// Why its worker would take no job, whether it has one or not.
    pub unable: Option<Unable>,
    /// Jobs in its targeted queue that are due within a boot time.
    pub waiting_for_it: u32,
    /// An active job that no registry row shows may be its.
    pub may_have_taken: bool,
    /// What forbids to end it without a drain behind it.
    pub not_idle: Option<NotIdle>,
    /// Its worker keeps the contract.
    pub keeps_contract: bool,
    /// Since when the worker itself says that it is idle.
    pub idle_since: Option<UnixMs>,
    /// What its targeted queue may be named by.
    names: BTreeSet<&'a str>,
}

impl InstanceWork<'_> {
    /// In service and not on its way out.
    pub(super) fn serves(&self) -> bool {
        self.instance.lifecycle.is_capacity()
    }

    /// Whether the worker says by itself, in a fresh row, that it takes jobs and has none.
    pub(super) fn is_likely_idle(&self) -> bool {
        let word_is_enough = matches!(self.not_idle, None | Some(NotIdle::MayHaveTaken));
        self.keeps_contract && self.takes_jobs && self.jobs == 0 && word_is_enough
    }
}

/// The group's instances with what the registry and the queue say of each.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    works: Vec<InstanceWork<'a>>,
    /// The targeted queues of their workers. Without the registry the workers' names are unknown,
    /// and any targeted queue may be one of theirs.
    pub own_queues: Vec<&'a TargetedQueue>,
    /// Those of workers outside the group.
    pub strangers_queues: Vec<&'a TargetedQueue>,
}

impl<'a> Fleet<'a> {
    pub(super) fn of(group: &'a Group, queue: &'a QueueSnapshot) -> Fleet<'a> {
        let rows: &[WorkerRow] = match &queue.workers {
            Reading::Known(rows) => rows,
            Reading::Unknown(_) => &[],
        };
        let ours: BTreeSet<&InstanceId> = group.instances.iter().map(|i| &i.id).collect();
        let mut by_instance: BTreeMap<&InstanceId, Vec<&WorkerRow>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.status != WorkerStatus::Offline) {
            if let Some(instance) = row.instance.as_ref().filter(|id| ours.contains(id)) {
                by_instance.entry(instance).or_default().push(row);
            }
        }
        let pins: BTreeMap<&str, u32> = queue
            .targeted
            .iter()
            .map(|pin| (pin.worker.as_str(), pin.counts.ready.saturating_add(pin.counts.due_soon)))
            .collect();
        let works: Vec<InstanceWork<'_>> = group
            .instances
            .iter()
            .map(|instance| {
                let rows = by_instance.get(&instance.id).map_or(&[][..], Vec::as_slice);
                work(instance, rows, queue, &pins)
            })
            .collect();
        let names: BTreeSet<&str> =
            works.iter().flat_map(|work| work.names.iter().copied()).collect();
        let is_known = queue.workers.known().is_some();
        let is_own = |pin: &&TargetedQueue| !is_known || names.contains(pin.worker.as_str());
        let (own_queues, strangers_queues) = queue.targeted.iter().partition(is_own);
        Fleet { works, own_queues, strangers_queues }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &InstanceWork<'a>> {
        self.works.iter()
    }

    pub(super) fn count(&self, which: impl Fn(&InstanceWork<'_>) -> bool) -> u32 {
        self.sum(|work| u32::from(which(work)))
    }

    pub(super) fn sum(&self, of: impl Fn(&InstanceWork<'_>) -> u32) -> u32 {
        self.works.iter().map(of).fold(0, u32::saturating_add)
    }

    /// The names of the workers that are not on their way out.
    pub(super) fn staying(&self) -> BTreeSet<&'a str> {
        let staying = self.works.iter().filter(|work| !work.leaving);
        staying.flat_map(|work| work.names.iter().copied()).collect()
    }

    /// How many instances in service are not idle, by why.
    pub(super) fn count_not_idle(&self) -> BTreeMap<NotIdle, u32> {
        let mut counts = BTreeMap::new();
        for work in self.works.iter().filter(|work| work.serves()) {
            if let Some(why) = work.not_idle {
                *counts.entry(why).or_insert(0) += 1;
            }
        }
        counts
    }
}

impl Observation {
    /// Leaves out the registry rows of workers outside the group, of which there may be any number,
    /// and keeps how many jobs they have.
    #[must_use]
    pub fn without_strangers(mut self) -> Observation {
        let (Reading::Known(queue), Reading::Known(group)) = (&mut self.queue, &self.group) else {
            return self;
        };
        let db_now = queue.db_now;
        let Reading::Known(rows) = &mut queue.workers else { return self };
        let here: BTreeSet<&InstanceId> = group.instances.iter().map(|i| &i.id).collect();
        let mut elsewhere = 0_u32;
        rows.retain(|row| {
            let ours = row.instance.as_ref().is_some_and(|id| here.contains(id));
            if !ours && row.status != WorkerStatus::Offline && is_fresh(row, db_now) {
                elsewhere = elsewhere.saturating_add(jobs_of(row));
            }
            ours
        });
        queue.jobs_elsewhere = queue.jobs_elsewhere.saturating_add(elsewhere);
        self
    }
}

fn work<'a>(
    instance: &'a Instance,
    rows: &[&'a WorkerRow],
    queue: &QueueSnapshot,
    pins: &BTreeMap<&str, u32>,
) -> InstanceWork<'a> {
    let fresh: Vec<&WorkerRow> =
        rows.iter().copied().filter(|row| is_fresh(row, queue.db_now)).collect();
    // The old workers are named by their instance; newer ones by any of these.
    let written = rows.iter().flat_map(|row| std::iter::once(&row.worker).chain(&row.target));
    let names: BTreeSet<&str> =
        written.map(WorkerId::as_str).chain([instance.id.as_str()]).collect();
    let mut pinned = names.iter().filter_map(|name| pins.get(name)).peekable();
    let is_pinned = pinned.peek().is_some();
    let waiting_for_it = pinned.copied().fold(0, u32::saturating_add);
    let sum = |rows: &[&WorkerRow]| rows.iter().map(|r| jobs_of(r)).fold(0, u32::saturating_add);
    let (jobs, fresh_jobs) = (sum(rows), sum(&fresh));
    let accepts =
        |row: &&WorkerRow| row.status == WorkerStatus::Active && row.accepting != Some(false);
    let proven = fresh.iter().all(|row| said_so_after_every_start(row, queue));
    let unable = unable(rows, &fresh);
    let not_idle = if jobs > 0 {
        Some(NotIdle::Busy)
    } else if is_pinned {
        Some(NotIdle::Pinned)
    } else if fresh.is_empty() {
        Some(NotIdle::NoHeartbeat)
    } else if !fresh.iter().all(accepts) {
        Some(NotIdle::Draining)
    } else if !proven {
        Some(NotIdle::MayHaveTaken)
    } else if instance.protected {
        Some(NotIdle::Protected)
    } else if !instance.healthy {
        Some(NotIdle::Unhealthy)
    } else {
        None
    };
    let protected = instance.protected || !instance.healthy;
    InstanceWork {
        instance,
        leaving: instance.lifecycle.is_leaving(),
        jobs,
        fresh_jobs,
        takes_jobs: fresh.iter().any(accepts) && unable.is_none(),
        unable,
        waiting_for_it,
        // Without a row its worker has not begun to look for jobs.
        may_have_taken: !rows.is_empty() && (fresh.is_empty() || !proven),
        not_idle,
        keeps_contract: !protected
            && !fresh.is_empty()
            && fresh.iter().all(|row| row.accepting.is_some()),
        idle_since: fresh.iter().filter_map(|row| row.idle_since).max(),
        names,
    }
}

fn is_fresh(row: &WorkerRow, db_now: UnixMs) -> bool {
    (-FUTURE_MS..=FRESH_MS).contains(&db_now.since(row.last_heartbeat))
}

fn jobs_of(row: &WorkerRow) -> u32 {
    row.jobs.unwrap_or(0).max(u32::from(row.has_job))
}

fn unable(rows: &[&WorkerRow], fresh: &[&WorkerRow]) -> Option<Unable> {
    if rows.is_empty() {
        Some(Unable::NoRow)
    } else if fresh.is_empty() {
        Some(Unable::Silent)
    } else if fresh.iter().any(|row| row.status != WorkerStatus::Active) {
        Some(Unable::Draining)
    } else if fresh.iter().any(|row| row.accepting == Some(false)) {
        Some(Unable::NotAccepting)
    } else {
        None
    }
}

/// The targeted queues of the group's workers, and all where the workers' names are unknown.
#[must_use]
pub fn own_queues<'a>(queue: &'a QueueSnapshot, group: &'a Group) -> Vec<&'a TargetedQueue> {
    Fleet::of(group, queue).own_queues
}

/// Jobs of targeted queues do not matter here: they run on their own worker, which is pinned.
fn said_so_after_every_start(row: &WorkerRow, queue: &QueueSnapshot) -> bool {
    match &queue.general.active {
        Reading::Unknown(_) => false,
        Reading::Known(active) => match active.newest_start {
            Some(start) => row.last_heartbeat.since(start) >= CLAIM_LAG_MS,
            None => active.live == 0,
        },
    }
}
