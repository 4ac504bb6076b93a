//! What a tick was, in numbers: what the alarms of `template.yaml` are made of.

use super::{Decision, Observation, ScalingAction};
use crate::count::count;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::time::UnixMs;

/// What one tick saw and did, in numbers. `None` is a number nobody knows; it is left out, because
/// 0 would be a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalingMetrics {
    /// When the tick began.
    pub at: UnixMs,
    pub ready: Option<u32>,
    pub due_soon: Option<u32>,
    pub active_live: Option<u32>,
    pub active_expired: Option<u32>,
    /// How long the oldest ready job has been due, in seconds.
    pub oldest_wait_s: Option<u32>,
    /// Workers that the demand asks for, before any bound.
    pub need: Option<u32>,
    pub desired: Option<u32>,
    pub in_service: Option<u32>,
    pub pending: Option<u32>,
    pub terminating: Option<u32>,
    /// How far the database's clock is behind the function's, in seconds.
    pub source_age_s: Option<u32>,
    /// Fewer workers would do, and something forbade to take one away.
    pub scale_in_blocked: bool,
    /// The queue or the group could not be read.
    pub source_down: bool,
    /// A change of capacity was asked for and failed.
    pub action_failed: bool,
    /// Machines beyond the need that rises of the last hour ask for.
    pub spare: Option<u32>,
    /// Machines in service whose worker has been unable to take a job for longer than it may take
    /// to boot.
    pub unable_workers: Option<u32>,
    /// The group does not follow its desired capacity, or its workers take no jobs.
    pub not_converging: bool,
    /// A job has waited for longer than `WAIT_TARGET_SECONDS`.
    pub wait_target_missed: bool,
    /// Instances leave without a drain behind them: the hook is missing, or no drain reaches them.
    pub drain_missing: bool,
}

impl ScalingMetrics {
    /// Of what a tick saw and decided. `action_failed`: AWS refused what it decided, or did not
    /// answer.
    #[must_use]
    pub fn of(
        observation: &Observation,
        decision: &Decision,
        action_failed: bool,
    ) -> ScalingMetrics {
        let queue = observation.queue.known();
        let group = observation.group.known();
        let active = queue.and_then(|queue| queue.general.active.known());
        let in_state = |which: fn(&LifecycleState) -> bool| {
            group.map(|group| count(group.instances.iter().filter(|i| which(&i.lifecycle))))
        };
        let needed_less = match (decision.need, decision.desired_before) {
            (Some(need), Some(desired)) => need < desired,
            _ => false,
        };
        ScalingMetrics {
            at: observation.now,
            ready: queue.map(|queue| queue.general.ready),
            due_soon: queue.map(|queue| queue.general.due_soon),
            active_live: active.map(|active| active.live),
            active_expired: active.map(|active| active.expired),
            oldest_wait_s: queue.map(|queue| seconds(queue.general.oldest_wait_ms)),
            need: decision.need,
            desired: decision.desired,
            in_service: in_state(LifecycleState::is_capacity),
            pending: in_state(LifecycleState::is_booting),
            terminating: in_state(LifecycleState::is_leaving),
            scale_in_blocked: needed_less && decision.action == ScalingAction::Nothing,
            source_age_s: queue.map(|queue| seconds(observation.now.since(queue.db_now))),
            source_down: queue.is_none() || group.is_none(),
            action_failed,
            spare: decision.levels.map(|levels| levels.spare),
            unable_workers: queue.map(|_| decision.unable_workers()),
            not_converging: decision.is_not_converging(),
            wait_target_missed: decision.misses_wait_target(),
            drain_missing: decision.misses_a_drain(),
        }
    }
}

fn seconds(millis: i64) -> u32 {
    u32::try_from(millis.max(0) / 1000).unwrap_or(u32::MAX)
}
