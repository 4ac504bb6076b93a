//! The decision itself.

use super::idle::Fleet;
use super::{
    Bounds, Decision, Demand, Group, Memory, NAMES, Note, Observation, Overrides, Policy,
    QueueCounts, QueueSnapshot, Reason, RefreshStatus, Sample, ScalingAction, State,
    UnreadableRows, demand,
};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Clocks further apart than this make ages meaningless.
const SKEW_LIMIT_MS: i64 = 30_000;

/// Everything a decision depends on: with the same inputs it is made again, bit for bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    pub policy: Policy,
    pub memory: Memory,
    pub observation: Observation,
}

/// What one tick decided, and the memory for the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickResult {
    pub decision: Decision,
    pub state: State,
}

/// Decides one tick.
pub fn decide(inputs: &Inputs) -> TickResult {
    let Inputs { policy, memory, observation } = inputs;
    let now = observation.now;
    let mut state = memory.state();
    let mut notes = Vec::new();
    if let Memory::Lost { detail, .. } = memory {
        notes.push(Note::MemoryLost { detail: detail.clone() });
    }
    let decision = match &observation.group {
        Reading::Unknown(source) => {
            // Without the group nobody can be proven idle.
            state.idle.clear();
            let because = Reason::GroupUnknown { source: source.clone() };
            BoundAction::nothing(because).into_decision(notes, None)
        }
        Reading::Known(group) => Tick { policy, observation, group, now }.decide(&mut state, notes),
    };
    state.seq = state.seq.wrapping_add(1);
    state.at = now;
    state.remember(sample(observation));
    state.summarize(&decision, now);
    TickResult { decision, state }
}

/// An action and the rule that bound it.
struct BoundAction {
    action: ScalingAction,
    because: Reason,
    demand: Option<Demand>,
    need: Option<u32>,
    bounds: Option<Bounds>,
}

impl BoundAction {
    fn nothing(because: Reason) -> BoundAction {
        BoundAction {
            action: ScalingAction::Nothing,
            because,
            demand: None,
            need: None,
            bounds: None,
        }
    }

    fn into_decision(self, notes: Vec<Note>, desired_before: Option<u32>) -> Decision {
        let desired = match &self.action {
            ScalingAction::Nothing | ScalingAction::LookForRefresh => desired_before,
            ScalingAction::SetDesired { desired } => Some(*desired),
            ScalingAction::Terminate { .. } => desired_before.map(|before| before - 1),
        };
        let BoundAction { action, because, demand, need, bounds } = self;
        Decision { action, because, notes, demand, need, bounds, desired_before, desired }
    }
}

/// One tick over a known group.
struct Tick<'a> {
    policy: &'a Policy,
    observation: &'a Observation,
    group: &'a Group,
    now: UnixMs,
}

