//! The actions that change something.

use std::collections::BTreeMap;

use super::render;
use crate::asg::{
    ActionKey, AutoScaling, Direction, GroupRequest, GroupSpec, GroupUpdate, HookResult, HookSpec,
    LaunchTemplate, Tag,
};
use crate::error::ApiError;
use crate::wire::form::Form;
use crate::wire::xml::Xml;

type Answer = Result<Xml, ApiError>;

/// AWS's default when no heartbeat timeout is given.
const HEARTBEAT_SECONDS: u32 = 3600;

fn done() -> Answer {
    Ok(Xml::default())
}

fn group_name(form: &mut Form) -> Result<String, ApiError> {
    form.required("AutoScalingGroupName")
}

pub(super) fn set_desired_capacity(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = group_name(form)?;
    let desired = form.required_number("DesiredCapacity")?;
    let honor = form.flag("HonorCooldown")?.unwrap_or(false);
    form.finish()?;
    asg.set_desired(&name, desired, honor)?;
    done()
}

pub(super) fn terminate_instance(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let id = form.required("InstanceId")?;
    let decrement = form.required_flag("ShouldDecrementDesiredCapacity")?;
    form.finish()?;
    let (group, activity) = asg.terminate_instance(&id, decrement)?;
    let arn = asg.group(&group)?.arn.clone();
    let mut x = Xml::default();
    x.node("Activity", |x| render::activity(x, &group, &arn, &activity));
    Ok(x)
}

pub(super) fn set_protection(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = group_name(form)?;
    let ids = form.list("InstanceIds");
    let protected = form.required_flag("ProtectedFromScaleIn")?;
    form.finish()?;
    if ids.is_empty() || ids.len() > 50 {
        return Err(ApiError::validation("InstanceIds must name 1 to 50 instances"));
    }
    asg.set_protection(&name, &ids, protected)?;
    done()
}

pub(super) fn set_health(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let id = form.required("InstanceId")?;
    let healthy = match form.required("HealthStatus")?.as_str() {
        "Healthy" => true,
        "Unhealthy" => false,
        other => {
            return Err(ApiError::validation(format!(
                "HealthStatus must be Healthy or Unhealthy, not {other}"
            )));
        }
    };
    let respect = form.flag("ShouldRespectGracePeriod")?.unwrap_or(true);
    form.finish()?;
    asg.set_health(&id, healthy, respect)?;
    done()
}

/// A launch template reference; the template itself is not looked for, EC2 is not modelled.
fn template(form: &mut Form) -> Result<Option<LaunchTemplate>, ApiError> {
    let Some(mut given) = form.structure("LaunchTemplate") else { return Ok(None) };
    let (id, name) = (given.text("LaunchTemplateId"), given.text("LaunchTemplateName"));
    let version = given.text("Version").unwrap_or_else(|| "$Default".to_owned());
    given.finish()?;
    let (id, name) = match (id, name) {
        (Some(id), None) => (id.clone(), id),
        (None, Some(name)) => (format!("lt-{name}"), name),
        _ => {
            return Err(ApiError::validation(
                "Valid requests must contain either launchTemplateId or LaunchTemplateName",
            ));
        }
    };
    Ok(Some(LaunchTemplate { id, name, version }))
}

fn zones(form: &mut Form) -> (Vec<String>, Option<String>) {
    (form.list("AvailabilityZones"), form.text("VPCZoneIdentifier").filter(|s| !s.is_empty()))
}

fn only(form: &mut Form, key: &str, value: &str) -> Result<(), ApiError> {
    match form.text(key) {
        Some(given) if given != value => {
            Err(ApiError::validation(format!("The double models {key} {value} only, not {given}")))
        }
        _ => Ok(()),
    }
}

