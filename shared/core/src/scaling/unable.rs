//! Machines in service whose worker cannot take a job: how long that has been so, which of them are
//! no capacity any more, and which one is replaced next.

use super::Policy;
use super::workers::{Fleet, InstanceWork};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Machines that are remembered at a time, longest unable first.
const REMEMBERED: usize = 24;
/// Of these, machines that may be stuck in a job which pg-boss has given up.
const SUSPECTS: usize = 8;

/// Why a worker cannot take a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unable {
    /// It never wrote a registry row.
    NoRow,
    /// Its last heartbeat is older than 90 s, or of the future.
    Silent,
    /// It is being drained.
    Draining,
    /// It says that it takes no jobs.
    NotAccepting,
    /// It says that it has a job for longer than a job may take, and pg-boss has fewer active jobs
    /// than the registry.
    Stuck,
}

impl std::fmt::Display for Unable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unable::NoRow => "it has no row in gh_worker_registry",
            Unable::Silent => "it has had no heartbeat within 90 s",
            Unable::Draining => "it is draining",
            Unable::NotAccepting => "it says accepting=false",
            Unable::Stuck => "it is busy with a job that pg-boss does not have any more",
        })
    }
}

/// A machine whose worker cannot take a job, and since when that was seen without a break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnableWorker {
    #[serde(rename = "i")]
    pub instance: InstanceId,
    #[serde(rename = "t")]
    pub since: UnixMs,
    #[serde(rename = "w")]
    pub why: Unable,
}

impl UnableWorker {
    /// Whether the grace is over: two boot times, and for a job that pg-boss has given up the
    /// longest time that a job may take.
    pub(super) fn is_past_grace(&self, policy: &Policy, boot_s: u32, now: UnixMs) -> bool {
        let grace_s = match self.why {
            Unable::Stuck => policy.job_limit_s,
            _ => 2 * boot_s,
        };
        now.since(self.since) >= i64::from(grace_s) * 1000
    }
}

/// Everyone who cannot take a job now, longest first. `excess`: jobs that the registry shows beyond
/// those that pg-boss has.
pub(super) fn observe(
    before: &[UnableWorker],
    fleet: &Fleet<'_>,
    excess: u32,
    now: UnixMs,
) -> Vec<UnableWorker> {
    let known: BTreeMap<(&InstanceId, bool), UnixMs> = before
        .iter()
        .map(|one| ((&one.instance, one.why == Unable::Stuck), one.since.min(now)))
        .collect();
    let mut suspects = Vec::new();
    let mut unable = Vec::new();
    for work in fleet.iter().filter(|work| work.serves() && work.instance.healthy) {
        let InstanceWork { instance, jobs, fresh_jobs, .. } = work;
        let noted = |why| UnableWorker {
            instance: instance.id.clone(),
            since: known.get(&(&instance.id, why == Unable::Stuck)).copied().unwrap_or(now),
            why,
        };
        match work.unable {
            // With a job in hand it is at work, and is seen to when the job has ended.
            Some(why) if *jobs == 0 || why == Unable::Silent => unable.push(noted(why)),
            _ if excess > 0 && *fresh_jobs > 0 => suspects.push(noted(Unable::Stuck)),
            _ => {}
        }
    }
    for list in [&mut suspects, &mut unable] {
        list.sort_by(|a, b| (a.since, &a.instance).cmp(&(b.since, &b.instance)));
    }
    suspects.truncate(SUSPECTS);
    unable.truncate(REMEMBERED - suspects.len());
    unable.append(&mut suspects);
    unable
}
