//! What may go, and who: idle instances that no hold keeps, an instance whose worker cannot take a
//! job, and capacity that was never launched.

use super::decide::{SKEW_LIMIT_MS, Seen, Target, Tick};
use super::demand::expired;
use super::idle_memory::hash;
use super::workers::Fleet;
use super::{
    HookStatus, IdleMemory, Note, Reason, RefreshStatus, ScalingAction, State, Unable, UnableWorker,
};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// A drain is told within a minute, and its worker's row says so within a heartbeat.
const TOLD_WITHIN_MS: i64 = 180_000;
/// Instances that have been missing for this long do not come by themselves.
const NEVER_LAUNCHED_MS: i64 = 120_000;

/// An instance that may leave.
struct TerminationCandidate {
    instance: InstanceId,
    /// By the order of heartbeat and job start; otherwise by the worker's own word.
    proven: bool,
    since: UnixMs,
}

impl Tick<'_> {
    /// Less capacity would do, or some of it is none: what is to be done about it.
    pub(super) fn take_away(
        &self,
        seen: &Seen<'_>,
        target: &Target,
        state: &State,
        notes: &mut Vec<Note>,
    ) -> Option<(ScalingAction, Reason)> {
        self.note_hook(notes);
        let capacity = self.group.desired.saturating_sub(target.made_up);
        let surplus =
            (target.wanted < capacity).then(|| self.scale_in(seen, target, capacity, state, notes));
        let acts = surplus.as_ref().is_some_and(|(action, _)| *action != ScalingAction::Nothing);
        if acts {
            return surplus;
        }
        let replaced = self.replace(seen, target, state);
        let other = replaced
            .or_else(|| self.give_back(seen, target, state))
            .or_else(|| self.end_stopped(seen, state));
        other.or(surplus)
    }

    /// Fewer are needed than there are: may some go, and which?
    fn scale_in(
        &self,
        seen: &Seen<'_>,
        target: &Target,
        capacity: u32,
        state: &State,
        notes: &mut Vec<Note>,
    ) -> (ScalingAction, Reason) {
        let Target { bounds, needed, wanted, .. } = *target;
        let mut obstacles = self.obstacles(seen, state);
        let ready = seen.queue.general.ready;
        if ready > 0 {
            obstacles.push(Reason::JobsReady { ready });
        }
        // What was asked for and has not come cannot take over from who works now.
        let in_service = seen.fleet.count(|work| {
            let lost = state.unable.iter().filter(|one| self.is_past_grace(one));
            work.serves()
                && work.instance.healthy
                && !(work.jobs == 0 && lost.clone().any(|one| one.instance == work.instance.id))
        });
        if in_service <= wanted {
            let desired = self.group.desired;
            obstacles.push(Reason::Unfulfilled { in_service, desired, needed: wanted });
        }
        // Above the maximum nothing is held: the bound is the operator's will.
        let level = capacity.min(bounds.max);
        let held = state.hold.held(self.times, needed, wanted, level, self.now);
        let kept = held.map_or(wanted, |held| held.level);
        if let Some(held) = held.filter(|held| held.level == capacity) {
            obstacles.push(Reason::Held {
                level: held.level,
                unneeded_s: held.unneeded_ms / 1000,
                hold_s: held.hold_ms / 1000,
            });
        }
        let share = u64::from(self.group.desired) * u64::from(self.policy.max_in_percent) / 100;
        let share = u32::try_from(share).unwrap_or(u32::MAX).max(1);
        let most = (capacity - kept).min(in_service.saturating_sub(wanted)).min(share);
        let candidates = self.candidates(&seen.fleet, state);
        match (candidates, obstacles.is_empty()) {
            (Ok(_), true) if self.has_not_looked() => {
                (ScalingAction::LookForRefresh, Reason::RefreshUnlooked)
            }
            (Ok(mut candidates), true) => {
                candidates.truncate(usize::try_from(most).unwrap_or(usize::MAX));
                self.let_go(candidates, wanted)
            }
            (candidates, _) => {
                obstacles.extend(candidates.err());
                let because = obstacles.remove(0);
                notes.extend(
                    obstacles.into_iter().map(|reason| Note::Also { reason: Box::new(reason) }),
                );
                (ScalingAction::Nothing, because)
            }
        }
    }

    fn let_go(
        &self,
        candidates: Vec<TerminationCandidate>,
        needed: u32,
    ) -> (ScalingAction, Reason) {
        let count = |which: fn(&TerminationCandidate) -> bool| {
            u32::try_from(candidates.iter().filter(|one| which(one)).count()).unwrap_or(u32::MAX)
        };
        let (all, likely) = (count(|_| true), count(|one| !one.proven));
        let longest = candidates.iter().map(|one| one.since).min().unwrap_or(self.now);
        let mut instances: Vec<InstanceId> =
            candidates.into_iter().map(|one| one.instance).collect();
        let instance = instances.remove(0);
        let because = Reason::Idle {
            instance: instance.clone(),
            idle_s: self.now.since(longest) / 1000,
            needed,
            also: all - 1,
            likely,
        };
        if self.policy.stopped_tier {
            instances.insert(0, instance);
            return (ScalingAction::Stop { instances }, because);
        }
        (ScalingAction::Terminate { instance, also: instances }, because)
    }

    /// Who may leave, proven ones first and then who has been idle for the longest time; or why
    /// nobody may.
    ///
    /// While the terminate hook is there, a worker that keeps the contract may be asked by its own
    /// word: the drain lets a job end that it took in the last instant. Everybody else is proven
    /// idle by two readings.
    fn candidates(
        &self,
        fleet: &Fleet<'_>,
        state: &State,
    ) -> Result<Vec<TerminationCandidate>, Reason> {
        // After a gap nobody's word is taken at the first reading.
        let hook = self.unbroken && (self.observation.hook.is_none() || self.hook_is_ours());
        let index = state.idle.index();
        let mut candidates = Vec::new();
        let mut unconfirmed: Option<(InstanceId, i64)> = None;
        for work in fleet.iter().filter(|work| work.serves()) {
            let instance = &work.instance.id;
            let proven = work.not_idle.is_none();
            let asked = hook && work.is_likely_idle();
            if !proven && !asked {
                continue;
            }
            let known = index.get(&hash(instance)).copied();
            if asked {
                let since = work.idle_since.or(known).unwrap_or(self.now).min(self.now);
                candidates.push(TerminationCandidate { instance: instance.clone(), proven, since });
                continue;
            }
            let since = known.unwrap_or(self.now);
            let idle_s = self.now.since(since) / 1000;
            if since < self.now && idle_s >= i64::from(self.policy.idle_confirm_s) {
                candidates.push(TerminationCandidate { instance: instance.clone(), proven, since });
            } else if unconfirmed.as_ref().is_none_or(|(_, longest)| idle_s > *longest) {
                unconfirmed = Some((instance.clone(), idle_s));
            }
        }
        if candidates.is_empty() {
            return Err(match unconfirmed {
                Some((instance, idle_s)) => {
                    let confirm_s = self.policy.idle_confirm_s;
                    Reason::IdleUnconfirmed { instance, idle_s, confirm_s }
                }
                None => Reason::NoneIdle { why: fleet.count_not_idle() },
            });
        }
        candidates.sort_by(|a, b| {
            (!a.proven, a.since, &a.instance).cmp(&(!b.proven, b.since, &b.instance))
        });
        Ok(candidates)
    }

    /// Instances proven idle at this reading, each with the first moment of the unbroken proof.
    pub(super) fn idle_since(&self, fleet: &Fleet<'_>, state: &State) -> IdleMemory {
        let before = if self.unbroken { state.idle.index() } else { BTreeMap::new() };
        let idle = fleet.iter().filter(|work| work.serves() && work.not_idle.is_none());
        let since =
            |instance| before.get(&hash(instance)).map_or(self.now, |at| *at.min(&self.now));
        idle.map(|work| (&work.instance.id, since(&work.instance.id))).collect()
    }

    /// The worker that has been unable to take a job for the longest time goes through the drain,
    /// one at a time. Its place is taken by another instance unless one is there already.
    fn replace(
        &self,
        seen: &Seen<'_>,
        target: &Target,
        state: &State,
    ) -> Option<(ScalingAction, Reason)> {
        let one = state.unable.iter().find(|one| self.is_past_grace(one))?;
        let protected = |i: &&super::Instance| i.id == one.instance && i.protected;
        let just_now = state
            .replaced_at
            .is_some_and(|at| (0..i64::from(2 * self.boot_s) * 1000).contains(&self.now.since(at)));
        let stuck = one.why == Unable::Stuck;
        if just_now
            || self.group.instances.iter().any(|i| protected(&i))
            || self.forbidden(seen, state).into_iter().any(|reason| {
                // Its own row is why the registry has more jobs than pg-boss.
                !(stuck && matches!(reason, Reason::BusyElsewhere { .. }))
            })
        {
            return None;
        }
        if self.has_not_looked() {
            return Some((ScalingAction::LookForRefresh, Reason::RefreshUnlooked));
        }
        if !self.refresh_allows() || !self.hook_is_ours() {
            return None;
        }
        let UnableWorker { instance, since, why } = one.clone();
        let unable_s = self.now.since(since) / 1000;
        let because = Reason::Replace { instance: instance.clone(), unable: why, unable_s };
        let without_it = target.wanted.saturating_add(target.made_up).saturating_sub(1);
        let at_minimum = self.group.desired <= target.bounds.min.max(self.group.min);
        if without_it.min(target.bounds.max) >= self.group.desired || at_minimum {
            return Some((ScalingAction::Replace { instance }, because));
        }
        Some((ScalingAction::Terminate { instance, also: Vec::new() }, because))
    }

    /// Capacity that was wanted, never came and is not needed any more is given back, or it would
    /// come when nobody needs it. Should an instance come in this very moment, the group ends one
    /// of its choice: that is done only with the drain behind it.
    fn give_back(
        &self,
        seen: &Seen<'_>,
        target: &Target,
        state: &State,
    ) -> Option<(ScalingAction, Reason)> {
        let desired = self.group.desired;
        let exist = self.group.instances_that_count();
        let keep = target.wanted.saturating_add(target.made_up).max(exist).max(self.group.min);
        let short_ms = self.now.since(state.short_since?);
        if keep >= desired || short_ms < NEVER_LAUNCHED_MS {
            return None;
        }
        if !self.forbidden(seen, state).is_empty() {
            return None;
        }
        if self.has_not_looked() {
            return Some((ScalingAction::LookForRefresh, Reason::RefreshUnlooked));
        }
        if !self.refresh_allows() || !self.hook_is_ours() {
            return None;
        }
        let because = Reason::NeverLaunched {
            exist,
            desired,
            short_s: short_ms / 1000,
            needed: target.wanted,
        };
        Some((ScalingAction::GiveBack { desired: keep }, because))
    }

    /// Stopped instances beyond what was needed within the stopped tier's hold.
    fn end_stopped(&self, seen: &Seen<'_>, state: &State) -> Option<(ScalingAction, Reason)> {
        let stopped = u32::try_from(self.group.stopped.len()).unwrap_or(u32::MAX);
        let prepared = state.hold.prepared(self.times, self.now);
        let beyond = self.group.desired.saturating_add(stopped).saturating_sub(prepared);
        let beyond = usize::try_from(beyond.min(stopped)).unwrap_or(usize::MAX);
        if beyond == 0 || !self.forbidden(seen, state).is_empty() {
            return None;
        }
        let instances = self.group.stopped.iter().take(beyond).cloned().collect();
        let because = Reason::StoppedUnneeded { stopped, prepared };
        Some((ScalingAction::EndStopped { instances }, because))
    }

    /// What forbids scaling in whichever worker it would be, worst first.
    fn obstacles(&self, seen: &Seen<'_>, state: &State) -> Vec<Reason> {
        let mut obstacles = self.forbidden(seen, state);
        match &self.observation.refresh {
            Some(Reading::Known(RefreshStatus::InProgress)) => {
                obstacles.push(Reason::RefreshInProgress);
            }
            Some(Reading::Unknown(source)) => {
                obstacles.push(Reason::RefreshUnknown { source: source.clone() });
            }
            Some(Reading::Known(RefreshStatus::None)) | None => {}
        }
        obstacles
    }

    /// What forbids to take any instance away, jobs that are ready left aside.
    fn forbidden(&self, seen: &Seen<'_>, state: &State) -> Vec<Reason> {
        let queue = seen.queue;
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
        if queue.omitted.workers > 0 {
            obstacles.push(Reason::RegistryPartlyRead { rows: queue.omitted.workers });
        }
        match &queue.workers {
            Reading::Unknown(source) => {
                obstacles.push(Reason::RegistryUnknown { source: source.clone() });
            }
            Reading::Known(_) if unknown_active.is_none() => {
                obstacles.extend(seen.wrong_queue());
            }
            Reading::Known(_) => {}
        }
        if !self.overrides.problems.is_empty() {
            let detail = self.overrides.problems.join("; ");
            obstacles.push(Reason::OverrideUnreadable { detail });
        }
        let skew = queue.db_now.since(self.now);
        if skew.saturating_abs() > SKEW_LIMIT_MS {
            obstacles.push(Reason::ClockSkew { seconds: skew / 1000 });
        }
        if self.is_suspended("Terminate") {
            obstacles.push(Reason::TerminateSuspended);
        }
        if let Some((instance, since)) = &state.not_told {
            let waited_ms = self.now.since(*since);
            if waited_ms >= TOLD_WITHIN_MS {
                let (instance, waited_s) = (instance.clone(), waited_ms / 1000);
                obstacles.push(Reason::DrainNotTold { instance, waited_s });
            }
        }
        let window = self.policy.no_scale_in.iter().find(|window| window.contains(self.now));
        if let Some(window) = window {
            obstacles.push(Reason::NoScaleIn { window: window.to_string() });
        }
        obstacles
    }

    pub(super) fn is_past_grace(&self, one: &UnableWorker) -> bool {
        one.is_past_grace(self.policy, self.boot_s, self.now)
    }

    fn has_not_looked(&self) -> bool {
        self.observation.refresh.is_none() || self.observation.hook.is_none()
    }

    fn refresh_allows(&self) -> bool {
        self.observation.refresh == Some(Reading::Known(RefreshStatus::None))
    }

    fn hook_is_ours(&self) -> bool {
        matches!(self.observation.hook, Some(Reading::Known(HookStatus::Ours)))
    }

    fn note_hook(&self, notes: &mut Vec<Note>) {
        match &self.observation.hook {
            Some(Reading::Known(HookStatus::Missing)) => notes.push(Note::HookMissing),
            Some(Reading::Unknown(source)) => {
                notes.push(Note::HookUnknown { source: source.clone() });
            }
            Some(Reading::Known(HookStatus::Ours)) | None => {}
        }
    }
}

impl Seen<'_> {
    /// More than half of the jobs that the group's workers have are not in this queue: it is not
    /// the one that they work on. A row may lag behind its job's end by a heartbeat, so one or the
    /// other is no sign.
    fn wrong_queue(&self) -> Option<Reason> {
        let busy = self.fleet.sum(|work| work.fresh_jobs);
        let active = self.demand.active;
        let known = active.saturating_add(expired(self.queue, &self.fleet));
        (busy > known.saturating_mul(2)).then_some(Reason::BusyElsewhere { busy, active })
    }
}