/// What becomes of an instance whose terminate hook is abandoned.
fn retain(form: &mut Form) -> Result<Option<bool>, ApiError> {
    let Some(mut policy) = form.structure("InstanceLifecyclePolicy") else { return Ok(None) };
    let Some(mut triggers) = policy.structure("RetentionTriggers") else {
        policy.finish()?;
        return Ok(None);
    };
    let retain = match triggers.text("TerminateHookAbandon").as_deref() {
        None => None,
        Some("retain") => Some(true),
        Some("terminate") => Some(false),
        Some(other) => {
            return Err(ApiError::validation(format!(
                "TerminateHookAbandon must be retain or terminate, not {other}"
            )));
        }
    };
    triggers.finish()?;
    policy.finish()?;
    Ok(retain)
}

pub(super) fn create_group(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let mut spec = GroupSpec::new(
        group_name(form)?,
        form.required_number("MinSize")?,
        form.required_number("MaxSize")?,
    );
    spec.desired = form.number("DesiredCapacity")?;
    spec.protect_new = form.flag("NewInstancesProtectedFromScaleIn")?.unwrap_or(false);
    let template = template(form)?;
    let (zones, subnets) = zones(form);
    only(form, "HealthCheckType", "EC2")?;
    spec.retain_on_abandon = retain(form)?.unwrap_or(false);
    let capacity_rebalance = form.flag("CapacityRebalance")?.unwrap_or(false);
    let cooldown_seconds = form.number("DefaultCooldown")?.unwrap_or(300);
    let grace_seconds = form.number("HealthCheckGracePeriod")?.unwrap_or(0);
    for mut hook in form.members("LifecycleHookSpecificationList") {
        spec.hooks.push(new_hook(&mut hook)?);
        hook.finish()?;
    }
    let mut propagated_tags = BTreeMap::new();
    for mut tag in form.members("Tags") {
        let (_, key, tag) = take_tag(&mut tag)?;
        propagated_tags.insert(key, tag);
    }
    form.finish()?;
    asg.create_group(GroupRequest {
        spec,
        template,
        zones,
        subnets,
        cooldown_seconds,
        grace_seconds,
        capacity_rebalance,
        propagated_tags,
    })?;
    done()
}

pub(super) fn update_group(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = group_name(form)?;
    let (zones, subnets) = zones(form);
    only(form, "HealthCheckType", "EC2")?;
    let update = GroupUpdate {
        min: form.number("MinSize")?,
        max: form.number("MaxSize")?,
        desired: form.number("DesiredCapacity")?,
        cooldown_seconds: form.number("DefaultCooldown")?,
        grace_seconds: form.number("HealthCheckGracePeriod")?,
        protect_new: form.flag("NewInstancesProtectedFromScaleIn")?,
        retain_on_abandon: retain(form)?,
        capacity_rebalance: form.flag("CapacityRebalance")?,
        template: template(form)?,
        zones: (!zones.is_empty()).then_some(zones),
        subnets,
    };
    form.finish()?;
    asg.update_group(&name, update)?;
    done()
}

pub(super) fn delete_group(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = group_name(form)?;
    let force = form.flag("ForceDelete")?.unwrap_or(false);
    form.finish()?;
    asg.delete_group(&name, force)?;
    done()
}

fn direction(text: &str) -> Result<Direction, ApiError> {
    Direction::parse(text).ok_or_else(|| {
        ApiError::validation(format!(
            "LifecycleTransition must be autoscaling:EC2_INSTANCE_LAUNCHING or autoscaling:EC2_INSTANCE_TERMINATING, not {text}"
        ))
    })
}

fn result(text: &str) -> Result<HookResult, ApiError> {
    HookResult::parse(text).ok_or_else(|| {
        ApiError::validation(format!(
            "The lifecycle action result must be CONTINUE or ABANDON, not {text}"
        ))
    })
}

fn new_hook(form: &mut Form) -> Result<HookSpec, ApiError> {
    Ok(HookSpec {
        name: form.required("LifecycleHookName")?,
        direction: direction(&form.required("LifecycleTransition")?)?,
        heartbeat_seconds: form.number("HeartbeatTimeout")?.unwrap_or(HEARTBEAT_SECONDS),
        default_result: match form.text("DefaultResult") {
            Some(text) => result(&text)?,
            None => HookResult::Abandon,
        },
        metadata: form.text("NotificationMetadata"),
    })
}

