//! Other systems' rules, each from its published algorithm, and two plain ones to compare with.

use super::world::{Action, Fleet, Leaving, Ms, Phase, Policy};
use std::collections::VecDeque;

const SECOND: Ms = 1000;
const MINUTE: Ms = 60 * SECOND;
/// The terminate hook of the guide: a job that outlasts it is killed.
const HOOK: Ms = 300 * SECOND;

/// `ceil(jobs)`, set once a minute, whichever machines the group then ends.
#[derive(Debug)]
pub struct Formula {
    /// Whether running jobs count; the guide's formula counts queued ones only.
    pub counts_active: bool,
}

impl Policy for Formula {
    fn interval(&self) -> Ms {
        MINUTE
    }

    fn drain_limit(&self) -> Option<Ms> {
        Some(HOOK)
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action> {
        let jobs = if self.counts_active { fleet.ready + fleet.active } else { fleet.ready };
        vec![Action::SetDesired(jobs)]
    }
}

/// KEDA's `ScaledObject` through the Horizontal Pod Autoscaler: `ceil(metric)`, up by at most
/// 100 % or 4 in 15 s, down to the highest recommendation of the last 300 s.
/// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/> (default behaviour)
#[derive(Debug, Default)]
pub struct Hpa {
    recommended: VecDeque<(Ms, u32)>,
}

impl Policy for Hpa {
    fn interval(&self) -> Ms {
        15 * SECOND
    }

    fn drain_limit(&self) -> Option<Ms> {
        Some(HOOK)
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action> {
        let wanted = (fleet.ready + fleet.active).max(fleet.conditions.min);
        self.recommended.push_back((fleet.now, wanted));
        while self.recommended.front().is_some_and(|(at, _)| fleet.now - at > HOOK) {
            self.recommended.pop_front();
        }
        let highest = self.recommended.iter().map(|(_, wanted)| *wanted).max().unwrap_or(wanted);
        let up = wanted.min((fleet.desired * 2).max(fleet.desired + 4));
        vec![Action::SetDesired(if wanted > fleet.desired {
            up
        } else {
            highest.min(fleet.desired)
        })]
    }
}

/// AWS target tracking on the backlog per instance, target 1: out after 3 one-minute periods above
/// it, in after 15 below nine tenths of it.
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-using-sqs-queue.html>
#[derive(Debug, Default)]
pub struct TargetTracking {
    above: u32,
    below: u32,
}

impl Policy for TargetTracking {
    fn interval(&self) -> Ms {
        MINUTE
    }

    fn drain_limit(&self) -> Option<Ms> {
        Some(HOOK)
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action> {
        let in_service = fleet.alive.iter().filter(|&&m| fleet.machines[m].is_in_service()).count();
        let in_service = u32::try_from(in_service).unwrap_or(u32::MAX).max(1);
        let jobs = fleet.ready + fleet.active;
        self.above = if jobs > in_service { self.above + 1 } else { 0 };
        self.below = if jobs * 10 < in_service * 9 { self.below + 1 } else { 0 };
        if self.above >= 3 {
            return vec![Action::SetDesired(jobs.max(fleet.desired))];
        }
        if self.below >= 15 {
            self.below = 0;
            return vec![Action::SetDesired(jobs)];
        }
        Vec::new()
    }
}

/// Buildkite's elastic stack: `scheduled + running`, every 10 s, out only; an agent that is idle
/// for its limit ends its own machine. `scaler/scaling_calculator.go` of buildkite-agent-scaler,
/// without the cooldown of its template, which flatters it.
#[derive(Debug)]
pub struct Buildkite {
    pub idle: Ms,
    /// Idle machines are stopped instead of ended, and started again first.
    pub pool: bool,
}

impl Policy for Buildkite {
    fn interval(&self) -> Ms {
        10 * SECOND
    }

    fn idle_exit(&self) -> Option<(Ms, Leaving)> {
        Some((self.idle, if self.pool { Leaving::ToStopped } else { Leaving::ToEnd }))
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action> {
        grow(fleet, fleet.ready + fleet.active)
    }
}

/// fly-autoscaler with `FAS_MIN_STARTED_MACHINE_COUNT`: every 15 s as many machines are started as
/// there are jobs, from a pool of stopped ones; machines stop themselves when they are idle, here
/// for five minutes. `reconciler.go` of superfly/fly-autoscaler.
#[derive(Debug)]
pub struct FlyAutoscaler;

impl Policy for FlyAutoscaler {
    fn interval(&self) -> Ms {
        15 * SECOND
    }

    fn idle_exit(&self) -> Option<(Ms, Leaving)> {
        Some((5 * MINUTE, Leaving::ToStopped))
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action> {
        grow(fleet, fleet.ready + fleet.active)
    }
}

/// terraform-aws-github-runner: a machine for each job that is still queued 30 s after its event;
/// every five minutes those go that are idle and at least five minutes old. `scale-up.ts`,
/// `scale-down.ts`, and `variables.tf` for the defaults.
#[derive(Debug, Default)]
pub struct GithubRunner {
    /// When each job that arrived was seen first, and how many of them were looked at.
    seen: usize,
    events: VecDeque<(Ms, u32)>,
    reaped: Ms,
}

impl Policy for GithubRunner {
    fn interval(&self) -> Ms {
        SECOND
    }

    fn tick(&mut self, fleet: &Fleet<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let new = u32::try_from(fleet.arrived - self.seen).unwrap_or(u32::MAX);
        self.seen = fleet.arrived;
        if new > 0 {
            self.events.push_back((fleet.now + 30 * SECOND, new));
        }
        let mut due = 0;
        while self.events.front().is_some_and(|(at, _)| *at <= fleet.now) {
            due += self.events.pop_front().map_or(0, |(_, jobs)| jobs);
        }
        // A job that was taken meanwhile asks for nothing.
        let due = due.min(fleet.ready);
        if due > 0 {
            actions.push(Action::SetDesired(fleet.desired + due));
        }
        if fleet.now - self.reaped >= 5 * MINUTE {
            self.reaped = fleet.now;
            let old = |&&m: &&usize| {
                let it = &fleet.machines[m];
                it.is_member() && it.phase == Phase::Idle && fleet.now - it.launched >= 5 * MINUTE
            };
            let spare = fleet.desired.saturating_sub(fleet.conditions.min);
            let idle = fleet.alive.iter().filter(old).take(usize::try_from(spare).unwrap_or(0));
            actions.extend(idle.map(|&machine| Action::End(machine)));
        }
        actions
    }
}

/// As many machines as there are jobs at least: stopped ones first, then new ones.
pub(super) fn grow(fleet: &Fleet<'_>, jobs: u32) -> Vec<Action> {
    let wanted = jobs.clamp(fleet.conditions.min, fleet.conditions.max);
    let missing = wanted.saturating_sub(fleet.desired);
    if missing == 0 {
        return Vec::new();
    }
    let stopped =
        fleet.alive.iter().filter(|&&m| fleet.machines[m].phase == Phase::Stopped).count();
    let wakes = missing.min(u32::try_from(stopped).unwrap_or(u32::MAX));
    let mut actions = Vec::new();
    if wakes > 0 {
        actions.push(Action::Wake(wakes));
    }
    if wanted > fleet.desired + wakes {
        actions.push(Action::SetDesired(wanted));
    }
    actions
}
