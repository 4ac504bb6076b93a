//! What a status holds at most: whatever the database, the group and the answers hold, it stays
//! below 1 MB, with what was left out as a number.

use super::{Status, WorkerView};
use crate::text::cut;
use fleet_protocol::ids::{InstanceId, WorkerId};
use std::cmp::Reverse;
use std::collections::BTreeSet;

const MOST_INSTANCES: usize = 1000;
const MOST_WORKERS: usize = 300;
const MOST_TARGETED: usize = 50;
/// Tags that cannot be read, suspended processes, and sources that are down.
const MOST_SENTENCES: usize = 10;
/// Ids are shorter; a registry row may hold anything.
const ID_CHARS: usize = 64;
const SENTENCE_CHARS: usize = 500;

/// The status without what is too much of it. Workers of the group's instances stay before others,
/// and those that reported last before those that are silent.
pub(super) fn bound(mut status: Status) -> Status {
    if let Some(workers) = &mut status.workers {
        let instances = status.instances.iter().flatten().map(|instance| &instance.instance_id);
        status.workers_omitted = keep_workers(workers, &instances.collect());
    }
    if let Some(instances) = &mut status.instances {
        status.instances_omitted = keep(instances, MOST_INSTANCES);
        for instance in instances {
            instance.instance_id = InstanceId::new(cut(instance.instance_id.as_str(), ID_CHARS));
        }
    }
    if let Some(queue) = &mut status.queue {
        if queue.targeted.len() > MOST_TARGETED {
            queue.targeted.sort_by_key(|it| Reverse((it.ready, it.active)));
        }
        queue.targeted_omitted = keep(&mut queue.targeted, MOST_TARGETED);
        for targeted in &mut queue.targeted {
            targeted.worker_id = worker_id(&targeted.worker_id);
        }
    }
    if let Some(capacity) = &mut status.capacity {
        for sentences in [&mut capacity.problems, &mut capacity.suspended] {
            let more = keep(sentences, MOST_SENTENCES);
            sentences.iter_mut().for_each(|text| *text = cut(text, SENTENCE_CHARS));
            sentences.extend((more > 0).then(|| format!("and {more} more")));
        }
    }
    for decision in status.decisions.iter_mut().flatten() {
        decision.because = cut(&decision.because, SENTENCE_CHARS);
    }
    for source in &mut status.unavailable {
        source.reason = cut(&source.reason, SENTENCE_CHARS);
    }
    status
}

fn keep_workers(workers: &mut Vec<WorkerView>, instances: &BTreeSet<&InstanceId>) -> u32 {
    if workers.len() > MOST_WORKERS {
        let elsewhere =
            |it: &WorkerView| it.instance_id.as_ref().is_none_or(|id| !instances.contains(id));
        workers.sort_by_cached_key(|it| (elsewhere(it), Reverse(it.heartbeat_at.clone())));
    }
    let omitted = keep(workers, MOST_WORKERS);
    for worker in workers {
        worker.worker_id = worker_id(&worker.worker_id);
        let instance = worker.instance_id.as_ref();
        worker.instance_id = instance.map(|id| InstanceId::new(cut(id.as_str(), ID_CHARS)));
        worker.job_id = worker.job_id.as_ref().map(|id| cut(id, ID_CHARS));
    }
    omitted
}

fn worker_id(id: &WorkerId) -> WorkerId {
    WorkerId::new(cut(id.as_str(), ID_CHARS))
}

/// Shortens a list; how many it left out.
fn keep<T>(list: &mut Vec<T>, most: usize) -> u32 {
    let omitted = list.len().saturating_sub(most);
    list.truncate(most);
    u32::try_from(omitted).unwrap_or(u32::MAX)
}
