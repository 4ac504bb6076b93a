//! The snapshot's JSON document as values.

use super::layout::{self, ActivePlan, TableLayout, unknown};
use super::names::Names;
use super::statement::{STRANGER_LIMIT, TEXT_LIMIT};
use fleet_core::scaling::{
    ActiveCounts, Omitted, QueueCounts, QueueSnapshot, Schema, TargetedQueue, UnreadableRows,
    WorkerRow, WorkerStatus,
};
use fleet_core::status::WorkerDetail;
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Schemas that the tests ran against: pg-boss 9.0 to 12.38.
const TESTED: std::ops::RangeInclusive<u32> = 20..=46;

/// Bytes of an identifier. The ones that workers really have are a fraction of that.
pub(super) const ID_BYTES: usize = 128;

#[derive(Debug, Deserialize)]
pub(super) struct Document {
    now_ms: i64,
    pub(super) version: Option<u32>,
    replica: bool,
    /// The general queue's own row.
    queue: Option<Queue>,
    /// Who asks, and the tables of which rows may be hidden from them.
    role: String,
    hidden: Vec<String>,
    general: Counts,
    targeted: Vec<Targeted>,
    /// Targeted queues of workers that the registry does not know, whether looked into or not.
    strangers: u64,
    workers: Option<Vec<Worker>>,
    unread_workers: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Queue {
    pub(super) policy: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Counts {
    waiting: Waiting,
    active: Option<Active>,
}

#[derive(Debug, Deserialize)]
struct Waiting {
    ready: u32,
    due_soon: u32,
    /// Counted for people only.
    #[serde(default)]
    deferred: Option<u32>,
    held_by_key: u32,
    /// `None` where nothing waits, negative where nothing is due yet.
    oldest_wait_ms: Option<i64>,
    /// Jobs whose start is no moment.
    odd: u32,
    #[serde(default)]
    odd_jobs: Option<Vec<String>>,
    at_least: bool,
}

#[derive(Debug, Deserialize)]
struct Active {
    live: u32,
    expired: u32,
    newest_start_ms: Option<i64>,
    odd: u32,
    at_least: bool,
}

#[derive(Debug, Deserialize)]
struct Targeted {
    worker: String,
    waiting: Waiting,
    active: Option<Active>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    worker: String,
    target: Option<String>,
    instance: Option<String>,
    status: Option<String>,
    has_job: bool,
    /// The worker's own words, of one that keeps the contract.
    #[serde(default)]
    accepting: Option<bool>,
    #[serde(default)]
    jobs: Option<u32>,
    #[serde(default)]
    idle_since: Option<String>,
    last_heartbeat_ms: Option<i64>,
    /// Whether the heartbeat is no moment.
    odd: bool,
    #[serde(default)]
    job: Option<String>,
    #[serde(default)]
    registered_ms: Option<i64>,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Document, Unknown> {
        serde_json::from_str(text).map_err(|error| {
            unknown(UnknownCause::Unreadable, format!("the snapshot cannot be read: {error}"))
        })
    }

    /// Whether the statement was written for the tables it ran on: neither pg-boss's schema nor the
    /// queue's policy changed since they were looked up.
    pub(super) fn fits(&self, layout: &TableLayout) -> bool {
        let policy = self.queue.as_ref().map(|queue| &queue.policy);
        self.version == Some(layout.version) && policy.is_none_or(|now| *now == layout.policy)
    }

    /// What only people look at, by worker.
    pub(super) fn details(&self) -> BTreeMap<WorkerId, WorkerDetail> {
        let rows = self.workers.iter().flatten();
        rows.map(|row| {
            let registered = row.registered_ms.map(UnixMs);
            let detail = WorkerDetail { job: row.job.as_deref().map(identifier), registered };
            (WorkerId::new(identifier(&row.worker)), detail)
        })
        .collect()
    }

    /// `detail`: whether what only people look at was asked for.
    ///
    /// # Errors
    /// Where what was read is not the queue, or may be only a part of it.
    pub(super) fn into_snapshot(
        self,
        names: &Names,
        layout: &TableLayout,
        detail: bool,
    ) -> Result<QueueSnapshot, Unknown> {
        if self.replica {
            return Err(unknown(
                UnknownCause::Unreadable,
                "the database is a standby, whose queue may lag behind; point DATABASE_URL at the primary".to_owned(),
            ));
        }
        let registry = names.registry();
        let hidden = |table: &String| layout::hidden(table, &self.role);
        if let Some(table) = self.hidden.iter().find(|table| **table != registry) {
            return Err(hidden(table));
        }
        let hidden_registry = self.hidden.iter().find(|table| **table == registry).map(hidden);
        if self.queue.is_none() {
            return Err(missing_queue(names, layout));
        }
        let mut unreadable = UnreadableRows::default();
        note_odd_jobs(&names.queue, &self.general, &mut unreadable);
        let omitted = Omitted {
            waiting_jobs: self.general.waiting.at_least,
            active_jobs: self.general.active.as_ref().is_some_and(|active| active.at_least)
                || self.targeted.iter().flat_map(|queue| &queue.active).any(|queue| queue.at_least),
            queues: count(self.strangers.saturating_sub(STRANGER_LIMIT.into())),
            workers: count(self.unread_workers),
        };
        let held_by_key = self.general.waiting.held_by_key;
        let targeted = self.targeted.into_iter().map(|queue| {
            let worker = WorkerId::new(identifier(&queue.worker));
            let counts = Counts { waiting: queue.waiting, active: queue.active };
            note_odd_jobs(&format!("{}/{worker}", names.queue), &counts, &mut unreadable);
            TargetedQueue { worker, counts: counts.into_counts(layout, detail) }
        });
        let mut targeted: Vec<TargetedQueue> = targeted.collect();
        targeted.sort_by(|a, b| a.worker.cmp(&b.worker));
        let workers =
            match (self.workers, layout.registry.as_ref().err().or(hidden_registry.as_ref())) {
                (_, Some(reason)) => Reading::Unknown(reason.clone()),
                (rows, None) => {
                    let rows = rows.into_iter().flatten().map(|row| row.into_row(&mut unreadable));
                    let mut rows: Vec<WorkerRow> = rows.collect();
                    rows.sort_by(|a, b| a.worker.cmp(&b.worker));
                    Reading::Known(rows)
                }
            };
        Ok(QueueSnapshot {
            jobs_elsewhere: 0,
            db_now: UnixMs(self.now_ms),
            schema: Schema { version: layout.version, tested: TESTED.contains(&layout.version) },
            general: self.general.into_counts(layout, detail),
            held_by_key,
            targeted,
            workers,
            omitted,
            unreadable,
        })
    }
}

impl Counts {
    fn into_counts(self, layout: &TableLayout, detail: bool) -> QueueCounts {
        let active = match &layout.active {
            ActivePlan::Skip(reason) => Reading::Unknown(reason.clone()),
            ActivePlan::Count | ActivePlan::Scan => {
                let row = self.active.as_ref();
                Reading::Known(ActiveCounts {
                    live: row.map_or(0, |row| row.live),
                    expired: row.map_or(0, |row| row.expired),
                    newest_start: row.and_then(|row| row.newest_start_ms).map(UnixMs),
                })
            }
        };
        QueueCounts {
            ready: self.waiting.ready,
            due_soon: self.waiting.due_soon,
            deferred: self.waiting.deferred.filter(|_| detail),
            oldest_wait_ms: self.waiting.oldest_wait_ms.unwrap_or(0).max(0),
            active,
        }
    }
}

fn note_odd_jobs(queue: &str, counts: &Counts, unreadable: &mut UnreadableRows) {
    let waiting = &counts.waiting;
    let named = waiting.odd_jobs.iter().flatten().map(|id| identifier(id)).collect();
    unreadable.add(waiting.odd, named, || format!("start_after of a waiting job of {queue}"));
    let active = counts.active.as_ref().map_or(0, |active| active.odd);
    unreadable.add(active, Vec::new(), || format!("started_on of an active job of {queue}"));
}

fn missing_queue(names: &Names, layout: &TableLayout) -> Unknown {
    let queue = names.pgboss("queue");
    let detail = match layout.queue_table {
        true => format!(
            "queue {:?} is not in {queue}; check the queue's name, or start the service that creates it",
            names.queue
        ),
        false => format!(
            "no job of queue {:?} is in {} or its archive; pg-boss 9 keeps no list of queues, so check the queue's name (right after the first installation, send one job)",
            names.queue,
            names.pgboss("job")
        ),
    };
    unknown(UnknownCause::Missing, detail)
}

impl Worker {
    fn into_row(self, unreadable: &mut UnreadableRows) -> WorkerRow {
        let worker = identifier(&self.worker);
        if self.odd {
            let named = vec![worker.clone()];
            unreadable
                .add(1, named, || "last_heartbeat of a row of the worker registry".to_owned());
        }
        WorkerRow {
            worker: WorkerId::new(worker),
            target: self.target.as_deref().map(|id| WorkerId::new(identifier(id))),
            instance: self.instance.as_deref().map(|id| InstanceId::new(identifier(id))),
            status: match self.status.as_deref() {
                Some("active") => WorkerStatus::Active,
                Some("draining") => WorkerStatus::Draining,
                Some("offline") => WorkerStatus::Offline,
                _ => WorkerStatus::Other,
            },
            has_job: self.has_job,
            jobs: self.jobs,
            accepting: self.accepting,
            idle_since: self.idle_since.as_deref().and_then(moment),
            // A row that never reported is as old as can be.
            last_heartbeat: UnixMs(self.last_heartbeat_ms.unwrap_or(0)),
        }
    }
}

/// An RFC 3339 moment; one that is none says nothing.
fn moment(text: &str) -> Option<UnixMs> {
    text.parse::<jiff::Timestamp>().ok().map(|at| UnixMs(at.as_millisecond()))
}

/// `text` as an identifier that a log line can hold: of bounded size, without control characters.
/// One that was cut ends in `…`, so that it is never taken for another's.
pub(super) fn identifier(text: &str) -> String {
    let cut = text.len() > ID_BYTES || text.chars().count() > TEXT_LIMIT as usize;
    let end = if cut { text.floor_char_boundary(ID_BYTES / 2) } else { text.len() };
    let mut clean: String = text[..end]
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if cut {
        clean.push('…');
    }
    clean
}

fn count(rows: u64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_short_and_holds_no_control_characters() {
        assert_eq!(identifier("i-0123456789abcdef0"), "i-0123456789abcdef0");
        assert_eq!(identifier("a\n\u{1b}[31m\u{9b}b"), "a\u{fffd}\u{fffd}[31m\u{fffd}b");
        for long in ["x".repeat(129), "ä".repeat(200), "x".repeat(60_000)] {
            let cut = identifier(&long);
            assert!(cut.len() <= ID_BYTES && cut.ends_with('…'), "{cut}");
        }
        assert_eq!(identifier(&"x".repeat(128)), "x".repeat(128));
    }
}
