//! The Auto Scaling group: what it is, and the two ways in which its capacity is changed.

use crate::aws::{Aws, AwsError, AwsErrorKind, explain};
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::Builder;
use aws_sdk_autoscaling::types::{AutoScalingGroup, InstanceRefreshStatus};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use fleet_core::scaling::{Group, HookStatus, Instance, RefreshStatus, Tag};
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};

/// The transition that a terminate hook holds.
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

/// Tags that begin like this are addressed to us.
const TAG_PREFIX: &str = "ghosthands:";

#[derive(Clone, Debug)]
pub struct AutoScaling {
    client: Client,
}

impl AutoScaling {
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: Client::new(&aws.sdk) }
    }

    /// The group as it is now. Unknown where it does not exist: that is never a group without
    /// instances.
    pub async fn describe(&self, name: &GroupName) -> Reading<Group> {
        match find(&self.client, name).await {
            Ok(group) => read_group(name, group),
            Err(unknown) => Reading::Unknown(unknown),
        }
    }

    /// Whether an instance refresh is replacing the group's instances right now.
    pub async fn refresh_status(&self, name: &GroupName) -> Reading<RefreshStatus> {
        // One page is enough: a group has at most one unfinished refresh, and the list begins with
        // it.
        let answer = self
            .client
            .describe_instance_refreshes()
            .auto_scaling_group_name(name.as_str())
            .send()
            .await;
        match answer {
            Ok(page) => page
                .instance_refreshes
                .unwrap_or_default()
                .into_iter()
                .map(|refresh| read_refresh(refresh.status.as_ref()))
                .find(|status| *status != Reading::Known(RefreshStatus::None))
                .unwrap_or(Reading::Known(RefreshStatus::None)),
            Err(error) => Reading::Unknown(explain("DescribeInstanceRefreshes", error).into()),
        }
    }

    /// Whether the group has a terminate hook of this name.
    pub async fn hook_status(&self, name: &GroupName, hook: &str) -> Reading<HookStatus> {
        let answer = self
            .client
            .describe_lifecycle_hooks()
            .auto_scaling_group_name(name.as_str())
            .lifecycle_hook_names(hook)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let hooks = answer.lifecycle_hooks.unwrap_or_default();
                let ours = hooks.iter().any(|one| {
                    one.lifecycle_hook_name.as_deref() == Some(hook)
                        && one.lifecycle_transition.as_deref() == Some(TERMINATING)
                });
                Reading::Known(if ours { HookStatus::Ours } else { HookStatus::Missing })
            }
            Err(error) => Reading::Unknown(explain("DescribeLifecycleHooks", error).into()),
        }
    }

    /// Sets the desired capacity, cooldown or not. Asking twice is the same as asking once.
    ///
    /// # Errors
    /// `Invalid` where `desired` is outside the group's own bounds.
    pub async fn set_desired(&self, name: &GroupName, desired: u32) -> Result<(), AwsError> {
        let desired = i32::try_from(desired).map_err(|_| {
            AwsError::new(
                AwsErrorKind::Invalid,
                format!("{desired} instances are more than AWS can count"),
            )
        })?;
        self.client
            .set_desired_capacity()
            .auto_scaling_group_name(name.as_str())
            .desired_capacity(desired)
            .honor_cooldown(false)
            .send()
            .await
            .map(drop)
            .map_err(|error| explain("SetDesiredCapacity", error))
    }

    /// Ends this very instance and lowers the desired capacity by one, so that nothing takes its
    /// place.
    ///
    /// Sent again only where AWS said that it did nothing: after a lost answer the capacity may
    /// already be lower, and the next tick sees which.
    ///
    /// # Errors
    /// `Invalid` where the group is at its minimum or has no such instance.
    pub async fn terminate_and_decrement(&self, instance: &InstanceId) -> Result<(), AwsError> {
        self.terminate(instance, true).await
    }

    /// Ends this very instance and lets the group launch another in its place.
    ///
    /// # Errors
    /// `Invalid` where the group has no such instance.
    pub async fn replace(&self, instance: &InstanceId) -> Result<(), AwsError> {
        self.terminate(instance, false).await
    }

    async fn terminate(&self, instance: &InstanceId, decrement: bool) -> Result<(), AwsError> {
        self.client
            .terminate_instance_in_auto_scaling_group()
            .instance_id(instance.as_str())
            .should_decrement_desired_capacity(decrement)
            .customize()
            .config_override(Builder::new().retry_classifier(OnlyIfRefused))
            .send()
            .await
            .map(drop)
            .map_err(|error| explain("TerminateInstanceInAutoScalingGroup", error))
    }
}

