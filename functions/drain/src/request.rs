//! What woke the function, and which instance it named. Nothing else of an event is used: what it
//! says may be old, doubled or wrong.

use fleet_core::drain::{Hint, HintKind};
use fleet_lambda::{Event, is_schedule};
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::time::UnixMs;
use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    Schedule,
    Lifecycle,
    /// One command on one instance.
    Invocation,
    /// One command on all its instances.
    Command,
    Spot,
    Rebalance,
    /// AWS Health: the machine is to be stopped, retired or ended on a day.
    Retirement,
    /// `autoscaling:TEST_NOTIFICATION`, which a hook sends when it is made.
    Test,
}

/// What the codes of AWS Health's scheduled changes of EC2 have in them that take a machine away,
/// such as `AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED`. A reboot or a network maintenance
/// leaves it.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instances-status-check_sched.html>
const RETIREMENTS: [&str; 4] =
    ["INSTANCE_RETIREMENT", "INSTANCE_STOP", "INSTANCE_TERMINATION", "INSTANCE_TERMINATE"];

/// Instances that one event can name; the next tick sees the rest.
const NAMED: usize = 100;

/// Whose events count.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) group: &'a GroupName,
    pub(crate) document: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Pass {
        trigger: Trigger,
        hints: Vec<Hint>,
        /// What of the event could not be read; the pass does without it.
        problem: Option<String>,
        /// When AWS dated the event.
        event_at: Option<UnixMs>,
    },
    /// About another group or another document: nothing is even looked at.
    Foreign { trigger: Trigger, why: String },
}

/// Reads the event.
///
/// # Errors
/// What came, where it is no event of this function.
pub(crate) fn read(delivered: &Event, scope: &Scope<'_>) -> Result<Request, String> {
    let event = match delivered {
        Event::Bus(event) => event,
        Event::Other { event, .. } if event["Event"] == "autoscaling:TEST_NOTIFICATION" => {
            return Ok(request(Trigger::Test, vec![], None, None));
        }
        Event::Http(_) | Event::Authorize(_) | Event::Other { .. } => {
            return Err(delivered.unexpected());
        }
    };
    let trigger = match (event.source.as_str(), event.detail_type.as_str()) {
        _ if is_schedule(event) => Trigger::Schedule,
        ("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action") => Trigger::Lifecycle,
        ("aws.ssm", "EC2 Command Invocation Status-change Notification") => Trigger::Invocation,
        ("aws.ssm", "EC2 Command Status-change Notification") => Trigger::Command,
        ("aws.ec2", "EC2 Spot Instance Interruption Warning") => Trigger::Spot,
        ("aws.ec2", "EC2 Instance Rebalance Recommendation") => Trigger::Rebalance,
        ("aws.health", "AWS Health Event") => Trigger::Retirement,
        _ => return Err(delivered.unexpected()),
    };
    let event_at = event.time.map(|time| UnixMs(time.timestamp_millis()));
    let detail = |name: &str| event.detail.get(name).and_then(Value::as_str);
    if let Some(why) = foreign(trigger, scope, detail) {
        return Ok(Request::Foreign { trigger, why });
    }
    let kind = match trigger {
        Trigger::Schedule | Trigger::Test => return Ok(request(trigger, vec![], None, event_at)),
        Trigger::Lifecycle | Trigger::Invocation | Trigger::Command => HintKind::Look,
        Trigger::Spot => HintKind::Spot { noticed: event_at },
        Trigger::Rebalance => HintKind::Rebalance,
        Trigger::Retirement => HintKind::Retirement,
    };
    let field = if trigger == Trigger::Lifecycle { "EC2InstanceId" } else { "instance-id" };
    let named: Vec<&str> = match trigger {
        // It has no instance in its detail.
        Trigger::Command => {
            let resources = event.resources.iter().flatten();
            resources
                .filter_map(|arn| arn.as_str().rsplit_once(":instance/"))
                .map(|(_, id)| id)
                .collect()
        }
        Trigger::Retirement => {
            let entities = event.detail.get("affectedEntities").and_then(Value::as_array);
            let entities = entities.into_iter().flatten();
            entities.filter_map(|entity| entity.get("entityValue")?.as_str()).collect()
        }
        _ => detail(field).into_iter().collect(),
    };
    let hints: Vec<Hint> = named
        .into_iter()
        .filter(|id| is_instance_id(id))
        .take(NAMED)
        .map(|id| Hint { instance: InstanceId::new(id), kind })
        .collect();
    let problem = hints.is_empty().then(|| {
        let place = match trigger {
            Trigger::Command => "resources",
            Trigger::Retirement => "affectedEntities",
            _ => field,
        };
        format!("the event names no instance in {place}; the whole group is looked at")
    });
    Ok(request(trigger, hints, problem, event_at))
}

fn request(
    trigger: Trigger,
    hints: Vec<Hint>,
    problem: Option<String>,
    event_at: Option<UnixMs>,
) -> Request {
    Request::Pass { trigger, hints, problem, event_at }
}

fn foreign<'a>(
    trigger: Trigger,
    scope: &Scope<'_>,
    detail: impl Fn(&str) -> Option<&'a str>,
) -> Option<String> {
    match trigger {
        Trigger::Lifecycle => {
            let group = detail("AutoScalingGroupName").filter(|name| *name != scope.group.as_str());
            let other = detail("LifecycleTransition")
                .filter(|transition| *transition != "autoscaling:EC2_INSTANCE_TERMINATING");
            match (group, other) {
                (Some(group), _) => Some(format!("it is about the group {group}")),
                (None, Some(transition)) => Some(format!("it is about {transition}")),
                (None, None) => None,
            }
        }
        Trigger::Invocation | Trigger::Command => detail("document-name")
            .filter(|name| *name != scope.document)
            .map(|name| format!("it is about the document {name}")),
        Trigger::Retirement => {
            let ends = |code: &str| RETIREMENTS.iter().any(|word| code.contains(word));
            let other = (detail("service") != Some("EC2")
                || detail("eventTypeCategory") != Some("scheduledChange")
                || !detail("eventTypeCode").is_some_and(ends))
            .then(|| detail("eventTypeCode").unwrap_or("something else"));
            other.map(|code| format!("it is about {code}, which ends no machine"))
        }
        Trigger::Schedule | Trigger::Spot | Trigger::Rebalance | Trigger::Test => None,
    }
}

/// `i-` and hexadecimal digits, 8 of them in old accounts.
fn is_instance_id(text: &str) -> bool {
    let digits = text.strip_prefix("i-").unwrap_or_default();
    (8..=17).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
