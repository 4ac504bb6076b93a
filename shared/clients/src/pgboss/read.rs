//! The snapshot's JSON document as values.

use super::names::Names;
use super::probe::{ActivePlan, Shape, unknown};
use fleet_core::scaling::{
    ActiveCounts, QueueCounts, QueueSnapshot, Schema, TargetedQueue, WorkerRow, WorkerStatus,
};
use fleet_core::status::WorkerDetail;
use fleet_protocol::ids::{InstanceId, WorkerId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Schemas that the tests ran against: pg-boss 9.0 to 12.38.
const TESTED: std::ops::RangeInclusive<u32> = 20..=46;

#[derive(Debug, Deserialize)]
pub(super) struct Document {
    now_ms: i64,
    pub(super) version: Option<u32>,
    replica: bool,
    queue_exists: bool,
    waiting: Vec<Waiting>,
    active: Option<Vec<Active>>,
    workers: Option<Vec<Worker>>,
}

#[derive(Debug, Deserialize)]
struct Waiting {
    name: String,
    ready: u32,
    due_soon: u32,
    /// Counted for people only.
    #[serde(default)]
    deferred: Option<u32>,
    /// Negative where nothing is due yet.
    oldest_wait_ms: i64,
}

#[derive(Debug, Deserialize)]
struct Active {
    name: String,
    live: u32,
    expired: u32,
    newest_start_ms: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Worker {
    worker: String,
    target: Option<String>,
    instance: Option<String>,
    status: String,
    has_job: bool,
    last_heartbeat_ms: i64,
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

    /// What only people look at, by worker.
    pub(super) fn details(&self) -> BTreeMap<WorkerId, WorkerDetail> {
        let rows = self.workers.iter().flatten();
        rows.map(|row| {
            let registered = row.registered_ms.map(UnixMs);
            let detail = WorkerDetail { job: row.job.clone(), registered };
            (WorkerId::new(row.worker.as_str()), detail)
        })
        .collect()
    }

    /// `detail`: whether what only people look at was asked for.
    pub(super) fn into_snapshot(
        self,
        names: &Names,
        shape: &Shape,
        detail: bool,
    ) -> Result<QueueSnapshot, Unknown> {
        if self.replica {
            return Err(unknown(
                UnknownCause::Unreadable,
                "the database is a standby, whose queue may lag behind; point DATABASE_URL at the primary".to_owned(),
            ));
        }
        if !self.queue_exists {
            return Err(missing_queue(names, shape));
        }
        let waiting: BTreeMap<String, Waiting> =
            self.waiting.into_iter().map(|row| (row.name.clone(), row)).collect();
        let active: Option<BTreeMap<String, Active>> =
            self.active.map(|rows| rows.into_iter().map(|row| (row.name.clone(), row)).collect());
        let counts = |queue: &str| QueueCounts {
            active: active_counts(queue, active.as_ref(), shape),
            ..waiting_counts(waiting.get(queue), detail)
        };
        let unfinished: BTreeSet<&str> = waiting
            .keys()
            .chain(active.iter().flat_map(BTreeMap::keys))
            .map(String::as_str)
            .collect();
        let prefix = names.target_prefix();
        let targeted = unfinished
            .into_iter()
            .filter_map(|queue| {
                let worker = WorkerId::new(queue.strip_prefix(&prefix)?);
                Some(TargetedQueue { worker, counts: counts(queue) })
            })
            .collect();
        Ok(QueueSnapshot {
            db_now: UnixMs(self.now_ms),
            schema: Schema { version: shape.version, tested: TESTED.contains(&shape.version) },
            general: counts(&names.queue),
            targeted,
            workers: match (self.workers, &shape.registry) {
                (_, Err(reason)) => Reading::Unknown(reason.clone()),
                (rows, Ok(())) => {
                    Reading::Known(rows.into_iter().flatten().map(Worker::into_row).collect())
                }
            },
        })
    }
}

fn waiting_counts(row: Option<&Waiting>, detail: bool) -> QueueCounts {
    QueueCounts {
        ready: row.map_or(0, |row| row.ready),
        due_soon: row.map_or(0, |row| row.due_soon),
        deferred: match row {
            Some(row) => row.deferred,
            None => detail.then_some(0),
        },
        oldest_wait_ms: row.map_or(0, |row| row.oldest_wait_ms.max(0)),
        active: Reading::Known(ActiveCounts { live: 0, expired: 0, newest_start: None }),
    }
}

fn active_counts(
    queue: &str,
    active: Option<&BTreeMap<String, Active>>,
    shape: &Shape,
) -> Reading<ActiveCounts> {
    if let ActivePlan::Skip(reason) = &shape.active {
        return Reading::Unknown(reason.clone());
    }
    let row = active.and_then(|active| active.get(queue));
    Reading::Known(ActiveCounts {
        live: row.map_or(0, |row| row.live),
        expired: row.map_or(0, |row| row.expired),
        newest_start: row.and_then(|row| row.newest_start_ms).map(UnixMs),
    })
}

fn missing_queue(names: &Names, shape: &Shape) -> Unknown {
    let queue = names.pgboss("queue");
    let detail = match shape.queue_table {
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
    fn into_row(self) -> WorkerRow {
        WorkerRow {
            worker: WorkerId::new(self.worker),
            target: self.target.map(WorkerId::new),
            instance: self.instance.map(InstanceId::new),
            status: match self.status.as_str() {
                "active" => WorkerStatus::Active,
                "draining" => WorkerStatus::Draining,
                "offline" => WorkerStatus::Offline,
                _ => WorkerStatus::Other,
            },
            has_job: self.has_job,
            last_heartbeat: UnixMs(self.last_heartbeat_ms),
        }
    }
}