/// The group of this very name as AWS describes it.
pub(crate) async fn find(client: &Client, name: &GroupName) -> Result<AutoScalingGroup, Unknown> {
    let mut pages = client
        .describe_auto_scaling_groups()
        .auto_scaling_group_names(name.as_str())
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| explain("DescribeAutoScalingGroups", error))?;
        let ours = |group: &AutoScalingGroup| {
            group.auto_scaling_group_name.as_deref() == Some(name.as_str())
        };
        if let Some(group) = page.auto_scaling_groups.unwrap_or_default().into_iter().find(ours) {
            return Ok(group);
        }
    }
    Err(Unknown {
        cause: UnknownCause::Missing,
        detail: format!(
            "there is no Auto Scaling group {name} in this account and region; check AWS_ASG_NAME and AWS_REGION"
        ),
    })
}

/// Lets the SDK's own rules retry a request that was refused, such as a throttled one, and no
/// other.
#[derive(Debug)]
pub(crate) struct OnlyIfRefused;

impl ClassifyRetry for OnlyIfRefused {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        match attempt.response() {
            Some(answer) if answer.status().is_client_error() => RetryAction::NoActionIndicated,
            _ => RetryAction::RetryForbidden,
        }
    }

    fn name(&self) -> &'static str {
        "only if refused"
    }
}

/// The SDK puts 0 and empty texts where the answer lacks a field, so what AWS never sends is taken
/// for lacking.
pub(crate) fn read_group(name: &GroupName, group: AutoScalingGroup) -> Reading<Group> {
    let size = |size: Option<i32>| size.and_then(|size| u32::try_from(size).ok());
    let sizes = (size(group.min_size), size(group.desired_capacity), size(group.max_size));
    let (min, desired, max) = match sizes {
        (Some(min), Some(desired), Some(max)) if min <= desired && desired <= max => {
            (min, desired, max)
        }
        sizes => {
            return unreadable(format!(
                "DescribeAutoScalingGroups gave {name} with the impossible minimum, desired capacity and maximum {sizes:?}"
            ));
        }
    };
    let not_instances = not_instances(&group);
    let mut instances = Vec::new();
    for instance in group.instances.unwrap_or_default() {
        let id = instance.instance_id.filter(|id| !id.is_empty());
        let (Some(id), Some(lifecycle)) = (id, instance.lifecycle_state) else {
            return unreadable(format!(
                "DescribeAutoScalingGroups gave an instance of {name} without its id or state"
            ));
        };
        instances.push(Instance {
            id: InstanceId::new(id),
            lifecycle: lifecycle.as_str().into(),
            healthy: instance.health_status.as_deref() == Some("Healthy"),
            protected: instance.protected_from_scale_in == Some(true),
        });
    }
    Reading::Known(Group {
        name: name.clone(),
        min,
        max,
        desired,
        instances,
        suspended: group
            .suspended_processes
            .unwrap_or_default()
            .into_iter()
            .filter_map(|process| process.process_name)
            .collect(),
        tags: group
            .tags
            .unwrap_or_default()
            .into_iter()
            .filter_map(|tag| Some(Tag { key: tag.key?, value: tag.value.unwrap_or_default() }))
            .filter(|tag| tag.key.starts_with(TAG_PREFIX))
            .collect(),
        not_instances,
        stopped: Vec::new(),
    })
}

/// Why the group's capacity is not a number of instances.
fn not_instances(group: &AutoScalingGroup) -> Option<String> {
    let kind = group.desired_capacity_type.as_deref().filter(|kind| *kind != "units");
    if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
        return Some(format!("DesiredCapacityType {kind}"));
    }
    let template = group.mixed_instances_policy.as_ref().and_then(|p| p.launch_template.as_ref());
    let overrides = template.and_then(|template| template.overrides.as_ref());
    let of_types = overrides.into_iter().flatten().map(|one| {
        (one.instance_type.as_deref().unwrap_or("some type"), one.weighted_capacity.as_deref())
    });
    let of_instances = group.instances.iter().flatten().map(|one| {
        (one.instance_id.as_deref().unwrap_or("an instance"), one.weighted_capacity.as_deref())
    });
    of_types.chain(of_instances).find_map(|(what, weight)| {
        let weight = weight.filter(|weight| !weight.is_empty() && *weight != "1")?;
        Some(format!("WeightedCapacity {weight} of {what}"))
    })
}

/// A status this version does not know is an unknown one: it may be one more way of being in
/// progress.
fn read_refresh(status: Option<&InstanceRefreshStatus>) -> Reading<RefreshStatus> {
    use InstanceRefreshStatus::{
        Baking, Cancelled, Cancelling, Failed, InProgress, Pending, RollbackFailed,
        RollbackInProgress, RollbackSuccessful, Successful,
    };
    match status {
        Some(Pending | InProgress | Cancelling | RollbackInProgress | Baking) => {
            Reading::Known(RefreshStatus::InProgress)
        }
        Some(Successful | Failed | Cancelled | RollbackFailed | RollbackSuccessful) => {
            Reading::Known(RefreshStatus::None)
        }
        other => unreadable(format!(
            "DescribeInstanceRefreshes gave the status {:?}",
            other.map(InstanceRefreshStatus::as_str)
        )),
    }
}

fn unreadable<T>(detail: String) -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::Unreadable, detail })
}
