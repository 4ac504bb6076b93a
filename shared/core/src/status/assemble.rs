//! From readings to the status.

use super::bound::bound;
use super::version::unproven;
use super::*;
use crate::scaling::{
    ActiveCounts, Bounds, Group, Memory, Overrides, QueueCounts, QueueSnapshot, State, WorkerRow,
    WorkerStatus, own_queues,
};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::stable::StablePointer;
use fleet_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// Three of the workers' heartbeats, the same as for a decision.
const FRESH_MS: i64 = 90_000;
const SKEW_MS: i64 = 30_000;

/// The status, with every source that did not answer named in it.
#[must_use]
pub fn assemble(inputs: &Inputs) -> Status {
    bound(whole(inputs))
}

/// The status however large it is: what is counted in it, nothing is left out of.
pub(super) fn whole(inputs: &Inputs) -> Status {
    let Inputs { now, site, group, queue, memory, proofs, stable, .. } = inputs;
    let mut unavailable = Vec::new();
    let group = known(Source::Group, group, &mut unavailable);
    let queue = known(Source::Queue, queue, &mut unavailable);
    let rows = queue.and_then(|queue| known(Source::Workers, &queue.workers, &mut unavailable));
    let workers = queue.zip(rows).map(|(queue, rows)| workers(inputs, group, queue, rows));
    let queue = queue.map(|queue| queue_view(queue, group, &mut unavailable));
    let memory = known(Source::Memory, memory, &mut unavailable);
    let state = memory.and_then(|memory| kept(memory, &mut unavailable));
    let proofs = known(Source::Versions, proofs, &mut unavailable);
    let stable = known(Source::Stable, stable, &mut unavailable).cloned().flatten();
    let instances = group.map(|group| instances(inputs, group, proofs, stable.as_ref()));
    let capacity = group.map(|group| capacity(site, group, *now));
    let in_state = |state: &[WorkerState]| {
        workers.as_ref().map(|workers| count(workers, |worker| state.contains(&worker.state)))
    };
    let of_instances = |which: fn(&InstanceView) -> bool| {
        instances.as_ref().map(|instances| count(instances, which))
    };
    Status {
        enabled: site.enabled,
        group: site.group.clone(),
        current_capacity: group.map(|group| group.desired),
        queue_depth: queue.as_ref().map(|queue| queue.ready),
        active_workers: in_state(&[WorkerState::Idle, WorkerState::Busy]),
        idle_workers: in_state(&[WorkerState::Idle]),
        at: now.to_string(),
        environment: site.environment.clone(),
        dry_run: site.dry_run,
        versions: Versions {
            drifted: of_instances(|instance| instance.drift == Some(true)),
            unknown: of_instances(|instance| instance.version.is_none()),
            stable,
        },
        decisions: state.map(decisions),
        series: state.map(series),
        cost: group.map(|group| {
            let existing = count(&group.instances, |i| i.lifecycle.has_running_machine());
            let max = capacity.as_ref().and_then(|capacity| capacity.max);
            let min = capacity.as_ref().and_then(|capacity| capacity.min);
            Cost::of(&site.prices, existing, min.unwrap_or(site.min), max.unwrap_or(site.max))
        }),
        queue,
        capacity,
        instances,
        instances_omitted: 0,
        workers,
        workers_omitted: 0,
        unavailable,
    }
}

fn known<'a, T>(
    source: Source,
    reading: &'a Reading<T>,
    unavailable: &mut Vec<Unavailable>,
) -> Option<&'a T> {
    match reading {
        Reading::Known(value) => Some(value),
        Reading::Unknown(Unknown { cause, detail }) => {
            unavailable.push(Unavailable { source, cause: *cause, reason: detail.clone() });
            None
        }
    }
}

