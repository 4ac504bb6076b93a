//! What a deploy does next: a pure function of what its journal says and what Docker shows.
//!
//! The same function drives a deploy from its beginning and after a crash, so there is no second
//! way to recover. A step is not repeated once the world shows its effect; a step whose effect
//! cannot be seen is repeated until the journal holds its `Did`. All steps are safe to repeat.

use std::collections::BTreeMap;

use super::model::{DeployStep, Outcome, Run};
use crate::service::ServiceKind::{self, Api, Worker};

/// What Docker shows of one deploy's containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    pub services: BTreeMap<ServiceKind, ServiceWorld>,
    /// The host is going away: no worker may be started on it.
    pub terminating: bool,
}

impl World {
    /// Takes note that the old container's processes have ended, which Docker does not show yet.
    pub(super) fn end(&mut self, service: ServiceKind) {
        let world = self.services.entry(service).or_default();
        if let Some(old) = &mut world.old {
            old.life = Life::Down;
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceWorld {
    pub old: Option<Seen>,
    pub next: Option<Seen>,
    /// Another container has the `.prev` name.
    pub prev_taken: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub life: Life,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    /// Between two restarts: nothing runs now, and something will.
    Restarting,
    Down,
}

impl Seen {
    fn runs(&self) -> bool {
        self.life == Life::Running
    }
}

/// What a container is called, as far as a deploy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Next,
    /// The service's own name, or the name that the old container had when it was found.
    Current,
    Prev,
    /// Dead, and the engine cannot remove it: it has a name that is in nobody's way.
    Aside,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Do(DeployStep),
    /// The way forward is closed, for this reason.
    Fail(DeployStep, &'static str),
    End(Outcome),
}

/// The next move of a deploy whose preparation is done (or whose failure is recorded).
#[must_use]
pub fn decide(run: &Run, world: &World) -> Next {
    if run.failure.is_some() { backward(run, world) } else { forward(run, world) }
}

/// For a deploy that a crash interrupted: why it cannot go on, or `None` when it can.
///
/// Before the first new container was started the old ones are the surer way, and after that the
/// new ones are, as long as they still run.
#[must_use]
pub fn interrupted(run: &Run, world: &World) -> Option<&'static str> {
    if run.failure.is_some() {
        return None;
    }
    let runs = |service: ServiceKind| {
        let seen = world.services.get(&service).and_then(|seen| seen.next.as_ref());
        run.doing.contains(&DeployStep::Start(service)) && seen.is_some_and(Seen::runs)
    };
    if ServiceKind::ALL.into_iter().any(runs) {
        return None;
    }
    Some("the host server was interrupted before a new container ran")
}

fn forward(run: &Run, world: &World) -> Next {
    let none = ServiceWorld::default();
    let see = |service| world.services.get(&service).unwrap_or(&none);

    for service in ServiceKind::ALL {
        if see(service).next.is_none() {
            return Next::Fail(DeployStep::Create(service), "the new container has disappeared");
        }
    }
    // A worker that was started may have a job by now; it goes on, and the host's own drain lets it
    // finish.
    if world.terminating && !run.doing.contains(&DeployStep::Start(Worker)) {
        return Next::Fail(DeployStep::Drain, "the host is terminating");
    }
    // Cleared before the drain: an old worker is stopped at the instant it is idle, with nothing in
    // between.
    for service in ServiceKind::ALL {
        if see(service).prev_taken {
            return Next::Do(DeployStep::ClearPrev(service));
        }
    }
    let take_out = |service| {
        let old = see(service).old.as_ref().filter(|old| old.life != Life::Down)?;
        let undrained = service == Worker && old.runs() && !run.did.contains(&DeployStep::Drain);
        Some(if undrained { DeployStep::Drain } else { DeployStep::Stop(service) })
    };
    let start = |service| {
        (!run.doing.contains(&DeployStep::Start(service))).then_some(DeployStep::Start(service))
    };
    let gate = |service| {
        (!run.did.contains(&DeployStep::Gate(service))).then_some(DeployStep::Gate(service))
    };
    // One answer is enough to go on with: the worker is away until it is started, and both are then
    // watched side by side.
    let first_answer = |service| {
        let answered =
            run.did.contains(&DeployStep::FirstAnswer(service)) || gate(service).is_none();
        (!answered).then_some(DeployStep::FirstAnswer(service))
    };
    let rename_old = |service| {
        let named = see(service).old.as_ref().is_some_and(|old| old.role != Role::Prev);
        named.then_some(DeployStep::RenameOld(service))
    };
    let commit = |service| {
        let new = see(service).next.as_ref()?;
        if !new.runs() {
            return None;
        }
        if new.role != Role::Current {
            return Some(DeployStep::Promote(service));
        }
        let retire = see(service).old.is_some() && !run.did.contains(&DeployStep::Retire(service));
        if retire {
            return Some(DeployStep::Retire(service));
        }
        (!run.did.contains(&DeployStep::Keep(service))).then_some(DeployStep::Keep(service))
    };

    let step = take_out(Worker)
        .or_else(|| take_out(Api))
        .or_else(|| start(Api))
        .or_else(|| first_answer(Api))
        .or_else(|| start(Worker))
        // After the starts: a service is away until then.
        .or_else(|| rename_old(Api))
        .or_else(|| rename_old(Worker))
        .or_else(|| gate(Api))
        .or_else(|| gate(Worker));
    if let Some(step) = step {
        return Next::Do(step);
    }
    for service in ServiceKind::ALL {
        let kept = run.did.contains(&DeployStep::Keep(service));
        if !kept && see(service).next.as_ref().is_some_and(|next| !next.runs()) {
            return Next::Fail(
                DeployStep::Gate(service),
                "the new container went down before it was committed",
            );
        }
    }
    let step = commit(Api).or_else(|| commit(Worker));
    step.map_or(Next::End(Outcome::Deployed), Next::Do)
}

fn backward(run: &Run, world: &World) -> Next {
    let none = ServiceWorld::default();
    let see = |service| world.services.get(&service).unwrap_or(&none);
    let given_up = |service| run.restore_failed.contains_key(&service);

    let held_back = |service| service == Worker && world.terminating;
    let comes_back = |service| {
        run.old.get(&service).is_some_and(|old| old.runs)
            && !held_back(service)
            && !given_up(service)
            // Nothing was ever done to it: it is not ours to start.
            && run.touched()
    };
    // The API first: a new worker that has a job is waited for, and nothing else needs to. What is
    // left to tidy up comes after both are back.
    for service in [Api, Worker].into_iter().filter(|service| !given_up(*service)) {
        if see(service).next.as_ref().is_some_and(|next| next.life != Life::Down) {
            return Next::Do(DeployStep::StopNew(service));
        }
        let running = see(service).old.as_ref().is_some_and(Seen::runs);
        // Once: whether it then stays up is for its gate to say.
        if comes_back(service) && !running && !run.did.contains(&DeployStep::StartOld(service)) {
            return Next::Do(DeployStep::StartOld(service));
        }
    }
    for service in [Api, Worker].into_iter().filter(|service| !given_up(*service)) {
        let aside = |seen: &Seen| seen.role == Role::Aside;
        let removable = see(service).next.as_ref().is_some_and(|next| !aside(next));
        let renamed = see(service).old.as_ref().is_some_and(|old| old.role == Role::Prev);
        let retired = run.doing.contains(&DeployStep::Retire(service));
        let to_do = [
            (removable, DeployStep::RemoveNew(service)),
            (renamed, DeployStep::RestoreName(service)),
            (retired, DeployStep::RestorePolicy(service)),
        ];
        let next = to_do.into_iter().find(|(due, step)| *due && !run.did.contains(step));
        if let Some((_, step)) = next {
            return Next::Do(step);
        }
    }
    for service in [Api, Worker] {
        if comes_back(service)
            && run.doing.contains(&DeployStep::StartOld(service))
            && !run.did.contains(&DeployStep::GateOld(service))
        {
            return Next::Do(DeployStep::GateOld(service));
        }
    }
    let same_process = !run.doing.contains(&DeployStep::StartOld(Worker));
    if run.closed_the_intake()
        && same_process
        && !world.terminating
        && !given_up(Worker)
        && !run.did.contains(&DeployStep::Resume)
    {
        return Next::Do(DeployStep::Resume);
    }
    Next::End(if !run.restore_failed.is_empty() {
        Outcome::Down
    } else if run.touched() {
        Outcome::RolledBack
    } else {
        Outcome::Failed
    })
}
