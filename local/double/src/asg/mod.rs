//! Auto Scaling groups as a pure state machine: calls and the passing of time go in, transitions
//! come out.
//!
//! Nothing here knows a clock, a thread or a wire format. [`AutoScaling::advance`] is told the time
//! and runs every boot, hook timeout and shutdown that is due, in order, at the very instant it was
//! due, so a caller that looks once an hour gets the same history as one that looks every
//! millisecond.
//!
//! Where AWS's documentation is silent the double takes the reading that is harder on the caller: a
//! replacement is launched as soon as the old instance leaves service, every termination (an
//! abandoned launch too) runs the terminate hooks, hooks of one transition wait side by side,
//! `TerminateInstanceInAutoScalingGroup` works while the Terminate process is suspended and is
//! refused for an instance on its way out, and victims are chosen without looking at what they do.
//!
//! Not modelled: standby, detaching, warm pools, capacity rebalancing, several zones, scaling
//! policies, and what an instance refresh does (only its record is kept).

mod capacity;
mod hooks;
mod instances;
mod manage;
mod model;
#[cfg(test)]
mod properties;
mod spec;
#[cfg(test)]
mod tests;

pub use spec::GroupSpec;

pub(crate) use hooks::ActionKey;
pub(crate) use manage::{GroupRequest, GroupUpdate};
pub use model::{
    Activity, Direction, Group, HookAction, HookResult, HookSpec, Instance, LaunchTemplate,
    LifecycleState, Refresh, Tag, Transition, TransitionKind,
};

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::ApiError;
use crate::ids::Ids;

/// How long EC2 shows a terminated instance: about an hour.
const DEPARTED_SHOWN: Duration = Duration::from_secs(3600);

/// What the groups share: the time, the identifiers, and the transitions nobody has fetched yet.
#[derive(Debug, Clone)]
struct World {
    now: Timestamp,
    ids: Ids,
    seq: u64,
    outbox: Vec<Transition>,
    /// Machines that are gone, and since when: EC2 shows them for a while.
    departed: BTreeMap<String, Timestamp>,
}

/// Every Auto Scaling group of the account and region.
#[derive(Debug, Clone)]
pub(crate) struct AutoScaling {
    region: String,
    account: String,
    boot: Duration,
    shutdown: Duration,
    groups: BTreeMap<String, Group>,
    world: World,
}

impl AutoScaling {
    /// No groups yet. `boot` and `shutdown` are the defaults for groups that do not set their own.
    pub(crate) fn new(
        region: &str,
        account: &str,
        (boot, shutdown): (Duration, Duration),
        seed: u64,
        now: Timestamp,
    ) -> Self {
        Self {
            region: region.into(),
            account: account.into(),
            boot,
            shutdown,
            groups: BTreeMap::new(),
            world: World {
                now,
                ids: Ids::new(seed, 1),
                seq: 0,
                outbox: Vec::new(),
                departed: BTreeMap::new(),
            },
        }
    }

    /// Runs everything that is due up to and at `now`. A clock that went backwards is ignored.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let target = now.max(self.world.now);
        while let Some(at) = self.next_deadline().filter(|at| *at <= target) {
            self.world.now = at.max(self.world.now);
            self.settle();
        }
        self.world.now = target;
        self.settle();
    }

    /// The next instant at which something happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.groups
            .values()
            .flat_map(|group| &group.instances)
            .flat_map(|i| {
                i.timer
                    .into_iter()
                    .chain(i.reclaim_at)
                    .chain(i.actions.iter().map(HookAction::expires))
            })
            .min()
    }

    /// The transitions since the last call, oldest first.
    pub(crate) fn take_transitions(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.world.outbox)
    }

    /// The time as of which everything has happened.
    pub(crate) fn now(&self) -> Timestamp {
        self.world.now
    }

    /// All groups by name.
    pub(crate) fn groups(&self) -> &BTreeMap<String, Group> {
        &self.groups
    }

    /// When an instance that is not in any group any more was terminated.
    pub(crate) fn departed(&self) -> &BTreeMap<String, Timestamp> {
        &self.world.departed
    }

    fn settle(&mut self) {
        let now = self.world.now;
        self.world.departed.retain(|_, at| now < *at + DEPARTED_SHOWN);
        for group in self.groups.values_mut() {
            group.expire(&mut self.world);
            group.reconcile(&mut self.world);
        }
        self.groups.retain(|_, group| !(group.deleting && group.instances.is_empty()));
    }

    /// The group, or AWS's words for a group that is not there.
    pub(crate) fn group(&self, name: &str) -> Result<&Group, ApiError> {
        self.groups.get(name).ok_or_else(|| no_such_group(name))
    }

    fn group_mut(&mut self, name: &str) -> Result<(&mut Group, &mut World), ApiError> {
        match self.groups.get_mut(name) {
            Some(group) => Ok((group, &mut self.world)),
            None => Err(no_such_group(name)),
        }
    }

    /// The group an instance belongs to.
    fn owner_mut(&mut self, instance: &str) -> Result<(&mut Group, &mut World), ApiError> {
        let group = self
            .groups
            .values_mut()
            .find(|group| group.instances.iter().any(|i| i.id == instance))
            .ok_or_else(|| {
                ApiError::validation(format!(
                    "Instance Id not found - No managed instance found for instance ID: {instance}"
                ))
            })?;
        Ok((group, &mut self.world))
    }
}

fn no_such_group(name: &str) -> ApiError {
    ApiError::validation(format!("AutoScalingGroup name not found - no such group: {name}"))
}
