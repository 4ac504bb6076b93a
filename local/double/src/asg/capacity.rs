//! Desired capacity: who changes it, and how the group gets there.

use std::time::Duration;

use jiff::Timestamp;

use super::instances::{after, stamp};
use super::model::{Activity, Group, Instance, LifecycleState};
use super::{AutoScaling, World};
use crate::error::ApiError;

impl Group {
    /// Brings the instances in line with the desired capacity and replaces unhealthy ones.
    pub(super) fn reconcile(&mut self, world: &mut World) {
        if self.deleting {
            let cause = format!(
                "At {} a user request force deleted AutoScalingGroup {}.",
                stamp(world.now),
                self.name
            );
            return self.terminate_all(|i| i.state.counts(), &cause, false, world);
        }
        if !self.suspends("Terminate") && !self.suspends("ReplaceUnhealthy") {
            let cause = format!(
                "At {} an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped.",
                stamp(world.now)
            );
            self.terminate_all(|i| i.state.counts() && !i.healthy, &cause, true, world);
        }
        self.scale(world);
    }

    fn terminate_all(
        &mut self,
        which: impl Fn(&Instance) -> bool,
        cause: &str,
        run_hooks: bool,
        world: &mut World,
    ) {
        let ids: Vec<String> =
            self.instances.iter().filter(|i| which(i)).map(|i| i.id.clone()).collect();
        for id in ids {
            self.terminate(&id, cause.to_owned(), run_hooks, world);
        }
    }

    fn scale(&mut self, world: &mut World) {
        let desired = usize::try_from(self.desired).unwrap_or(usize::MAX);
        let have = self.counted();
        let now = stamp(world.now);
        if have < desired && !self.suspends("Launch") {
            let cause = self.cause(&format!(
                "At {now} an instance was started in response to a difference between desired and actual capacity, increasing the capacity from {have} to {desired}."
            ));
            if let Some(message) = self.launch_failure.clone() {
                self.fail_to_launch(cause, message, world);
            } else {
                for _ in have..desired {
                    self.launch(cause.clone(), world);
                }
            }
        }
        if have > desired && !self.suspends("Terminate") {
            for id in self.victims(have - desired) {
                let cause = self.cause(&format!(
                    "At {now} an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from {have} to {desired}.  At {now} instance {id} was selected for termination."
                ));
                self.terminate(&id, cause, true, world);
            }
        }
        if self.counted() == desired {
            self.reason.clear();
        }
    }

    /// The default policy in one zone, all of one template: the oldest first, whatever they are
    /// doing.
    fn victims(&self, count: usize) -> Vec<String> {
        let mut candidates: Vec<&Instance> =
            self.instances.iter().filter(|i| i.state.counts() && !i.protected).collect();
        // The list is in launch order, so the sort (stable) keeps launch order within an instant.
        candidates.sort_by_key(|i| i.launched_at);
        candidates.into_iter().take(count).map(|i| i.id.clone()).collect()
    }

    fn cause(&self, what: &str) -> String {
        if self.reason.is_empty() {
            return what.to_owned();
        }
        format!("{}  {what}", self.reason)
    }

    /// Sets the desired capacity for a reason that the next activities will quote.
    pub(super) fn want(&mut self, desired: u32, why: &str, world: &World) {
        if desired == self.desired {
            return;
        }
        self.reason = format!(
            "At {} {why} changing the desired capacity from {} to {desired}.",
            stamp(world.now),
            self.desired
        );
        self.desired = desired;
        self.cooldown_until = after(world.now, self.cooldown_seconds);
    }
}

impl AutoScaling {
    /// `SetDesiredCapacity`
    pub(crate) fn set_desired(
        &mut self,
        name: &str,
        desired: u32,
        honor_cooldown: bool,
    ) -> Result<(), ApiError> {
        let (group, world) = self.group_mut(name)?;
        if desired > group.max {
            return Err(ApiError::validation(format!(
                "New SetDesiredCapacity value {desired} is above max value {} for the AutoScalingGroup.",
                group.max
            )));
        }
        if desired < group.min {
            return Err(ApiError::validation(format!(
                "New SetDesiredCapacity value {desired} is below min value {} for the AutoScalingGroup.",
                group.min
            )));
        }
        if honor_cooldown && world.now < group.cooldown_until {
            return Err(ApiError::new(
                "ScalingActivityInProgress",
                format!("Scaling activity is blocked by the cooldown period of group {name}"),
            ));
        }
        group.want(desired, "a user request explicitly set group desired capacity", world);
        group.reconcile(world);
        Ok(())
    }

