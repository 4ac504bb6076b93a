//! The decision itself.

use super::demand::expired;
use super::hold::HoldTimes;
use super::workers::{Fleet, InstanceWork};
use super::{
    Bounds, Decision, Demand, Group, Levels, Memory, NAMES, Note, Observation, Overrides, Policy,
    QueueCounts, QueueSnapshot, Reason, Sample, ScalingAction, State, UnreadableRows, launches,
    unable,
};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Clocks further apart than this make ages meaningless.
pub(super) const SKEW_LIMIT_MS: i64 = 30_000;
/// Beyond this the last tick says nothing about what happened in between.
const CONTINUITY_MS: i64 = 180_000;
/// A worker that polls takes a ready job within seconds.
const POLL_LIMIT_MS: i64 = 60_000;

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
#[must_use]
pub fn decide(inputs: &Inputs) -> TickResult {
    let Inputs { policy, memory, observation } = inputs;
    let observation = &observation.clone().without_strangers();
    let now = observation.now;
    let mut state = memory.state();
    let mut notes = Vec::new();
    if let Memory::Lost { detail, .. } = memory {
        notes.push(Note::MemoryLost { detail: detail.clone() });
    }
    let decision = match &observation.group {
        Reading::Unknown(source) => {
            // Without the group nobody can be proven idle, and nobody be missed.
            state.forget_workers();
            state.short_since = None;
            let because = Reason::GroupUnknown { source: source.clone() };
            BoundAction::nothing(because).into_decision(notes, None)
        }
        Reading::Known(group) => {
            let unbroken = (0..=CONTINUITY_MS).contains(&now.since(state.at));
            let boot_s = state.boot.boot_s(policy);
            let times = HoldTimes::of(policy, boot_s);
            let overrides = Overrides::read(&group.tags, now);
            let tick = Tick { policy, observation, group, overrides, now, unbroken, boot_s, times };
            tick.decide(&mut state, notes)
        }
    };
    state.seq = state.seq.wrapping_add(1);
    state.at = now;
    state.converging = decision.is_converging();
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
    levels: Option<Levels>,
}

impl BoundAction {
    fn nothing(because: Reason) -> BoundAction {
        BoundAction {
            action: ScalingAction::Nothing,
            because,
            demand: None,
            need: None,
            bounds: None,
            levels: None,
        }
    }

    fn into_decision(self, notes: Vec<Note>, desired_before: Option<u32>) -> Decision {
        let desired = desired_before.map(|before| self.action.desired_after(before));
        let BoundAction { action, because, demand, need, bounds, levels } = self;
        Decision { action, because, notes, demand, need, bounds, desired_before, desired, levels }
    }
}

/// One tick over a known group.
pub(super) struct Tick<'a> {
    pub policy: &'a Policy,
    pub observation: &'a Observation,
    pub group: &'a Group,
    pub overrides: Overrides,
    pub now: UnixMs,
    /// The last tick was not long ago.
    pub unbroken: bool,
    pub boot_s: u32,
    pub times: HoldTimes,
}

/// What one tick knows of queue and workers.
pub(super) struct Seen<'a> {
    pub queue: &'a QueueSnapshot,
    pub fleet: Fleet<'a>,
    pub demand: Demand,
}

/// The levels of capacity of one tick.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub bounds: Bounds,
    /// The need inside the bounds, and with the spare.
    pub needed: u32,
    pub wanted: u32,
    /// Machines in service that are no capacity and are made up for.
    pub made_up: u32,
}

