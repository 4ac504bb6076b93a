//! Groups, instances, hooks and activities as XML.

use jiff::Timestamp;
use serde_json::json;

use crate::asg::{Activity, Group, HookSpec, Instance, LaunchTemplate, Refresh, Tag};
use crate::wire::xml::Xml;

/// A time as AWS writes it.
fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn template(x: &mut Xml, template: &LaunchTemplate) {
    x.node("LaunchTemplate", |x| {
        x.text("LaunchTemplateId", &template.id)
            .text("LaunchTemplateName", &template.name)
            .text("Version", &template.version);
    });
}

fn health(instance: &Instance) -> &'static str {
    if instance.healthy { "Healthy" } else { "Unhealthy" }
}

pub(super) fn group(x: &mut Xml, group: &Group) {
    x.text("AutoScalingGroupName", &group.name).text("AutoScalingGroupARN", &group.arn);
    template(x, &group.template);
    x.text("MinSize", group.min)
        .text("MaxSize", group.max)
        .text("DesiredCapacity", group.desired)
        .text("DefaultCooldown", group.cooldown_seconds)
        .texts("AvailabilityZones", &group.zones)
        .texts("LoadBalancerNames", None::<&str>)
        .texts("TargetGroupARNs", None::<&str>)
        .text("HealthCheckType", "EC2")
        .text("HealthCheckGracePeriod", group.grace_seconds)
        .members("Instances", &group.instances, |x, i| {
            x.text("InstanceId", &i.id)
                .text("AvailabilityZone", &i.zone)
                .text("LifecycleState", i.state.as_str())
                .text("HealthStatus", health(i));
            template(x, &i.template);
            x.text("ProtectedFromScaleIn", i.protected);
        })
        .text("CreatedTime", time(group.created))
        .members("SuspendedProcesses", &group.suspended, |x, (process, reason)| {
            x.text("ProcessName", process).text("SuspensionReason", reason);
        })
        .text("VPCZoneIdentifier", group.subnets.as_deref().unwrap_or_default())
        .texts("EnabledMetrics", None::<&str>);
    if group.capacity_rebalance {
        x.text("CapacityRebalance", true);
    }
    if group.retain_on_abandon {
        x.node("InstanceLifecyclePolicy", |x| {
            x.node("RetentionTriggers", |x| {
                x.text("TerminateHookAbandon", "retain");
            });
        });
    }
    if group.deleting {
        x.text("Status", "Delete in progress");
    }
    x.members("Tags", &group.tags, |x, (key, value)| tag(x, &group.name, key, value))
        .texts("TerminationPolicies", ["Default"])
        .text("NewInstancesProtectedFromScaleIn", group.protect_new)
        .text("ServiceLinkedRoleARN", &group.role)
        .texts("TrafficSources", None::<&str>);
}

pub(super) fn tag(x: &mut Xml, group: &str, key: &str, tag: &Tag) {
    x.text("ResourceId", group)
        .text("ResourceType", "auto-scaling-group")
        .text("Key", key)
        .text("Value", &tag.value)
        .text("PropagateAtLaunch", tag.propagate);
}

/// An instance as `DescribeAutoScalingInstances` lists it; the health is in capitals there.
pub(super) fn instance(x: &mut Xml, group: &Group, instance: &Instance) {
    x.text("InstanceId", &instance.id)
        .text("AutoScalingGroupName", &group.name)
        .text("AvailabilityZone", &instance.zone)
        .text("LifecycleState", instance.state.as_str())
        .text("HealthStatus", health(instance).to_uppercase());
    template(x, &instance.template);
    x.text("ProtectedFromScaleIn", instance.protected);
}

pub(super) fn hook(x: &mut Xml, group: &str, hook: &HookSpec) {
    x.text("LifecycleHookName", &hook.name)
        .text("AutoScalingGroupName", group)
        .text("LifecycleTransition", hook.direction.as_str())
        .maybe("NotificationMetadata", hook.metadata.as_ref())
        .text("HeartbeatTimeout", hook.heartbeat_seconds)
        .text("GlobalTimeout", hook.global_seconds())
        .text("DefaultResult", hook.default_result.as_str());
}

pub(super) fn activity(x: &mut Xml, group: &str, arn: &str, activity: &Activity) {
    x.text("ActivityId", &activity.id)
        .text("AutoScalingGroupName", group)
        .text("Description", &activity.description)
        .text("Cause", &activity.cause)
        .text("StartTime", time(activity.start))
        .maybe("EndTime", activity.end.map(time))
        .text("StatusCode", activity.status)
        .maybe("StatusMessage", activity.message.as_ref())
        .text("Progress", activity.progress)
        .text("Details", json!({ "Availability Zone": activity.zone }))
        .text("AutoScalingGroupARN", arn);
}

pub(super) fn refresh(x: &mut Xml, group: &str, refresh: &Refresh) {
    x.text("InstanceRefreshId", &refresh.id)
        .text("AutoScalingGroupName", group)
        .text("Status", refresh.status)
        .text("StartTime", time(refresh.start))
        .maybe("EndTime", refresh.end.map(time))
        .text("PercentageComplete", 0)
        .text("InstancesToUpdate", refresh.instances)
        .text("Strategy", "Rolling");
}