    /// `TerminateInstanceInAutoScalingGroup`: ignores protection, runs the hooks.
    pub(crate) fn terminate_instance(
        &mut self,
        id: &str,
        decrement: bool,
    ) -> Result<(String, Activity), ApiError> {
        let (group, world) = self.owner_mut(id)?;
        let state = group.instances.iter().find(|i| i.id == id).map(|i| i.state);
        if state == Some(LifecycleState::TerminatingRetained) {
            if decrement {
                return Err(ApiError::validation(format!(
                    "Instance {id} is retained and does not count: ShouldDecrementDesiredCapacity must be false"
                )));
            }
        } else if state.is_some_and(|state| !state.counts()) {
            return Err(ApiError::new(
                "ScalingActivityInProgress",
                format!("Instance {id} is already being terminated"),
            ));
        }
        if decrement && group.desired <= group.min {
            return Err(ApiError::validation(format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
                group.min
            )));
        }
        let mut cause = format!(
            "At {} instance {id} was taken out of service in response to a user request",
            stamp(world.now)
        );
        if decrement {
            let from = group.desired;
            group.desired -= 1;
            cause.push_str(&format!(", shrinking the capacity from {from} to {}", group.desired));
        }
        cause.push('.');
        let activity = group.terminate(id, cause, true, world);
        group.reconcile(world);
        Ok((group.name.clone(), activity))
    }

    /// `SetInstanceProtection`
    pub(crate) fn set_protection(
        &mut self,
        name: &str,
        ids: &[String],
        protected: bool,
    ) -> Result<(), ApiError> {
        let (group, world) = self.group_mut(name)?;
        for id in ids {
            let state = group.instances.iter().find(|i| i.id == *id).map(|i| i.state);
            match state {
                None => {
                    return Err(ApiError::validation(format!(
                        "The instance {id} is not part of Auto Scaling group {name}."
                    )));
                }
                Some(LifecycleState::InService) => {}
                Some(_) => {
                    return Err(ApiError::validation(format!(
                        "The instance {id} is not in InService or EnteringStandby or Standby."
                    )));
                }
            }
        }
        for id in ids {
            group.update(id, |i| i.protected = protected);
        }
        group.reconcile(world);
        Ok(())
    }

    /// `SetInstanceHealth`: an unhealthy instance is replaced unless it is inside its grace period
    /// and that counts.
    pub(crate) fn set_health(
        &mut self,
        id: &str,
        healthy: bool,
        respect_grace: bool,
    ) -> Result<(), ApiError> {
        let (group, world) = self.owner_mut(id)?;
        let grace = group.grace_seconds;
        let in_grace = |i: &Instance| {
            i.in_service_at.is_none_or(|since| world.now < after(since, grace)) && grace > 0
        };
        if !healthy && respect_grace && group.instances.iter().any(|i| i.id == id && in_grace(i)) {
            return Ok(());
        }
        group.update(id, |i| i.healthy = healthy);
        group.reconcile(world);
        Ok(())
    }

    /// The machine dies: spot reclaim, crash, `TerminateInstances`. The group sees it as unhealthy.
    pub(crate) fn lose_instance(&mut self, id: &str) -> Result<(), ApiError> {
        let (group, world) = self.owner_mut(id)?;
        group.lose(id, world);
        group.reconcile(world);
        Ok(())
    }

    /// EC2 announces that it takes the machine back at the end of `notice`. Returns the zone.
    pub(crate) fn reclaim_instance(
        &mut self,
        id: &str,
        notice: Duration,
    ) -> Result<String, ApiError> {
        self.announce(id, |i, now| i.reclaim_at = Some(now + notice))
    }

    /// EC2 recommends to replace the machine. Returns the zone.
    pub(crate) fn recommend_rebalance(&mut self, id: &str) -> Result<String, ApiError> {
        self.announce(id, |i, now| i.rebalance_at = Some(now))
    }

    /// Notes what EC2 says of a machine that runs.
    fn announce(
        &mut self,
        id: &str,
        note: impl FnOnce(&mut Instance, Timestamp),
    ) -> Result<String, ApiError> {
        let (group, world) = self.owner_mut(id)?;
        let found = group.instances.iter_mut().find(|i| i.id == id && i.running);
        let instance = found.ok_or_else(|| {
            ApiError::new("IncorrectInstanceState", format!("The machine of {id} does not run"))
        })?;
        note(instance, world.now);
        Ok(instance.zone.clone())
    }
}
