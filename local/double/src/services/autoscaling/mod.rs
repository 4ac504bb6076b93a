//! Auto Scaling over the Query protocol, API version 2011-01-01.

mod read;
mod render;
mod write;

use crate::asg::AutoScaling;
use crate::error::ApiError;
use crate::wire::form::Form;
use crate::wire::xml::Xml;

pub(super) const VERSION: &str = "2011-01-01";
pub(super) const NAMESPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

/// Runs one action. `None` when there is no such action here.
pub(super) fn call(
    action: &str,
    form: &mut Form,
    asg: &mut AutoScaling,
) -> Option<Result<Xml, ApiError>> {
    let handler: fn(&mut Form, &mut AutoScaling) -> Result<Xml, ApiError> = match action {
        "DescribeAutoScalingGroups" => read::groups,
        "DescribeAutoScalingInstances" => read::instances,
        "DescribeLifecycleHooks" => read::hooks,
        "DescribeScalingActivities" => read::activities,
        "DescribeInstanceRefreshes" => read::refreshes,
        "DescribeTags" => read::tags,
        "CreateAutoScalingGroup" => write::create_group,
        "UpdateAutoScalingGroup" => write::update_group,
        "DeleteAutoScalingGroup" => write::delete_group,
        "SetDesiredCapacity" => write::set_desired_capacity,
        "TerminateInstanceInAutoScalingGroup" => write::terminate_instance,
        "SetInstanceProtection" => write::set_protection,
        "SetInstanceHealth" => write::set_health,
        "PutLifecycleHook" => write::put_hook,
        "DeleteLifecycleHook" => write::delete_hook,
        "CompleteLifecycleAction" => write::complete_action,
        "RecordLifecycleActionHeartbeat" => write::heartbeat,
        "SuspendProcesses" => write::suspend,
        "ResumeProcesses" => write::resume,
        "CreateOrUpdateTags" => write::tag,
        "DeleteTags" => write::untag,
        "StartInstanceRefresh" => write::start_refresh,
        "CancelInstanceRefresh" => write::cancel_refresh,
        _ => return None,
    };
    Some(handler(form, asg))
}