pub(super) fn put_hook(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let group = group_name(form)?;
    let name = form.required("LifecycleHookName")?;
    let known = asg.group(&group)?.hooks.get(&name).cloned();
    let hook = match known {
        // A new hook must say which transition it holds up; a change may leave out what stays.
        None => {
            form.put("LifecycleHookName", name);
            new_hook(form)?
        }
        Some(mut hook) => {
            if let Some(text) = form.text("LifecycleTransition") {
                hook.direction = direction(&text)?;
            }
            if let Some(seconds) = form.number("HeartbeatTimeout")? {
                hook.heartbeat_seconds = seconds;
            }
            if let Some(text) = form.text("DefaultResult") {
                hook.default_result = result(&text)?;
            }
            if let Some(text) = form.text("NotificationMetadata") {
                hook.metadata = Some(text);
            }
            hook
        }
    };
    form.finish()?;
    asg.put_hook(&group, hook)?;
    done()
}

pub(super) fn delete_hook(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let (group, hook) = (group_name(form)?, form.required("LifecycleHookName")?);
    form.finish()?;
    asg.delete_hook(&group, &hook)?;
    done()
}

fn action_key(form: &mut Form) -> Result<ActionKey, ApiError> {
    Ok(ActionKey {
        hook: form.required("LifecycleHookName")?,
        token: form.text("LifecycleActionToken"),
        instance: form.text("InstanceId"),
    })
}

pub(super) fn complete_action(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let (group, key) = (group_name(form)?, action_key(form)?);
    let result = result(&form.required("LifecycleActionResult")?)?;
    form.finish()?;
    asg.complete_action(&group, &key, result)?;
    done()
}

pub(super) fn heartbeat(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let (group, key) = (group_name(form)?, action_key(form)?);
    form.finish()?;
    asg.heartbeat(&group, &key)?;
    done()
}

pub(super) fn suspend(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let (group, processes) = (group_name(form)?, form.list("ScalingProcesses"));
    form.finish()?;
    asg.suspend(&group, &processes)?;
    done()
}

pub(super) fn resume(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let (group, processes) = (group_name(form)?, form.list("ScalingProcesses"));
    form.finish()?;
    asg.resume(&group, &processes)?;
    done()
}

/// The group (absent inside `CreateAutoScalingGroup`), key and tag.
fn take_tag(form: &mut Form) -> Result<(Option<String>, String, Tag), ApiError> {
    only(form, "ResourceType", "auto-scaling-group")?;
    let group = form.text("ResourceId");
    let key = form.required("Key")?;
    let value = form.text("Value").unwrap_or_default();
    let propagate = form.flag("PropagateAtLaunch")?.unwrap_or(false);
    form.finish()?;
    Ok((group, key, Tag { value, propagate }))
}

fn tag_owner(group: Option<String>) -> Result<String, ApiError> {
    group.ok_or_else(|| ApiError::validation("Tags need a ResourceId: the name of the group"))
}

pub(super) fn tag(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let tags: Vec<_> =
        form.members("Tags").iter_mut().map(take_tag).collect::<Result<_, ApiError>>()?;
    form.finish()?;
    for (group, key, tag) in tags {
        asg.tag(&tag_owner(group)?, &key, tag)?;
    }
    done()
}

pub(super) fn untag(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let tags: Vec<_> =
        form.members("Tags").iter_mut().map(take_tag).collect::<Result<_, ApiError>>()?;
    form.finish()?;
    for (group, key, _) in tags {
        asg.untag(&tag_owner(group)?, &key)?;
    }
    done()
}

pub(super) fn start_refresh(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = group_name(form)?;
    only(form, "Strategy", "Rolling")?;
    form.finish()?;
    let id = asg.start_refresh(&name)?;
    let mut x = Xml::default();
    x.text("InstanceRefreshId", id);
    Ok(x)
}

pub(super) fn cancel_refresh(form: &mut Form, asg: &mut AutoScaling) -> Answer {
    let name = group_name(form)?;
    form.finish()?;
    let id = asg.cancel_refresh(&name)?;
    let mut x = Xml::default();
    x.text("InstanceRefreshId", id);
    Ok(x)
}
