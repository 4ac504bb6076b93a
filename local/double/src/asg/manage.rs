//! Groups themselves: create, update, delete, suspend, tags, instance refreshes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::hooks::check_hook;
use super::instances::stamp;
use super::model::{Group, LaunchTemplate, LifecycleState, Refresh, Tag};
use super::spec::GroupSpec;
use super::{AutoScaling, World};
use crate::error::ApiError;

/// The processes that can be suspended.
const PROCESSES: [&str; 9] = [
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
];

/// The longest boot or shutdown that makes sense: a week.
const LONGEST_SECONDS: f64 = 7.0 * 86_400.0;

/// What the API adds to a [`GroupSpec`].
#[derive(Debug, Clone)]
pub(crate) struct GroupRequest {
    pub(crate) spec: GroupSpec,
    pub(crate) template: Option<LaunchTemplate>,
    pub(crate) zones: Vec<String>,
    pub(crate) subnets: Option<String>,
    pub(crate) cooldown_seconds: u32,
    pub(crate) grace_seconds: u32,
    pub(crate) capacity_rebalance: bool,
    pub(crate) propagated_tags: BTreeMap<String, Tag>,
}

/// What `UpdateAutoScalingGroup` may change; absent stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupUpdate {
    pub(crate) min: Option<u32>,
    pub(crate) max: Option<u32>,
    pub(crate) desired: Option<u32>,
    pub(crate) cooldown_seconds: Option<u32>,
    pub(crate) grace_seconds: Option<u32>,
    pub(crate) protect_new: Option<bool>,
    pub(crate) retain_on_abandon: Option<bool>,
    pub(crate) capacity_rebalance: Option<bool>,
    pub(crate) template: Option<LaunchTemplate>,
    pub(crate) zones: Option<Vec<String>>,
    pub(crate) subnets: Option<String>,
}

fn check_bounds(min: u32, max: u32, desired: Option<u32>) -> Result<(), ApiError> {
    if min > max {
        return Err(ApiError::validation(format!(
            "Max bound, {max}, must be greater than or equal to min bound, {min}"
        )));
    }
    match desired {
        Some(desired) if !(min..=max).contains(&desired) => Err(ApiError::validation(format!(
            "Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}"
        ))),
        _ => Ok(()),
    }
}

fn seconds(field: &str, value: Option<f64>, default: Duration) -> Result<Duration, ApiError> {
    let Some(value) = value else { return Ok(default) };
    if !(0.0..=LONGEST_SECONDS).contains(&value) {
        return Err(ApiError::validation(format!(
            "{field} must be between 0 and {LONGEST_SECONDS} seconds, not {value}"
        )));
    }
    Ok(Duration::from_secs_f64(value))
}

impl AutoScaling {
    /// A group with the double's own defaults: one zone, an invented launch template.
    pub(crate) fn create_simple(&mut self, spec: GroupSpec) -> Result<(), ApiError> {
        let request = GroupRequest {
            template: Some(LaunchTemplate {
                id: self.world.ids.resource("lt-"),
                name: format!("{}-template", spec.name),
                version: "1".to_owned(),
            }),
            zones: vec![format!("{}a", self.region)],
            subnets: None,
            cooldown_seconds: 300,
            grace_seconds: 0,
            capacity_rebalance: false,
            propagated_tags: BTreeMap::new(),
            spec,
        };
        self.create_group(request)
    }