fn kept<'a>(memory: &'a Memory, unavailable: &mut Vec<Unavailable>) -> Option<&'a State> {
    match memory {
        Memory::Kept(state) => Some(state),
        Memory::Lost { cause, detail } => {
            unavailable.push(Unavailable {
                source: Source::Memory,
                cause: match cause {
                    crate::scaling::LossCause::Absent => UnknownCause::Missing,
                    crate::scaling::LossCause::Unreachable => UnknownCause::Unreachable,
                    crate::scaling::LossCause::Corrupt
                    | crate::scaling::LossCause::NewerVersion => UnknownCause::Unreadable,
                },
                reason: detail.clone(),
            });
            None
        }
    }
}

fn queue_view(
    queue: &QueueSnapshot,
    group: Option<&Group>,
    unavailable: &mut Vec<Unavailable>,
) -> Queue {
    let own = match group {
        Some(group) => own_queues(queue, group),
        None => queue.targeted.iter().collect(),
    };
    let all = || {
        let targeted = own.iter().map(|targeted| &targeted.counts);
        std::iter::once(&queue.general).chain(targeted)
    };
    let sum = |of: fn(&QueueCounts) -> u32| all().map(of).fold(0, u32::saturating_add);
    // One part that was not counted leaves the whole unknown.
    let mut active = Some((0_u32, 0_u32));
    for counts in all() {
        let counted = counts.active.known().copied();
        active = active.zip(counted).map(|((live, expired), counted)| {
            let ActiveCounts { live: more, expired: older, .. } = counted;
            (live.saturating_add(more), expired.saturating_add(older))
        });
    }
    if let Some(unknown) = all().find_map(|counts| match &counts.active {
        Reading::Unknown(unknown) => Some(unknown),
        Reading::Known(_) => None,
    }) {
        let Unknown { cause, detail } = unknown.clone();
        unavailable.push(Unavailable { source: Source::ActiveJobs, cause, reason: detail });
    }
    let oldest = all().map(|counts| counts.oldest_wait_ms).max().unwrap_or(0);
    Queue {
        ready: sum(|counts| counts.ready),
        due_soon: sum(|counts| counts.due_soon),
        deferred: all().map(|counts| counts.deferred).sum(),
        active: active.map(|(live, _)| live),
        expired: active.map(|(_, expired)| expired),
        oldest_wait_s: u64::try_from(oldest / 1000).unwrap_or(0),
        targeted: queue
            .targeted
            .iter()
            .map(|targeted| Targeted {
                worker_id: targeted.worker.clone(),
                ready: targeted.counts.ready,
                active: targeted.counts.active.known().map(|active| active.live),
            })
            .collect(),
        targeted_omitted: 0,
        schema_version: queue.schema.version,
        schema_tested: queue.schema.tested,
    }
}

/// Rows of workers that ended are left out, unless their instance is still there.
fn workers(
    inputs: &Inputs,
    group: Option<&Group>,
    queue: &QueueSnapshot,
    rows: &[WorkerRow],
) -> Vec<WorkerView> {
    let here: BTreeSet<&InstanceId> =
        group.into_iter().flat_map(|group| &group.instances).map(|instance| &instance.id).collect();
    let ended = |row: &&WorkerRow| {
        let gone = row.instance.as_ref().is_none_or(|instance| !here.contains(instance));
        row.status == WorkerStatus::Offline && gone
    };
    rows.iter()
        .filter(|row| !ended(row))
        .map(|row| {
            let detail = inputs.details.get(&row.worker).cloned().unwrap_or_default();
            WorkerView {
                worker_id: row.worker.clone(),
                instance_id: row.instance.clone(),
                state: state_of(row, queue.db_now),
                job_id: detail.job,
                heartbeat_at: row.last_heartbeat.to_string(),
                registered_at: detail.registered.map(|at| at.to_string()),
            }
        })
        .collect()
}

