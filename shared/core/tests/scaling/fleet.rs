//! A small fleet to decide about: plain values, changed by the test where it matters.

use fleet_core::scaling::*;
use fleet_protocol::ids::{GroupName, InstanceId, WorkerId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use std::num::NonZeroU32;

pub(crate) const NOW: UnixMs = UnixMs(1_764_000_000_000);

pub(crate) fn policy() -> Policy {
    Policy {
        min: 1,
        max: 10,
        jobs_per_worker: NonZeroU32::MIN,
        wait_value: 5,
        boot_s: 95,
        hold_min_s: 60,
        idle_confirm_s: 20,
        ..Policy::default()
    }
}

pub(crate) fn instance(n: u32) -> InstanceId {
    InstanceId::new(format!("i-{n:017x}"))
}

/// A group of `desired` instances in service.
pub(crate) fn group(desired: u32) -> Group {
    Group {
        name: GroupName::new("ghosthands-worker-asg"),
        min: 0,
        max: 100,
        desired,
        instances: (0..desired)
            .map(|n| Instance {
                id: instance(n),
                lifecycle: "InService".into(),
                healthy: true,
                protected: false,
            })
            .collect(),
        suspended: vec![],
        tags: vec![],
        not_instances: None,
        stopped: vec![],
    }
}

pub(crate) fn counts(ready: u32, active: u32) -> QueueCounts {
    QueueCounts {
        ready,
        due_soon: 0,
        deferred: None,
        oldest_wait_ms: 0,
        active: Reading::Known(ActiveCounts {
            live: active,
            expired: 0,
            newest_start: (active > 0).then_some(UnixMs(NOW.0 - 600_000)),
        }),
    }
}

/// A queue and `workers` workers of which the first `active` are busy, all with a heartbeat of 10 s
/// ago.
pub(crate) fn queue(ready: u32, active: u32, workers: u32) -> QueueSnapshot {
    QueueSnapshot {
        db_now: NOW,
        schema: Schema { version: 30, tested: true },
        general: counts(ready, active),
        held_by_key: 0,
        jobs_elsewhere: 0,
        targeted: vec![],
        workers: Reading::Known((0..workers).map(|n| row(n, n < active)).collect()),
        omitted: Omitted::default(),
        unreadable: UnreadableRows::default(),
    }
}

pub(crate) fn row(n: u32, has_job: bool) -> WorkerRow {
    WorkerRow {
        worker: WorkerId::new(instance(n).as_str()),
        target: None,
        instance: Some(instance(n)),
        status: WorkerStatus::Active,
        has_job,
        jobs: None,
        accepting: None,
        idle_since: None,
        last_heartbeat: UnixMs(NOW.0 - 10_000),
    }
}

/// A memory in which nothing is held any more and every instance looked idle a minute ago.
pub(crate) fn released(desired: u32) -> State {
    State {
        seq: 7,
        at: UnixMs(NOW.0 - 60_000),
        desired: Some(desired),
        idle: idle_since((0..desired).map(|n| (instance(n), UnixMs(NOW.0 - 60_000)))),
        ..State::default()
    }
}

/// Everything known, no instance refresh, and the terminate hook in place.
pub(crate) fn inputs(state: State, queue: QueueSnapshot, group: Group) -> Inputs {
    Inputs {
        policy: policy(),
        memory: Memory::Kept(state),
        observation: Observation {
            now: NOW,
            queue: Reading::Known(queue),
            group: Reading::Known(group),
            refresh: Some(Reading::Known(RefreshStatus::None)),
            hook: Some(Reading::Known(HookStatus::Ours)),
            launches: None,
        },
    }
}

pub(crate) fn unknown<T>(cause: UnknownCause) -> Reading<T> {
    Reading::Unknown(Unknown { cause, detail: "tried, and it did not work".into() })
}

pub(crate) fn idle_since(idle: impl Iterator<Item = (InstanceId, UnixMs)>) -> IdleMemory {
    let idle: Vec<_> = idle.collect();
    idle.iter().map(|(instance, since)| (instance, *since)).collect()
}

/// A worker that keeps the contract.
pub(crate) fn contract_row(n: u32, has_job: bool) -> WorkerRow {
    WorkerRow { jobs: Some(u32::from(has_job)), accepting: Some(true), ..row(n, has_job) }
}

/// These instances are terminated, with decrement.
pub(crate) fn terminate(numbers: impl IntoIterator<Item = u32>) -> ScalingAction {
    let mut instances = numbers.into_iter().map(instance);
    let instance = instances.next().expect("at least one");
    ScalingAction::Terminate { instance, also: instances.collect() }
}