impl Tick<'_> {
    fn decide(&self, state: &mut State, mut notes: Vec<Note>) -> Decision {
        self.accept_what_others_did(state, &mut notes);
        let bounds = Bounds::of(self.policy, self.group, &self.overrides);
        let bound = match (&self.group.not_instances, bounds) {
            (Some(detail), _) => {
                BoundAction::nothing(Reason::NotInstances { detail: detail.clone() })
            }
            (None, None) => BoundAction::nothing(Reason::BoundsConflict {
                min: self.policy.min.max(self.group.min),
                max: self.policy.max.min(self.group.max),
            }),
            (None, Some(bounds)) => {
                let bounds = self.raise_to_floor_windows(bounds, &mut notes);
                self.within(bounds, state, &mut notes)
            }
        };
        self.note_what_is_missing(state, &mut notes);
        state.hold.prune(self.times, self.now);
        let decision = bound.into_decision(notes, Some(self.group.desired));
        state.desired = decision.desired;
        if let ScalingAction::Replace { .. } = decision.action {
            state.replaced_at = Some(self.now);
        }
        decision
    }

    /// Capacity that something else raised, and all of it when the memory is lost, counts as needed
    /// now: it is held for a full hold.
    fn accept_what_others_did(&self, state: &mut State, notes: &mut Vec<Note>) {
        let desired = self.group.desired;
        let unanswered = state.unanswered.take();
        let Some(ours) = state.desired else {
            state.hold.touch(desired, self.now);
            return;
        };
        let other = unanswered.unwrap_or(ours);
        if !(ours.min(other)..=ours.max(other)).contains(&desired) {
            notes.push(Note::ExternalChange { from: ours, to: desired });
            if desired > ours {
                state.hold.touch(desired, self.now);
            }
        }
    }

    /// A floor holds from one boot time before its window on, so that it is met when it begins.
    fn raise_to_floor_windows(&self, bounds: Bounds, notes: &mut Vec<Note>) -> Bounds {
        let ahead = self.now.plus_seconds(self.boot_s);
        let in_force = self
            .policy
            .floors
            .iter()
            .filter(|floor| floor.window.contains(self.now) || floor.window.contains(ahead));
        match in_force.max_by_key(|floor| floor.min) {
            Some(floor) if floor.min > bounds.min => {
                let window = floor.window.to_string();
                notes.push(Note::FloorWindow { window, min: floor.min });
                Bounds { min: floor.min.min(bounds.max), ..bounds }
            }
            _ => bounds,
        }
    }

    fn within(&self, bounds: Bounds, state: &mut State, notes: &mut Vec<Note>) -> BoundAction {
        let desired = self.group.desired;
        if let Some(floor) = self.overrides.floor.filter(|floor| floor.value > bounds.max) {
            notes.push(Note::FloorAboveMax { floor: floor.value, max: bounds.max });
        }
        if desired > bounds.max {
            notes.push(Note::AboveMax { desired, max: bounds.max });
        }
        let Reading::Known(queue) = &self.observation.queue else {
            return self.without_the_queue(bounds, state);
        };
        let fleet = Fleet::of(self.group, queue);
        let demand = Demand::of(self.policy, queue, &fleet);
        let seen = Seen { queue, fleet, demand };
        let made_up = self.observe_workers(&seen, state, notes);
        let need = demand.need(self.policy);
        let needed = bounds.clamp(need);
        state.hold.touch(needed, self.now);
        state.spare.observe(needed, self.policy.provision_s(self.boot_s), self.now);
        let spare = state.spare.spare(self.policy);
        let wanted = bounds.clamp(needed.saturating_add(spare));
        let target = Target { bounds, needed, wanted, made_up };
        let levels = self.levels(&target, spare, state);
        let goal = wanted.saturating_add(made_up).min(bounds.max);
        let (action, because) = if let Some(until) = self.overrides.paused_until() {
            (ScalingAction::Nothing, Reason::Paused { until })
        } else if goal > desired {
            (ScalingAction::SetDesired { desired: goal }, self.why_target(need, &demand, bounds))
        } else {
            self.take_away(&seen, &target, state, notes)
                .unwrap_or_else(|| (ScalingAction::Nothing, self.why_target(need, &demand, bounds)))
        };
        BoundAction {
            action,
            because,
            demand: Some(demand),
            need: Some(need),
            bounds: Some(bounds),
            levels: Some(levels),
        }
    }

    /// At most the minimum is seen to.
    fn without_the_queue(&self, bounds: Bounds, state: &mut State) -> BoundAction {
        let desired = self.group.desired;
        state.forget_workers();
        let (action, because) = match &self.observation.queue {
            _ if self.overrides.paused_until().is_some() => {
                let until = self.overrides.paused_until().unwrap_or_default();
                (ScalingAction::Nothing, Reason::Paused { until })
            }
            _ if bounds.min > desired => {
                let because = match (bounds.floor, self.overrides.floor) {
                    (Some(_), Some(floor)) => {
                        Reason::Floor { floor: floor.value, until: floor.until }
                    }
                    _ => Reason::Min { min: bounds.min },
                };
                (ScalingAction::SetDesired { desired: bounds.min }, because)
            }
            Reading::Unknown(source) => {
                (ScalingAction::Nothing, Reason::QueueUnknown { source: source.clone() })
            }
            Reading::Known(_) => (ScalingAction::Nothing, Reason::Min { min: bounds.min }),
        };
        let nothing = BoundAction::nothing(because);
        BoundAction { action, bounds: Some(bounds), ..nothing }
    }

    /// Brings the memory of each worker up to date. Returns how many machines in service are no
    /// capacity and are made up for: never more than there are others, so that a bad image does not
    /// buy machines without end.
    fn observe_workers(&self, seen: &Seen<'_>, state: &mut State, notes: &mut Vec<Note>) -> u32 {
        let Seen { queue, fleet, demand } = seen;
        self.note_oddities(queue, fleet, demand, notes);
        if queue.workers.known().is_none() {
            state.forget_workers();
            return 0;
        }
        let busy = fleet.sum(|work| work.fresh_jobs).saturating_add(queue.jobs_elsewhere);
        let known = demand.active.saturating_add(expired(queue, fleet));
        let excess = if demand.exact { busy.saturating_sub(known) } else { 0 };
        state.idle = self.idle_since(fleet, state);
        let before = if self.unbroken { &state.unable[..] } else { &[] };
        state.unable = unable::observe(before, fleet, excess, self.now);
        state.boot.observe(fleet, self.now);
        self.observe_leaving(fleet, state);
        let past = state.unable.iter().filter(|one| self.is_past_grace(one));
        let past: Vec<_> = past.cloned().collect();
        let lost = fleet.count(|work| {
            work.jobs == 0 && past.iter().any(|one| one.instance == work.instance.id)
        });
        if !past.is_empty() {
            notes.push(Note::UnableWorkers { workers: past });
        }
        let others = fleet.count(|work| work.serves() && (work.takes_jobs || work.jobs > 0));
        lost.min(others.max(1))
    }

    /// An instance on its way out whose worker still takes jobs: no drain has reached it yet.
    fn observe_leaving(&self, fleet: &Fleet<'_>, state: &mut State) {
        let takes_jobs = |work: &&InstanceWork<'_>| work.leaving && work.takes_jobs;
        let before = state.not_told.take().filter(|_| self.unbroken);
        let mut not_told = fleet.iter().filter(takes_jobs).map(|work| &work.instance.id).peekable();
        let Some(first) = not_told.peek().copied() else { return };
        let same = before.filter(|(known, _)| not_told.any(|instance| instance == known));
        state.not_told = Some(same.unwrap_or_else(|| (first.clone(), self.now)));
    }

    fn levels(&self, target: &Target, spare: u32, state: &State) -> Levels {
        let Target { bounds, needed, wanted, made_up } = *target;
        let desired = self.group.desired.saturating_sub(made_up);
        let kept = |times, out| {
            let held = state.hold.held(times, needed, out, desired.min(bounds.max), self.now);
            held.map_or(out, |held| held.level)
        };
        let reached = |out: u32, kept: u32| out.max(kept).saturating_add(made_up).min(bounds.max);
        let without_stopped_tier = self.policy.stopped_tier.then(|| {
            let policy = Policy { stopped_tier: false, ..self.policy.clone() };
            let times = HoldTimes::of(&policy, self.boot_s);
            reached(wanted, kept(times, wanted))
        });
        Levels {
            needed,
            spare,
            wanted,
            kept: kept(self.times, wanted),
            made_up,
            boot_s: self.boot_s,
            without_spare: reached(needed, kept(self.times, needed)),
            without_hold: reached(wanted, wanted),
            without_stopped_tier,
        }
    }

    fn why_target(&self, need: u32, demand: &Demand, bounds: Bounds) -> Reason {
        match (bounds.floor, self.overrides.floor) {
            (Some(floor), Some(wish)) if need < floor => {
                Reason::Floor { floor: wish.value, until: wish.until }
            }
            _ if need < bounds.min => Reason::Min { min: bounds.min },
            _ if need > bounds.max => Reason::Max { need, max: bounds.max },
            _ => Reason::Need { jobs: demand.jobs, workers: need },
        }
    }

    fn note_oddities(
        &self,
        queue: &QueueSnapshot,
        fleet: &Fleet<'_>,
        demand: &Demand,
        notes: &mut Vec<Note>,
    ) {
        let expired = expired(queue, fleet);
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
        let waited_ms = queue.general.oldest_wait_ms;
        let waited_s = waited_ms / 1000;
        if queue.general.ready > 0 && waited_s > i64::from(self.policy.wait_target_s) {
            notes.push(Note::WaitTargetMissed { waited_s, target_s: self.policy.wait_target_s });
        }
        let idle = fleet.count(|work| work.serves() && work.takes_jobs && work.jobs == 0);
        if queue.general.ready > 0 && waited_ms > POLL_LIMIT_MS && idle > 0 {
            notes.push(Note::NotPolling { ready: queue.general.ready, waited_s, idle });
        }
        // Without the registry the workers' names are unknown, and every pin would look orphaned.
        if queue.workers.known().is_some() {
            let staying = fleet.staying();
            let waits = |counts: &QueueCounts| counts.ready.saturating_add(counts.due_soon);
            let waiting = queue
                .targeted
                .iter()
                .filter(|pin| waits(&pin.counts) > 0 && !staying.contains(pin.worker.as_str()));
            let jobs = waiting.clone().map(|pin| waits(&pin.counts)).fold(0, u32::saturating_add);
            let mut workers: Vec<_> = waiting.map(|pin| pin.worker.clone()).collect();
            let beyond = u32::try_from(workers.len().saturating_sub(NAMES)).unwrap_or(u32::MAX);
            workers.truncate(NAMES);
            if jobs > 0 {
                let more = beyond.saturating_add(queue.omitted.queues);
                notes.push(Note::OrphanedPins { jobs, workers, more });
            }
        }
        self.note_limits(queue, notes);
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

    /// Whether the group has the instances that it is to have, and why not.
    fn note_what_is_missing(&self, state: &mut State, notes: &mut Vec<Note>) {
        let suspended = self.is_suspended("Launch");
        if suspended {
            notes.push(Note::LaunchSuspended);
        }
        let exist = self.group.instances_that_count();
        let booting = self.group.instances.iter().any(|i| i.lifecycle.is_booting());
        if exist >= self.group.desired {
            state.short_since = None;
            return;
        }
        if booting {
            return;
        }
        let since = state.short_since.filter(|_| self.unbroken).unwrap_or(self.now);
        state.short_since = Some(since);
        if let Some((cause, message)) = launches::failure(self.observation).filter(|_| !suspended) {
            let missing = self.group.desired - exist;
            let short_s = self.now.since(since) / 1000;
            notes.push(Note::LaunchFailed { cause, missing, short_s, message });
        }
    }

    pub(super) fn is_suspended(&self, process: &str) -> bool {
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
