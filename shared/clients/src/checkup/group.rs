//! The group: how it is set up, and what it did lately.

use super::Checkup;
use crate::auto_scaling::{find, read_group};
use crate::aws::explain;
use aws_sdk_autoscaling::types::{
    AutoScalingGroup, LaunchTemplateSpecification, LifecycleHook, RetentionAction,
};
use fleet_core::scaling::Group;
use fleet_protocol::ids::GroupName;
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;

/// The newest activities that are read: one page.
const ACTIVITIES: i32 = 100;
/// What is kept of AWS's words about an activity, in characters.
const WORDS: usize = 400;

/// A group with what decides over its instances' ends and beginnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedGroup {
    pub group: Group,
    /// An instance whose terminate hook ran out is kept (`TerminateHookAbandon` is `retain`).
    pub retains: bool,
    /// `None` where the group launches by a launch configuration.
    pub template: Option<TemplateRef>,
}

/// The launch template that a group names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateRef {
    pub id: String,
    /// A number, `$Latest` or `$Default`.
    pub version: String,
}

/// A lifecycle hook, whosoever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    pub name: String,
    /// As AWS spells it, such as `autoscaling:EC2_INSTANCE_TERMINATING`.
    pub transition: String,
    pub heartbeat_s: u32,
    /// `ABANDON` or `CONTINUE`.
    pub default_result: String,
}

/// One scaling activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    pub started: UnixMs,
    pub description: String,
    /// As AWS spells it, such as `Successful`, `Failed` or `Cancelled`.
    pub status: String,
    /// AWS's own words about it, where there are any.
    pub message: String,
}

impl Checkup {
    /// The group of this name.
    pub async fn group(&self, name: &GroupName) -> Reading<CheckedGroup> {
        match find(&self.auto_scaling, name).await {
            Ok(found) => {
                let (retains, template) = (retains(&found), template(&found));
                match read_group(name, found) {
                    Reading::Known(group) => {
                        Reading::Known(CheckedGroup { group, retains, template })
                    }
                    Reading::Unknown(unknown) => Reading::Unknown(unknown),
                }
            }
            Err(unknown) => Reading::Unknown(unknown),
        }
    }

    /// Every lifecycle hook of the group.
    pub async fn hooks(&self, name: &GroupName) -> Reading<Vec<Hook>> {
        let call = self.auto_scaling.describe_lifecycle_hooks();
        match call.auto_scaling_group_name(name.as_str()).send().await {
            Ok(answer) => {
                let hooks = answer.lifecycle_hooks.unwrap_or_default();
                Reading::Known(hooks.into_iter().map(hook).collect())
            }
            Err(error) => Reading::Unknown(explain("DescribeLifecycleHooks", error).into()),
        }
    }

    /// The group's newest activities, newest first.
    pub async fn activities(&self, name: &GroupName) -> Reading<Vec<Activity>> {
        let call = self.auto_scaling.describe_scaling_activities();
        let call = call.auto_scaling_group_name(name.as_str()).max_records(ACTIVITIES);
        match call.send().await {
            Ok(page) => {
                let activities = page.activities.unwrap_or_default();
                Reading::Known(activities.into_iter().filter_map(activity).collect())
            }
            Err(error) => Reading::Unknown(explain("DescribeScalingActivities", error).into()),
        }
    }
}

fn retains(group: &AutoScalingGroup) -> bool {
    let policy = group.instance_lifecycle_policy.as_ref();
    let triggers = policy.and_then(|policy| policy.retention_triggers.as_ref());
    triggers.and_then(|triggers| triggers.terminate_hook_abandon.as_ref())
        == Some(&RetentionAction::Retain)
}

/// Of its own, or of its mixed instances policy.
fn template(group: &AutoScalingGroup) -> Option<TemplateRef> {
    let mixed = group.mixed_instances_policy.as_ref();
    let mixed = mixed.and_then(|policy| policy.launch_template.as_ref());
    let mixed = mixed.and_then(|template| template.launch_template_specification.as_ref());
    let LaunchTemplateSpecification { launch_template_id, version, .. } =
        group.launch_template.as_ref().or(mixed)?;
    let version = version.clone().unwrap_or_else(|| "$Default".to_owned());
    Some(TemplateRef { id: launch_template_id.clone()?, version })
}

fn hook(hook: LifecycleHook) -> Hook {
    let seconds = hook.heartbeat_timeout.and_then(|seconds| u32::try_from(seconds).ok());
    Hook {
        name: hook.lifecycle_hook_name.unwrap_or_default(),
        transition: hook.lifecycle_transition.unwrap_or_default(),
        heartbeat_s: seconds.unwrap_or(0),
        default_result: hook.default_result.unwrap_or_default(),
    }
}

/// `None` for one without a time, which tells nothing.
fn activity(activity: aws_sdk_autoscaling::types::Activity) -> Option<Activity> {
    let started = UnixMs(activity.start_time?.to_millis().ok()?);
    let message = activity.status_message.unwrap_or_default();
    Some(Activity {
        started,
        description: activity.description.unwrap_or_default(),
        status: activity.status_code.map_or_else(String::new, |code| code.as_str().to_owned()),
        message: message.chars().take(WORDS).collect(),
    })
}
