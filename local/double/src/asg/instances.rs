//! The life of an instance: launch, boot, hooks, service, hooks, shutdown, gone.

use jiff::Timestamp;

use super::World;
use super::model::{
    Activity, Direction, Group, HookAction, HookResult, Instance, LifecycleState, Transition,
    TransitionKind,
};

/// AWS keeps six weeks of history; a double keeps the last activities of a long test.
const ACTIVITIES_KEPT: usize = 1000;

impl Group {
    /// Ends the boots, hook waits and shutdowns that are due.
    pub(super) fn expire(&mut self, world: &mut World) {
        let due: Vec<String> = self
            .instances
            .iter()
            .filter(|i| {
                i.timer.into_iter().chain(i.reclaim_at).any(|t| t <= world.now)
                    || i.actions.iter().any(|a| a.expires() <= world.now)
            })
            .map(|i| i.id.clone())
            .collect();
        for id in due {
            if self
                .instances
                .iter()
                .any(|i| i.id == id && i.reclaim_at.is_some_and(|t| t <= world.now))
            {
                self.lose(&id, world);
            }
            let Some(instance) = self.instances.iter().find(|i| i.id == id) else { continue };
            if instance.timer.is_some_and(|t| t > world.now) {
                continue;
            }
            match instance.state {
                LifecycleState::Pending => self.booted(&id, world),
                LifecycleState::Terminating | LifecycleState::TerminatingProceed => {
                    self.gone(&id, world);
                }
                LifecycleState::PendingWait | LifecycleState::TerminatingWait => {
                    let expired: Vec<HookAction> = instance
                        .actions
                        .iter()
                        .filter(|a| a.expires() <= world.now)
                        .cloned()
                        .collect();
                    for action in expired {
                        // The end of the longest stay retains, whatever the hook's default says.
                        let result = if self.retain_on_abandon && action.global_until <= world.now {
                            HookResult::Abandon
                        } else {
                            action.hook.default_result
                        };
                        self.resolve(&id, &action.token, result, world);
                    }
                }
                LifecycleState::InService | LifecycleState::TerminatingRetained => {}
            }
        }
    }

    /// Tries to start a machine, and says why there is none. The group tries once a minute.
    pub(super) fn fail_to_launch(&mut self, cause: String, message: String, world: &mut World) {
        let minute = jiff::SignedDuration::from_mins(1);
        let tried = self.activities.front().is_some_and(|newest| {
            newest.message.is_some() && world.now.duration_since(newest.start) < minute
        });
        if tried {
            return;
        }
        let zone = self.zones.first().cloned().unwrap_or_default();
        // AWS names no machine where there is none.
        let description = "Launching a new EC2 instance".to_owned();
        self.begin_activity(description, cause, "Failed", zone, world);
        if let Some(activity) = self.activities.front_mut() {
            activity.message = Some(message);
            activity.end = Some(world.now);
            activity.progress = 100;
        }
    }

    /// Starts a machine.
    pub(super) fn launch(&mut self, cause: String, world: &mut World) {
        let id = world.ids.resource("i-");
        let zone = self.zones.first().cloned().unwrap_or_default();
        let activity = self.begin_activity(
            format!("Launching a new EC2 instance: {id}"),
            cause,
            "PreInService",
            zone.clone(),
            world,
        );
        self.instances.push(Instance {
            id: id.clone(),
            state: LifecycleState::Pending,
            healthy: true,
            protected: self.protect_new,
            launched_at: world.now,
            in_service_at: None,
            zone,
            template: self.template.resolved(),
            actions: Vec::new(),
            running: true,
            lost_at: None,
            reclaim_at: None,
            rebalance_at: None,
            timer: Some(world.now + self.boot),
            activity: Some(activity.id),
        });
        self.emit(&id, TransitionKind::Launching, world);
    }

    fn booted(&mut self, id: &str, world: &mut World) {
        let actions = self.open_actions(Direction::Launching, world);
        if actions.is_empty() {
            return self.enter_service(id, world);
        }
        self.update(id, |i| {
            i.state = LifecycleState::PendingWait;
            i.timer = None;
            i.actions = actions;
        });
        self.mark_activity(id, "MidLifecycleAction", 60);
        self.emit(id, TransitionKind::PendingWait, world);
    }

    fn enter_service(&mut self, id: &str, world: &mut World) {
        let now = world.now;
        self.update(id, |i| {
            i.state = LifecycleState::InService;
            i.in_service_at = Some(now);
            i.timer = None;
        });
        self.end_activity(id, "Successful", now);
        self.emit(id, TransitionKind::InService, world);
        self.update(id, |i| i.activity = None);
    }

    /// Takes an instance out of service. Returns the activity as it begins.
    pub(super) fn terminate(
        &mut self,
        id: &str,
        cause: String,
        run_hooks: bool,
        world: &mut World,
    ) -> Activity {
        self.end_activity(id, "Cancelled", world.now);
        let zone = self.instances.iter().find(|i| i.id == id).map(|i| i.zone.clone());
        let activity = self.begin_activity(
            format!("Terminating EC2 instance: {id}"),
            cause,
            "InProgress",
            zone.unwrap_or_default(),
            world,
        );
        let actions =
            if run_hooks { self.open_actions(Direction::Terminating, world) } else { Vec::new() };
        let waits = !actions.is_empty();
        let shutdown = world.now + self.shutdown;
        self.update(id, |i| {
            i.activity = Some(activity.id.clone());
            i.timer = (!waits).then_some(shutdown);
            i.actions = actions;
            i.state =
                if waits { LifecycleState::TerminatingWait } else { LifecycleState::Terminating };
        });
        if waits {
            self.mark_activity(id, "MidTerminatingLifecycleAction", 60);
            self.emit(id, TransitionKind::TerminatingWait, world);
        } else {
            self.emit(id, TransitionKind::ShuttingDown, world);
        }
        activity
    }

