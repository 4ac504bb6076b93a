//! The end of an instance as Auto Scaling has it: who is leaving, the hook that holds them, and the
//! calls that let them go.

use crate::auto_scaling::find;
use crate::aws::{Aws, AwsError, AwsErrorKind, explain};
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_autoscaling::config::{Config, Intercept, RuntimeComponents};
use aws_sdk_autoscaling::error::BoxError;
use aws_sdk_autoscaling::types::{Activity, AutoScalingGroup, LifecycleHook, RetentionAction};
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use fleet_core::drain::{Activities, CallResult, Group, Hook, Member};
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";
/// How the description of an activity begins that ends or launches an instance; the instance's id
/// follows.
const ENDING: &str = "Terminating EC2 instance: ";
const LAUNCHING: &str = "Launching a new EC2 instance: ";
/// Activities of the newest pages only: whoever is still leaving began lately.
const ACTIVITY_PAGES: usize = 3;

/// One group and its terminate hook.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    client: Client,
    clock: AwsClock,
    group: GroupName,
    hook: String,
}

impl Lifecycle {
    #[must_use]
    pub fn new(aws: &Aws, group: GroupName, hook: String) -> Self {
        let clock = AwsClock::default();
        let config = Config::from(&aws.sdk).to_builder().interceptor(clock.clone()).build();
        Self { client: Client::from_conf(config), clock, group, hook }
    }

    /// The group as it is now, dated by AWS. `now` dates it where the answer has no date.
    pub async fn group(&self, now: UnixMs) -> Reading<Group> {
        match find(&self.client, &self.group).await {
            Ok(group) => read_group(&self.group, group, self.clock.last().unwrap_or(now)),
            Err(unknown) => Reading::Unknown(unknown),
        }
    }

    /// Our hook. Unknown where it does not exist: then nothing holds an instance.
    pub async fn hook(&self) -> Reading<Hook> {
        let answer = self
            .client
            .describe_lifecycle_hooks()
            .auto_scaling_group_name(self.group.as_str())
            .lifecycle_hook_names(&self.hook)
            .send()
            .await;
        let hooks = match answer {
            Ok(answer) => answer.lifecycle_hooks.unwrap_or_default(),
            Err(error) => {
                return Reading::Unknown(explain("DescribeLifecycleHooks", error).into());
            }
        };
        let ours = |hook: &LifecycleHook| hook.lifecycle_hook_name.as_deref() == Some(&self.hook);
        match hooks.into_iter().find(ours) {
            Some(hook) => read_hook(hook),
            None => Reading::Unknown(Unknown {
                cause: UnknownCause::Missing,
                detail: format!(
                    "{} has no lifecycle hook {}: instances end without waiting for their jobs; create it or set DRAIN_HOOK",
                    self.group, self.hook
                ),
            }),
        }
    }

    /// What the group began and ended lately, by its newest activities.
    pub async fn activities(&self) -> Reading<Activities> {
        let mut pages = self
            .client
            .describe_scaling_activities()
            .auto_scaling_group_name(self.group.as_str())
            .into_paginator()
            .send();
        let mut known = Activities::default();
        for _ in 0..ACTIVITY_PAGES {
            let Some(page) = pages.next().await else { break };
            match page {
                Ok(page) => {
                    for activity in page.activities.unwrap_or_default() {
                        note_activity(&mut known, &activity);
                    }
                }
                Err(error) => {
                    return Reading::Unknown(explain("DescribeScalingActivities", error).into());
                }
            }
        }
        Reading::Known(known)
    }

    /// Holds the instance for one more timeout of the hook.
    pub async fn heartbeat(&self, instance: &InstanceId) -> CallResult {
        let answer = self
            .client
            .record_lifecycle_action_heartbeat()
            .auto_scaling_group_name(self.group.as_str())
            .lifecycle_hook_name(&self.hook)
            .instance_id(instance.as_str())
            .send()
            .await;
        done(answer.map(drop).map_err(|error| explain("RecordLifecycleActionHeartbeat", error)))
    }

    /// Lets the instance go: `CONTINUE`, by its id. A token would have to be remembered, and is of
    /// one action only.
    pub async fn complete(&self, instance: &InstanceId) -> CallResult {
        let answer = self
            .client
            .complete_lifecycle_action()
            .auto_scaling_group_name(self.group.as_str())
            .lifecycle_hook_name(&self.hook)
            .instance_id(instance.as_str())
            .lifecycle_action_result("CONTINUE")
            .send()
            .await;
        done(answer.map(drop).map_err(|error| explain("CompleteLifecycleAction", error)))
    }