    /// `CreateAutoScalingGroup`
    pub(crate) fn create_group(&mut self, request: GroupRequest) -> Result<(), ApiError> {
        let GroupRequest { spec, template, zones, subnets, .. } = request;
        if spec.name.is_empty() || spec.name.len() > 255 || spec.name.contains(':') {
            return Err(ApiError::validation(
                "AutoScalingGroupName must have 1 to 255 characters and no colon",
            ));
        }
        if self.groups.contains_key(&spec.name) {
            return Err(ApiError::new(
                "AlreadyExists",
                format!(
                    "AutoScalingGroup by this name already exists - A group with the name {} already exists",
                    spec.name
                ),
            ));
        }
        check_bounds(spec.min, spec.max, spec.desired)?;
        for hook in &spec.hooks {
            check_hook(hook)?;
        }
        let Some(template) = template else {
            return Err(ApiError::validation(
                "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.",
            ));
        };
        if zones.is_empty() && subnets.is_none() {
            return Err(ApiError::validation(
                "At least one Availability Zone or VPC Subnet is required.",
            ));
        }
        let zones = if zones.is_empty() { vec![format!("{}a", self.region)] } else { zones };
        let World { ids, now, .. } = &mut self.world;
        let mut tags = request.propagated_tags;
        tags.extend(spec.tags.into_iter().map(|(k, value)| (k, Tag { value, propagate: false })));
        let mut group = Group {
            arn: format!(
                "arn:aws:autoscaling:{}:{}:autoScalingGroup:{}:autoScalingGroupName/{}",
                self.region,
                self.account,
                ids.uuid(),
                spec.name
            ),
            role: format!(
                "arn:aws:iam::{}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
                self.account
            ),
            min: spec.min,
            max: spec.max,
            desired: 0,
            created: *now,
            boot: seconds("boot_seconds", spec.boot_seconds, self.boot)?,
            shutdown: seconds("shutdown_seconds", spec.shutdown_seconds, self.shutdown)?,
            cooldown_seconds: request.cooldown_seconds,
            grace_seconds: request.grace_seconds,
            template,
            zones,
            subnets,
            protect_new: spec.protect_new,
            retain_on_abandon: spec.retain_on_abandon,
            launch_failure: None,
            capacity_rebalance: request.capacity_rebalance,
            suspended: BTreeMap::new(),
            hooks: spec.hooks.into_iter().map(|h| (h.name.clone(), h)).collect(),
            tags,
            instances: Vec::new(),
            activities: VecDeque::new(),
            refreshes: Vec::new(),
            deleting: false,
            cooldown_until: *now,
            reason: String::new(),
            name: spec.name,
        };
        let desired = spec.desired.unwrap_or(spec.min);
        group.want(desired, "a user request created an AutoScalingGroup", &self.world);
        group.reconcile(&mut self.world);
        self.groups.insert(group.name.clone(), group);
        Ok(())
    }

    /// `UpdateAutoScalingGroup`: bounds that exclude the desired capacity move it, as AWS does.
    pub(crate) fn update_group(&mut self, name: &str, update: GroupUpdate) -> Result<(), ApiError> {
        let (group, world) = self.group_mut(name)?;
        let (min, max) = (update.min.unwrap_or(group.min), update.max.unwrap_or(group.max));
        check_bounds(min, max, update.desired)?;
        let desired = update.desired.unwrap_or(group.desired).clamp(min, max);
        (group.min, group.max) = (min, max);
        if let Some(value) = update.cooldown_seconds {
            group.cooldown_seconds = value;
        }
        if let Some(value) = update.grace_seconds {
            group.grace_seconds = value;
        }
        if let Some(value) = update.protect_new {
            group.protect_new = value;
        }
        if let Some(value) = update.retain_on_abandon {
            group.retain_on_abandon = value;
        }
        if let Some(value) = update.capacity_rebalance {
            group.capacity_rebalance = value;
        }
        if let Some(value) = update.template {
            group.template = value;
        }
        if let Some(value) = update.zones {
            group.zones = value;
        }
        if update.subnets.is_some() {
            group.subnets = update.subnets;
        }
        let why = format!(
            "a user request update of AutoScalingGroup constraints to min: {min}, max: {max}, desired: {desired}"
        );
        group.want(desired, &why, world);
        group.reconcile(world);
        Ok(())
    }

    /// `DeleteAutoScalingGroup`: with `force` the instances go without hooks, waits that are going
    /// on end.
    pub(crate) fn delete_group(&mut self, name: &str, force: bool) -> Result<(), ApiError> {
        let (group, world) = self.group_mut(name)?;
        if group.instances.is_empty() {
            self.groups.remove(name);
            return Ok(());
        }
        if !force {
            return Err(ApiError::new(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.",
            ));
        }
        if group.retain_on_abandon {
            return Err(ApiError::validation(format!(
                "Group {name} retains instances: set TerminateHookAbandon to terminate before a forced delete"
            )));
        }
        let retained: Vec<String> = group
            .instances
            .iter()
            .filter(|i| i.state == LifecycleState::TerminatingRetained)
            .map(|i| i.id.clone())
            .collect();
        for id in retained {
            let cause = format!("At {} a user request force deleted {name}.", stamp(world.now));
            group.terminate(&id, cause, false, world);
        }
        let waiting: Vec<(String, String)> = group
            .instances
            .iter()
            .filter(|i| !i.state.counts())
            .flat_map(|i| i.actions.iter().map(|a| (i.id.clone(), a.token.clone())))
            .collect();
        for (id, token) in waiting {
            group.resolve(&id, &token, super::HookResult::Abandon, world);
        }
        (group.min, group.max, group.desired, group.deleting) = (0, 0, 0, true);
        group.reconcile(world);
        Ok(())
    }