fn state_of(row: &WorkerRow, db_now: UnixMs) -> WorkerState {
    // A heartbeat of the future says nothing about now.
    let age = db_now.since(row.last_heartbeat);
    let silent = !(-SKEW_MS..=FRESH_MS).contains(&age);
    match row.status {
        WorkerStatus::Offline => WorkerState::Offline,
        _ if silent => WorkerState::Silent,
        WorkerStatus::Draining => WorkerState::Draining,
        WorkerStatus::Other => WorkerState::Unknown,
        WorkerStatus::Active if row.has_job => WorkerState::Busy,
        WorkerStatus::Active => WorkerState::Idle,
    }
}

fn instances(
    inputs: &Inputs,
    group: &Group,
    proofs: Option<&BTreeMap<InstanceId, Proof>>,
    stable: Option<&StablePointer>,
) -> Vec<InstanceView> {
    let life_s = inputs.site.proof_life_s;
    let view = |instance: &crate::scaling::Instance| {
        let word = proofs.and_then(|proofs| proofs.get(&instance.id));
        let proof = word.filter(|word| word.counts(inputs.now, life_s));
        let version = proof.and_then(|proof| match &proof.runs {
            Runs::Version(tag) => Some(tag.clone()),
            Runs::Nothing | Runs::Unsaid => None,
        });
        InstanceView {
            instance_id: instance.id.clone(),
            lifecycle: instance.lifecycle.clone(),
            healthy: instance.healthy,
            protected: instance.protected,
            drift: version
                .as_ref()
                .zip(stable)
                .map(|(tag, stable)| *tag != stable.image_tag.as_str()),
            proven_at: version.as_ref().and(proof).map(|proof| proof.at.to_string()),
            // Where nobody's word could be read, the source says why.
            unproven: proofs.and_then(|_| unproven(word, inputs.now, life_s)),
            version,
        }
    };
    group.instances.iter().map(view).collect()
}

fn capacity(site: &Site, group: &Group, now: UnixMs) -> Capacity {
    let overrides = Overrides::read(&group.tags, now);
    let bounds = Bounds::within(site.min, site.max, group, &overrides);
    let in_state =
        |which: fn(&LifecycleState) -> bool| count(&group.instances, |i| which(&i.lifecycle));
    let (in_service, pending, draining) = (
        in_state(LifecycleState::is_capacity),
        in_state(LifecycleState::is_booting),
        in_state(LifecycleState::is_leaving),
    );
    Capacity {
        min: bounds.map(|bounds| bounds.min),
        max: bounds.map(|bounds| bounds.max),
        configured: MinMax { min: site.min, max: site.max },
        own: MinMax { min: group.min, max: group.max },
        desired: group.desired,
        in_service,
        pending,
        draining,
        other: count(&group.instances, |_| true) - in_service - pending - draining,
        paused: overrides.paused_until().map(|until| Paused { until: until.to_string() }),
        floor: overrides
            .floor
            .map(|floor| Floor { workers: floor.value, until: floor.until.to_string() }),
        problems: overrides.problems,
        suspended: group.suspended.clone(),
    }
}

fn decisions(state: &State) -> Vec<DecisionView> {
    let view = |summary: &crate::scaling::DecisionSummary| DecisionView {
        at: summary.at.to_string(),
        from: summary.from,
        to: summary.to,
        rule: summary.rule.clone(),
        because: summary.words.clone(),
        failed: summary.failed,
    };
    state.decisions.iter().rev().map(view).collect()
}

fn series(state: &State) -> Series {
    let mut series = Series::default();
    for sample in &state.ring {
        series.at.push(i64::from(sample.minute) * 60);
        series.ready.push(sample.ready);
        series.active.push(sample.active);
        series.desired.push(sample.desired);
        series.in_service.push(sample.in_service);
    }
    series
}

fn count<T>(items: &[T], which: impl Fn(&T) -> bool) -> u32 {
    u32::try_from(items.iter().filter(|item| which(item)).count()).unwrap_or(u32::MAX)
}