    /// Ends the instance by way of its hook and lets the group put another in its place if it wants
    /// one. Asking twice is the same as asking once.
    pub async fn replace(&self, instance: &InstanceId) -> CallResult {
        let answer = self
            .client
            .terminate_instance_in_auto_scaling_group()
            .instance_id(instance.as_str())
            .should_decrement_desired_capacity(false)
            .send()
            .await;
        done(
            answer.map(drop).map_err(|error| explain("TerminateInstanceInAutoScalingGroup", error)),
        )
    }
}

/// AWS's clock, by the date of its last answer.
#[derive(Clone, Debug, Default)]
struct AwsClock(Arc<AtomicI64>);

impl AwsClock {
    fn last(&self) -> Option<UnixMs> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at > 0).map(UnixMs)
    }
}

impl Intercept for AwsClock {
    fn name(&self) -> &'static str {
        "AWS's clock"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        if let Some(at) = date.and_then(|date| date.to_millis().ok()) {
            self.0.store(at, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn done(result: Result<(), AwsError>) -> CallResult {
    match result {
        Ok(()) => CallResult::Done,
        Err(AwsError { kind: AwsErrorKind::NoLifecycleAction, .. }) => CallResult::NoAction,
        Err(error) => CallResult::Failed { detail: error.detail },
    }
}

fn read_group(name: &GroupName, group: AutoScalingGroup, at: UnixMs) -> Reading<Group> {
    let mut members = Vec::new();
    for instance in group.instances.unwrap_or_default() {
        let id = instance.instance_id.filter(|id| !id.is_empty());
        let (Some(id), Some(lifecycle)) = (id, instance.lifecycle_state) else {
            return unreadable(format!(
                "DescribeAutoScalingGroups gave an instance of {name} without its id or state"
            ));
        };
        members.push(Member { id: InstanceId::new(id), lifecycle: lifecycle.as_str().into() });
    }
    let triggers = group.instance_lifecycle_policy.and_then(|policy| policy.retention_triggers);
    let on_abandon = triggers.and_then(|triggers| triggers.terminate_hook_abandon);
    Reading::Known(Group {
        name: name.clone(),
        at,
        members,
        retains: on_abandon == Some(RetentionAction::Retain),
        rebalances: group.capacity_rebalance == Some(true),
    })
}

fn read_hook(hook: LifecycleHook) -> Reading<Hook> {
    let seconds = |seconds: Option<i32>| seconds.and_then(|seconds| u32::try_from(seconds).ok());
    match (seconds(hook.heartbeat_timeout), seconds(hook.global_timeout)) {
        (Some(heartbeat_s), Some(global_s)) => Reading::Known(Hook {
            heartbeat_s,
            global_s,
            default_result: hook.default_result.unwrap_or_default(),
            terminating: hook.lifecycle_transition.as_deref() == Some(TERMINATING),
        }),
        timeouts => {
            unreadable(format!("DescribeLifecycleHooks gave the impossible timeouts {timeouts:?}"))
        }
    }
}

/// Takes one activity in. One that names no instance, or no time, tells nothing.
fn note_activity(known: &mut Activities, activity: &Activity) {
    let description = activity.description.as_deref().unwrap_or_default();
    let at = activity.start_time.as_ref().and_then(|at| at.to_millis().ok()).map(UnixMs);
    let of = |begins: &str| {
        let id = description.strip_prefix(begins)?.split_whitespace().next()?;
        Some((InstanceId::new(id), at?))
    };
    if let Some((instance, at)) = of(LAUNCHING) {
        known.launched.entry(instance).or_insert(at);
    } else if let Some((instance, at)) = of(ENDING) {
        known.last_ending = known.last_ending.max(Some(at));
        if activity.end_time.is_none() {
            known.ending.insert(instance, at);
        }
    }
}

fn unreadable<T>(detail: String) -> Reading<T> {
    Reading::Unknown(Unknown { cause: UnknownCause::Unreadable, detail })
}

#[cfg(test)]
mod tests {
    use fleet_protocol::lifecycle::LifecycleState;

    #[test]
    fn the_fleet_knows_every_state_that_the_sdk_knows() {
        let mut known: Vec<&str> =
            LifecycleState::KNOWN.iter().map(LifecycleState::as_str).collect();
        let mut sdk = aws_sdk_autoscaling::types::LifecycleState::values().to_vec();
        known.sort_unstable();
        sdk.sort_unstable();
        assert_eq!(known, sdk);
    }
}