impl Tick<'_> {
    fn decide(&self, state: &mut State, mut notes: Vec<Note>) -> Decision {
        let overrides = Overrides::read(&self.group.tags, self.now);
        self.accept_what_others_did(state, &mut notes);
        if self.is_suspended("Launch") {
            notes.push(Note::LaunchSuspended);
        }
        let bound = match Bounds::of(self.policy, self.group, &overrides) {
            None => BoundAction::nothing(Reason::BoundsConflict {
                min: self.policy.min.max(self.group.min),
                max: self.policy.max.min(self.group.max),
            }),
            Some(bounds) => self.within(bounds, &overrides, state, &mut notes),
        };
        state.hold.prune(self.policy, self.now);
        let decision = bound.into_decision(notes, Some(self.group.desired));
        state.desired = decision.desired;
        decision
    }

    /// Capacity that somebody else raised, and all of it when the memory is lost, counts as needed
    /// now: it is held for a full hold.
    fn accept_what_others_did(&self, state: &mut State, notes: &mut Vec<Note>) {
        let desired = self.group.desired;
        let unanswered = state.unanswered.take();
        match state.desired {
            Some(ours) if ours == desired || unanswered == Some(desired) => return,
            Some(ours) => notes.push(Note::ExternalChange { from: ours, to: desired }),
            None => {}
        }
        if state.desired.is_none_or(|ours| desired > ours) {
            state.hold.touch(desired, self.now);
        }
    }

    fn within(
        &self,
        bounds: Bounds,
        overrides: &Overrides,
        state: &mut State,
        notes: &mut Vec<Note>,
    ) -> BoundAction {
        let desired = self.group.desired;
        if let Some(floor) = overrides.floor.filter(|floor| floor.value > bounds.max) {
            notes.push(Note::FloorAboveMax { floor: floor.value, max: bounds.max });
        }
        if desired > bounds.max {
            notes.push(Note::AboveMax { desired, max: bounds.max });
        }
        let (demand, fleet) = match &self.observation.queue {
            Reading::Unknown(_) => {
                state.idle.clear();
                (None, None)
            }
            Reading::Known(queue) => {
                let fleet = Fleet::of(self.group, queue);
                let demand = Demand::of(self.policy, queue, &fleet);
                self.note_oddities(queue, &fleet, &demand, notes);
                state.idle = fleet.idle(&state.idle, state.at, self.now);
                (Some(demand), Some(fleet))
            }
        };
        let need = demand.map(|demand| demand.need(self.policy));
        let target = bounds.clamp(need.unwrap_or(desired));
        if need.is_some() {
            state.hold.touch(target, self.now);
        }
        let (action, because) = if let Some(until) = overrides.paused_until() {
            (ScalingAction::Nothing, Reason::Paused { until })
        } else if target > desired {
            let because =
                self.why_target(need.unwrap_or(desired), demand.as_ref(), bounds, overrides);
            (ScalingAction::SetDesired { desired: target }, because)
        } else {
            match (&self.observation.queue, &fleet, need) {
                (Reading::Known(queue), Some(fleet), Some(_)) if target < desired => {
                    self.scale_in(queue, fleet, target, bounds, overrides, state, notes)
                }
                (Reading::Unknown(source), _, _) => {
                    (ScalingAction::Nothing, Reason::QueueUnknown { source: source.clone() })
                }
                (_, _, need) => {
                    let need = need.unwrap_or(desired);
                    (
                        ScalingAction::Nothing,
                        self.why_target(need, demand.as_ref(), bounds, overrides),
                    )
                }
            }
        };
        BoundAction { action, because, demand, need, bounds: Some(bounds) }
    }

    fn why_target(
        &self,
        need: u32,
        demand: Option<&Demand>,
        bounds: Bounds,
        overrides: &Overrides,
    ) -> Reason {
        match (bounds.floor, overrides.floor) {
            (Some(floor), Some(wish)) if need < floor => {
                Reason::Floor { floor: wish.value, until: wish.until }
            }
            _ if need < bounds.min => Reason::Min { min: bounds.min },
            _ if need > bounds.max => Reason::Max { need, max: bounds.max },
            _ => Reason::Need { jobs: demand.map_or(0, |demand| demand.jobs), workers: need },
        }
    }

    /// Fewer are needed than there are: may one go, and which?
    #[expect(clippy::too_many_arguments, reason = "one call, and each is a different fact")]
    fn scale_in(
        &self,
        queue: &QueueSnapshot,
        fleet: &Fleet<'_>,
        target: u32,
        bounds: Bounds,
        overrides: &Overrides,
        state: &State,
        notes: &mut Vec<Note>,
    ) -> (ScalingAction, Reason) {
        let mut obstacles = self.obstacles(queue, fleet, overrides);
        // What was asked for and has not come cannot take over from who works now.
        let in_service =
            fleet.count(|work| work.instance.lifecycle.is_capacity() && work.instance.healthy);
        if in_service <= target {
            let desired = self.group.desired;
            obstacles.push(Reason::Unfulfilled { in_service, desired, needed: target });
        }
        // Above the maximum nothing is held: the bound is the operator's will.
        let level = self.group.desired;
        let held = state.hold.held(self.policy, target, level, self.now);
        if let Some(held) = held.filter(|_| level <= bounds.max) {
            obstacles.push(Reason::Held {
                level,
                unneeded_s: held.unneeded_ms / 1000,
                hold_s: held.hold_ms / 1000,
            });
        }
        let victim = match state.idle.first() {
            None => Err(Reason::NoneIdle { why: fleet.count_not_idle() }),
            Some(idle) => {
                let idle_s = self.now.since(idle.since) / 1000;
                let instance = idle.instance.clone();
                let confirm_s = self.policy.idle_confirm_s;
                if idle.since < self.now && idle_s >= i64::from(confirm_s) {
                    Ok((instance, idle_s))
                } else {
                    Err(Reason::IdleUnconfirmed { instance, idle_s, confirm_s })
                }
            }
        };
        let refresh = &self.observation.refresh;
        match refresh {
            Some(Reading::Known(RefreshStatus::InProgress)) => {
                obstacles.push(Reason::RefreshInProgress);
            }
            Some(Reading::Unknown(source)) => {
                obstacles.push(Reason::RefreshUnknown { source: source.clone() });
            }
            Some(Reading::Known(RefreshStatus::None)) | None => {}
        }
        match (victim, obstacles.is_empty()) {
            (Ok(_), true) if refresh.is_none() => {
                (ScalingAction::LookForRefresh, Reason::RefreshUnlooked)
            }
            (Ok((instance, idle_s)), true) => {
                let because = Reason::Idle { instance: instance.clone(), idle_s, needed: target };
                (ScalingAction::Terminate { instance }, because)
            }
            (victim, _) => {
                obstacles.extend(victim.err());
                let because = obstacles.remove(0);
                notes.extend(
                    obstacles.into_iter().map(|reason| Note::Also { reason: Box::new(reason) }),
                );
                (ScalingAction::Nothing, because)
            }
        }
    }

    /// What forbids scaling in whichever worker it would be, worst first.
    fn obstacles(
        &self,
        queue: &QueueSnapshot,
        fleet: &Fleet<'_>,
        overrides: &Overrides,
    ) -> Vec<Reason> {
        let mut obstacles = Vec::new();
        if !queue.schema.tested {
            obstacles.push(Reason::SchemaUntested { version: queue.schema.version });
        }
        let unknown_active = std::iter::once(&queue.general)
            .chain(queue.targeted.iter().map(|targeted| &targeted.counts))
            .find_map(|counts| match &counts.active {
                Reading::Unknown(source) => Some(source),
                Reading::Known(_) => None,
            });
        if let Some(source) = unknown_active {
            obstacles.push(Reason::ActiveUnknown { detail: source.detail.clone() });
        }
        if queue.omitted.active_jobs {
            let detail = "there are more than are counted".to_owned();
            obstacles.push(Reason::ActiveUnknown { detail });
        }
        if let Reading::Unknown(source) = &queue.workers {
            obstacles.push(Reason::RegistryUnknown { source: source.clone() });
        }
        if queue.omitted.workers > 0 {
            obstacles.push(Reason::RegistryPartlyRead { rows: queue.omitted.workers });
        }
        let demand = Demand::of(self.policy, queue, fleet);
        let busy = fleet.count(|work| work.busy);
        if demand.exact && busy > demand.active {
            obstacles.push(Reason::BusyElsewhere { busy, active: demand.active });
        }
        if !overrides.problems.is_empty() {
            obstacles.push(Reason::OverrideUnreadable { detail: overrides.problems.join("; ") });
        }
        let skew = queue.db_now.since(self.now);
        if skew.saturating_abs() > SKEW_LIMIT_MS {
            obstacles.push(Reason::ClockSkew { seconds: skew / 1000 });
        }
        if self.is_suspended("Terminate") {
            obstacles.push(Reason::TerminateSuspended);
        }
        if queue.general.ready > 0 {
            obstacles.push(Reason::JobsReady { ready: queue.general.ready });
        }
        obstacles
    }

    fn note_oddities(
        &self,
        queue: &QueueSnapshot,
        fleet: &Fleet<'_>,
        demand: &Demand,
        notes: &mut Vec<Note>,
    ) {
        let expired = demand::expired(queue, fleet);
        if expired > 0 {
            notes.push(Note::ExpiredActive { jobs: expired });
        }
        if demand.running < demand.active {
            notes.push(Note::ZombieActive { active: demand.active, running: demand.running });
        }
        let skew = queue.db_now.since(self.now);
        if skew.saturating_abs() > SKEW_LIMIT_MS {
            notes.push(Note::Skew { seconds: skew / 1000 });
        }
        self.note_limits(queue, notes);
        // Without the registry the workers' names are unknown, and every pin would look orphaned.
        if queue.workers.known().is_some() {
            let orphans = queue.targeted.iter().filter(|pin| !fleet.has_worker(&pin.worker));
            let waits = |counts: &QueueCounts| counts.ready.saturating_add(counts.due_soon);
            let waiting = orphans.filter(|pin| waits(&pin.counts) > 0);
            let jobs = waiting.clone().map(|pin| waits(&pin.counts)).fold(0, u32::saturating_add);
            let mut workers: Vec<_> = waiting.map(|pin| pin.worker.clone()).collect();
            let beyond = u32::try_from(workers.len().saturating_sub(NAMES)).unwrap_or(u32::MAX);
            workers.truncate(NAMES);
            if jobs > 0 {
                let more = beyond.saturating_add(queue.omitted.queues);
                notes.push(Note::OrphanedPins { jobs, workers, more });
            }
        }
    }

    /// What of the database was left out or could not be read.
    fn note_limits(&self, queue: &QueueSnapshot, notes: &mut Vec<Note>) {
        let UnreadableRows { rows, examples } = &queue.unreadable;
        if *rows > 0 {
            notes.push(Note::RowsUnreadable { rows: *rows, examples: examples.clone() });
        }
        if queue.omitted.waiting_jobs {
            let general = &queue.general;
            let jobs = [general.ready, general.due_soon, queue.held_by_key];
            let jobs = jobs.into_iter().fold(0, u32::saturating_add);
            notes.push(Note::CountStopped { jobs });
        }
        if queue.omitted.workers > 0 {
            notes.push(Note::WorkersOmitted { rows: queue.omitted.workers });
        }
        if queue.held_by_key > 0 {
            notes.push(Note::HeldByKey { jobs: queue.held_by_key });
        }
    }

    fn is_suspended(&self, process: &str) -> bool {
        self.group.suspended.iter().any(|suspended| suspended == process)
    }
}

fn sample(observation: &Observation) -> Sample {
    let queue = observation.queue.known();
    let group = observation.group.known();
    Sample {
        minute: u32::try_from(observation.now.0 / 60_000).unwrap_or(0),
        ready: queue.map(|queue| queue.general.ready),
        active: queue.and_then(|queue| queue.general.active.known()).map(|active| active.live),
        desired: group.map(|group| group.desired),
        in_service: group.map(|group| {
            let in_service = group.instances.iter().filter(|i| i.lifecycle.is_capacity());
            u32::try_from(in_service.count()).unwrap_or(u32::MAX)
        }),
    }
}
