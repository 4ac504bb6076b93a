//! Inputs that are one to three changes away from a fleet with idle workers to give back: wholly
//! random ones next to never end anybody.

use crate::fleet::*;
use crate::properties::{any_counts, any_row, moment};
use fleet_core::scaling::*;
use fleet_protocol::ids::WorkerId;
use fleet_protocol::reading::{Reading, UnknownCause};
use fleet_protocol::time::UnixMs;
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Clone, Debug)]
enum Change {
    JobsPerWorker(u32),
    WaitValue(u32),
    Hold(u32, UnixMs),
    MemoryLost,
    NotIdleBefore(usize),
    QueueUnknown,
    General(QueueCounts),
    ActiveUnknown,
    Pin(u32, QueueCounts),
    Row(WorkerRow),
    RegistryUnknown,
    Untested,
    Skew(i64),
    GroupUnknown,
    Bounds(u32, u32),
    Desired(u32),
    Instance(usize, &'static str, bool, bool),
    Suspended(&'static str),
    Tag(&'static str, &'static str),
    Refresh(Option<Reading<RefreshStatus>>),
    Hook(Option<Reading<HookStatus>>),
    Contract,
}

fn any_change() -> impl Strategy<Value = Change> {
    let lifecycle = select(vec!["InService", "Pending", "Terminating:Wait", "Standby"]);
    let refresh = select(vec![
        None,
        Some(Reading::Known(RefreshStatus::InProgress)),
        Some(unknown(UnknownCause::Failed)),
    ]);
    let hook = select(vec![
        None,
        Some(Reading::Known(HookStatus::Missing)),
        Some(unknown(UnknownCause::Failed)),
    ]);
    let tag = select(vec![
        ("ghosthands:floor", "3@2026-01-01T00:00:00Z"),
        ("ghosthands:paused", "true@2026-01-01T00:00:00Z"),
        ("ghosthands:floor", "rubbish"),
    ]);
    prop_oneof![
        (2..4_u32).prop_map(Change::JobsPerWorker),
        Just(Change::WaitValue(0)),
        (0..10_u32, moment()).prop_map(|(level, at)| Change::Hold(level, at)),
        Just(Change::MemoryLost),
        (0..8_usize).prop_map(Change::NotIdleBefore),
        Just(Change::QueueUnknown),
        any_counts().prop_map(Change::General),
        Just(Change::ActiveUnknown),
        (0..8_u32, any_counts()).prop_map(|(worker, counts)| Change::Pin(worker, counts)),
        any_row().prop_map(Change::Row),
        Just(Change::RegistryUnknown),
        Just(Change::Untested),
        (-90_000..90_000_i64).prop_map(Change::Skew),
        Just(Change::GroupUnknown),
        (0..4_u32, 4..20_u32).prop_map(|(min, max)| Change::Bounds(min, max)),
        (0..12_u32).prop_map(Change::Desired),
        (0..8_usize, lifecycle, any::<bool>(), any::<bool>()).prop_map(
            |(n, lifecycle, healthy, protected)| Change::Instance(n, lifecycle, healthy, protected)
        ),
        select(vec!["Terminate", "Launch"]).prop_map(Change::Suspended),
        tag.prop_map(|(key, value)| Change::Tag(key, value)),
        refresh.prop_map(Change::Refresh),
        hook.prop_map(Change::Hook),
        Just(Change::Contract),
    ]
}

impl Change {
    fn make(self, inputs: &mut Inputs) {
        let Inputs { policy, memory, observation } = inputs;
        let Observation { queue, group, refresh, hook, .. } = observation;
        match (self, memory, queue, group) {
            (Change::JobsPerWorker(jobs), ..) => {
                policy.jobs_per_worker = jobs.try_into().expect("not zero");
            }
            (Change::WaitValue(value), ..) => policy.wait_value = value,
            (Change::Hold(level, at), Memory::Kept(state), ..) => state.hold.touch(level, at),
            (Change::MemoryLost, memory, ..) => {
                *memory = Memory::Lost { cause: LossCause::Corrupt, detail: "rubbish".into() };
            }
            (Change::NotIdleBefore(n), Memory::Kept(state), ..) => {
                let ids = (0..8).filter(|id| *id != u32::try_from(n).expect("few"));
                state.idle = idle_since(ids.map(|id| (instance(id), UnixMs(NOW.0 - 60_000))));
            }
            (Change::QueueUnknown, _, queue, _) => *queue = unknown(UnknownCause::TimedOut),
            (Change::General(counts), _, Reading::Known(queue), _) => queue.general = counts,
            (Change::ActiveUnknown, _, Reading::Known(queue), _) => {
                queue.general.active = unknown(UnknownCause::NotAsked);
            }
            (Change::Pin(n, counts), _, Reading::Known(queue), _) => {
                let worker = WorkerId::new(instance(n).as_str());
                queue.targeted.push(TargetedQueue { worker, counts });
            }
            (Change::Row(row), _, Reading::Known(queue), _) => {
                if let Reading::Known(rows) = &mut queue.workers {
                    rows.retain(|other| other.worker != row.worker);
                    rows.push(row);
                }
            }
            (Change::RegistryUnknown, _, Reading::Known(queue), _) => {
                queue.workers = unknown(UnknownCause::Missing);
            }
            (Change::Untested, _, Reading::Known(queue), _) => queue.schema.tested = false,
            (Change::Skew(skew), _, Reading::Known(queue), _) => {
                queue.db_now = UnixMs(NOW.0 + skew);
            }
            (Change::GroupUnknown, _, _, group) => *group = unknown(UnknownCause::Missing),
            (Change::Bounds(min, max), _, _, Reading::Known(group)) => {
                (group.min, group.max) = (min, max);
            }
            (Change::Desired(desired), _, _, Reading::Known(group)) => group.desired = desired,
            (Change::Instance(n, lifecycle, healthy, protected), _, _, Reading::Known(group)) => {
                if let Some(instance) = group.instances.get_mut(n) {
                    let id = instance.id.clone();
                    *instance = Instance { id, lifecycle: lifecycle.into(), healthy, protected };
                }
            }
            (Change::Suspended(process), _, _, Reading::Known(group)) => {
                group.suspended.push(process.into());
            }
            (Change::Tag(key, value), _, _, Reading::Known(group)) => {
                group.tags.push(Tag { key: key.into(), value: value.into() });
            }
            (Change::Refresh(status), ..) => *refresh = status,
            (Change::Hook(status), ..) => *hook = status,
            (Change::Contract, _, Reading::Known(queue), _) => {
                if let Reading::Known(rows) = &mut queue.workers {
                    for row in rows {
                        row.accepting = Some(true);
                    }
                }
            }
            // What it would change is unknown already.
            _ => {}
        }
    }
}

/// A fleet of which somebody may go, with one to three things otherwise.
pub(crate) fn near_scale_in() -> impl Strategy<Value = Inputs> {
    let fleet = (2..8_u32).prop_flat_map(|workers| (Just(workers), 0..workers));
    (fleet, proptest::collection::vec(any_change(), 1..=3)).prop_map(
        |((workers, busy), changes)| {
            let mut inputs = inputs(released(workers), queue(0, busy, workers), group(workers));
            for change in changes {
                change.make(&mut inputs);
            }
            inputs
        },
    )
}