    /// Lets the group's launches fail with these words of AWS; `None` lets them succeed again.
    pub(crate) fn fail_launches(
        &mut self,
        name: &str,
        message: Option<String>,
    ) -> Result<(), ApiError> {
        self.group_mut(name)?.0.launch_failure = message;
        Ok(())
    }

    /// Changes how long the group's next instances boot.
    pub(crate) fn set_boot(&mut self, name: &str, boot: f64) -> Result<(), ApiError> {
        let (group, _) = self.group_mut(name)?;
        group.boot = seconds("boot_seconds", Some(boot), group.boot)?;
        Ok(())
    }

    /// `SuspendProcesses`; none named means all.
    pub(crate) fn suspend(&mut self, name: &str, processes: &[String]) -> Result<(), ApiError> {
        let processes = processes_or_all(processes)?;
        let (group, world) = self.group_mut(name)?;
        let reason = format!("User suspended at {}", stamp(world.now));
        for process in processes {
            group.suspended.entry(process).or_insert_with(|| reason.clone());
        }
        Ok(())
    }

    /// `ResumeProcesses`; none named means all.
    pub(crate) fn resume(&mut self, name: &str, processes: &[String]) -> Result<(), ApiError> {
        let processes = processes_or_all(processes)?;
        let (group, world) = self.group_mut(name)?;
        group.suspended.retain(|process, _| !processes.contains(process));
        group.reconcile(world);
        Ok(())
    }

    /// `CreateOrUpdateTags` for one tag.
    pub(crate) fn tag(&mut self, name: &str, key: &str, tag: Tag) -> Result<(), ApiError> {
        if key.is_empty() || key.chars().count() > 128 || tag.value.chars().count() > 256 {
            return Err(ApiError::validation(
                "A tag key must have 1 to 128 characters and its value at most 256",
            ));
        }
        self.group_mut(name)?.0.tags.insert(key.to_owned(), tag);
        Ok(())
    }

    /// `DeleteTags` for one key; a key that is not there is no error.
    pub(crate) fn untag(&mut self, name: &str, key: &str) -> Result<(), ApiError> {
        self.group_mut(name)?.0.tags.remove(key);
        Ok(())
    }

    /// `StartInstanceRefresh`: the record is kept and stays `InProgress` until it is cancelled; no
    /// instance is replaced.
    pub(crate) fn start_refresh(&mut self, name: &str) -> Result<String, ApiError> {
        let (group, world) = self.group_mut(name)?;
        if group.refreshes.iter().any(|r| r.end.is_none()) {
            return Err(ApiError::new(
                "InstanceRefreshInProgress",
                "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
            ));
        }
        let id = world.ids.uuid();
        let instances = group.in_service();
        group.refreshes.insert(
            0,
            Refresh {
                id: id.clone(),
                status: "InProgress",
                start: world.now,
                end: None,
                instances,
            },
        );
        Ok(id)
    }

    /// `CancelInstanceRefresh`
    pub(crate) fn cancel_refresh(&mut self, name: &str) -> Result<String, ApiError> {
        let (group, world) = self.group_mut(name)?;
        let Some(refresh) = group.refreshes.iter_mut().find(|r| r.end.is_none()) else {
            return Err(ApiError::new(
                "ActiveInstanceRefreshNotFound",
                "No in progress or pending Instance Refresh found for Auto Scaling group "
                    .to_owned()
                    + name,
            ));
        };
        refresh.status = "Cancelled";
        refresh.end = Some(world.now);
        Ok(refresh.id.clone())
    }
}

fn processes_or_all(processes: &[String]) -> Result<Vec<String>, ApiError> {
    if processes.is_empty() {
        return Ok(PROCESSES.iter().map(|&p| p.to_owned()).collect());
    }
    for process in processes {
        if !PROCESSES.contains(&process.as_str()) {
            return Err(ApiError::validation(format!("{process} is not a valid scaling process")));
        }
    }
    Ok(processes.to_vec())
}