    /// Ends one hook's wait and, when it was the last or the result says so, the wait of the
    /// instance.
    pub(super) fn resolve(&mut self, id: &str, token: &str, result: HookResult, world: &mut World) {
        let Some(instance) = self.instances.iter_mut().find(|i| i.id == id) else { return };
        let before = instance.actions.len();
        instance.actions.retain(|a| a.token != token);
        if instance.actions.len() == before {
            return;
        }
        if result == HookResult::Abandon {
            instance.actions.clear();
        }
        if !instance.actions.is_empty() {
            return;
        }
        match (instance.state, result) {
            (LifecycleState::PendingWait, HookResult::Continue) => self.enter_service(id, world),
            (LifecycleState::PendingWait, HookResult::Abandon) => {
                let cause = format!(
                    "At {} an instance was taken out of service in response to a launch lifecycle hook that was abandoned.",
                    stamp(world.now)
                );
                self.terminate(id, cause, true, world);
            }
            (LifecycleState::TerminatingWait, HookResult::Abandon) if self.retain_on_abandon => {
                self.update(id, |i| i.state = LifecycleState::TerminatingRetained);
            }
            _ => {
                let shutdown = world.now + self.shutdown;
                self.update(id, |i| {
                    i.state = LifecycleState::TerminatingProceed;
                    i.timer = Some(shutdown);
                });
                self.mark_activity(id, "InProgress", 80);
                self.emit(id, TransitionKind::ShuttingDown, world);
            }
        }
    }

    /// The machine dies behind the group's back.
    pub(super) fn lose(&mut self, id: &str, world: &mut World) {
        let now = world.now;
        self.update(id, |i| {
            i.running = false;
            i.healthy = false;
            i.lost_at.get_or_insert(now);
            i.reclaim_at = None;
        });
        self.emit(id, TransitionKind::Lost, world);
    }

    fn gone(&mut self, id: &str, world: &mut World) {
        self.end_activity(id, "Successful", world.now);
        self.emit(id, TransitionKind::Terminated, world);
        world.departed.insert(id.to_owned(), world.now);
        self.instances.retain(|i| i.id != id);
    }

    fn open_actions(&self, direction: Direction, world: &mut World) -> Vec<HookAction> {
        self.hooks
            .values()
            .filter(|hook| hook.direction == direction)
            .map(|hook| HookAction {
                token: world.ids.uuid(),
                heartbeat_until: after(world.now, hook.heartbeat_seconds),
                global_until: after(world.now, hook.global_seconds()),
                hook: hook.clone(),
            })
            .collect()
    }

    pub(super) fn update(&mut self, id: &str, change: impl FnOnce(&mut Instance)) {
        if let Some(instance) = self.instances.iter_mut().find(|i| i.id == id) {
            change(instance);
        }
    }

    /// Reports a step of an instance that is still in the list.
    pub(super) fn emit(&mut self, id: &str, kind: TransitionKind, world: &mut World) {
        let Some(instance) = self.instances.iter().find(|i| i.id == id) else { return };
        let activity = instance
            .activity
            .as_ref()
            .and_then(|a| self.activities.iter().find(|known| known.id == *a))
            .cloned();
        world.seq += 1;
        world.outbox.push(Transition {
            seq: world.seq,
            at: world.now,
            group: self.name.clone(),
            group_arn: self.arn.clone(),
            instance: id.into(),
            kind,
            activity,
            actions: instance.actions.clone(),
        });
    }

    fn begin_activity(
        &mut self,
        description: String,
        cause: String,
        status: &'static str,
        zone: String,
        world: &mut World,
    ) -> Activity {
        let activity = Activity {
            id: world.ids.uuid(),
            description,
            cause,
            start: world.now,
            end: None,
            status,
            message: None,
            progress: 0,
            zone,
        };
        self.activities.push_front(activity.clone());
        self.activities.truncate(ACTIVITIES_KEPT);
        activity
    }

    fn mark_activity(&mut self, instance: &str, status: &'static str, progress: u8) {
        if let Some(activity) = self.activity_of(instance) {
            activity.status = status;
            activity.progress = progress;
        }
    }

    fn end_activity(&mut self, instance: &str, status: &'static str, now: Timestamp) {
        if let Some(activity) = self.activity_of(instance) {
            activity.status = status;
            activity.progress = 100;
            activity.end = Some(now);
        }
    }

    fn activity_of(&mut self, instance: &str) -> Option<&mut Activity> {
        let id = self.instances.iter().find(|i| i.id == instance)?.activity.clone()?;
        self.activities.iter_mut().find(|a| a.id == id)
    }
}

/// `at` plus whole seconds.
pub(super) fn after(at: Timestamp, seconds: u32) -> Timestamp {
    at + std::time::Duration::from_secs(seconds.into())
}

/// The time as AWS writes it in causes: whole seconds.
pub(super) fn stamp(at: Timestamp) -> String {
    format!("{at:.0}")
}
