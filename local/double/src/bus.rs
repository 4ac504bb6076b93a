//! EventBridge: schedules, events of the groups, and their asynchronous delivery to functions.
//!
//! Pure like the groups: it is told the time and hands out the deliveries that are due.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::asg::{Activity, Direction, HookAction, Transition, TransitionKind};
use crate::commands::{Command, Notice};
use crate::disturb::{Disturbances, HELD_AT_MOST};
use crate::ids::Ids;
use crate::lambda::FunctionError;
use crate::pattern::{Pattern, PatternError};

/// How long Lambda keeps trying a throttled asynchronous invocation.
const MAX_AGE: Duration = Duration::from_secs(6 * 3600);

/// A refused schedule or rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The expression cannot be read.
    #[error(
        "schedule '{0}' must be rate(value unit): a positive whole number and second(s), minute(s), hour(s) or day(s), singular for 1"
    )]
    Expression(String),
    /// The event pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The function is not known.
    #[error("function '{0}' is not known: add it first")]
    Function(String),
}

#[derive(Debug)]
struct Schedule {
    name: String,
    every: Duration,
    next: Timestamp,
    function: String,
    /// What the function gets in place of the scheduled event.
    input: Option<Value>,
}

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    function: String,
}

/// One asynchronous invocation that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    due: Timestamp,
    seq: u64,
    first: Timestamp,
    /// Throttled attempts and failed ones have budgets of their own.
    throttled: u32,
    failed: u32,
    /// It waits for the next event of this type, to come after it.
    held: Option<String>,
    pub(crate) function: String,
    pub(crate) payload: Vec<u8>,
}

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivered {
    Done,
    Throttled,
    Failed { retries: u32, error: FunctionError },
}

#[derive(Debug)]
pub(crate) struct Bus {
    region: String,
    account: String,
    ids: Ids,
    seq: u64,
    schedules: Vec<Schedule>,
    rules: Vec<Rule>,
    queue: Vec<Delivery>,
    events: Vec<Value>,
    /// What was given up, as Lambda tells an on-failure destination.
    given_up: Vec<Value>,
    pub(crate) disturbances: Disturbances,
    running: usize,
}

impl Bus {
    pub(crate) fn new(region: &str, account: &str, seed: u64) -> Self {
        Self {
            region: region.to_owned(),
            account: account.to_owned(),
            ids: Ids::new(seed, 2),
            seq: 0,
            schedules: Vec::new(),
            rules: Vec::new(),
            queue: Vec::new(),
            events: Vec::new(),
            given_up: Vec::new(),
            disturbances: Disturbances::new(seed),
            running: 0,
        }
    }

    /// Adds or replaces a schedule; it fires first one interval from now.
    pub(crate) fn schedule(
        &mut self,
        name: &str,
        expression: &str,
        function: &str,
        input: Option<Value>,
        now: Timestamp,
    ) -> Result<(), ScheduleError> {
        let every = parse_rate(expression)
            .ok_or_else(|| ScheduleError::Expression(expression.to_owned()))?;
        self.schedules.retain(|s| s.name != name);
        self.schedules.push(Schedule {
            name: name.to_owned(),
            every,
            next: now + every,
            function: function.to_owned(),
            input,
        });
        Ok(())
    }

    /// Sends events that match a pattern to a function.
    pub(crate) fn add_rule(&mut self, pattern: Pattern, function: &str) {
        self.rules.push(Rule { pattern, function: function.to_owned() });
    }

    /// Every event so far, oldest first.
    pub(crate) fn events(&self) -> &[Value] {
        &self.events
    }

    /// The asynchronous invocations that were given up, oldest first.
    pub(crate) fn given_up(&self) -> &[Value] {
        &self.given_up
    }

    /// The next instant at which a schedule fires or a delivery is due.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let schedules = self.schedules.iter().map(|s| s.next);
        schedules.chain(self.queue.iter().map(|d| d.due)).min()
    }

    /// True when nothing is due at `now` and nothing is being delivered.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        self.running == 0 && self.next_deadline().is_none_or(|at| at > now)
    }

    /// Fires the schedules and takes the deliveries that are due; each must be reported to
    /// [`Bus::settle`].
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<Delivery> {
        let mut fired = Vec::new();
        for schedule in self.schedules.iter_mut().filter(|s| s.next <= now) {
            let input = schedule.input.clone();
            fired.push((schedule.name.clone(), schedule.function.clone(), input, schedule.next));
            // A clock that jumped over several intervals fires once, as EventBridge does.
            while schedule.next <= now {
                schedule.next += schedule.every;
            }
        }
        for (name, function, input, at) in fired {
            let rule = format!("arn:aws:events:{}:{}:rule/{name}", self.region, self.account);
            let event = self.envelope("aws.events", "Scheduled Event", at, &[rule], json!({}));
            let event = input.unwrap_or(event);
            self.disturbed(&function, "Scheduled Event", event.to_string().into_bytes(), now);
        }
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(|d| d.due <= now);
        self.queue = later;
        due.sort_by_key(|d| (d.due, d.seq));
        self.running += due.len();
        due
    }

    /// Reports how a delivery went; throttled and failed ones are tried again as Lambda does.
    pub(crate) fn settle(&mut self, mut delivery: Delivery, how: Delivered, now: Timestamp) {
        self.running = self.running.saturating_sub(1);
        let (wait, error) = match how {
            Delivered::Done => return,
            Delivered::Throttled => {
                delivery.throttled += 1;
                // 1 s doubling to 5 minutes.
                let wait = 1_u64.checked_shl(delivery.throttled - 1).unwrap_or(u64::MAX).min(300);
                (wait, None)
            }
            Delivered::Failed { retries, error } if delivery.failed < retries => {
                delivery.failed += 1;
                (60 * u64::from(delivery.failed), Some(error))
            }
            Delivered::Failed { error, .. } => {
                delivery.failed += 1;
                return self.give_up(&delivery, "RetriesExhausted", Some(error), now);
            }
        };
        delivery.due = now + Duration::from_secs(wait);
        if delivery.due <= delivery.first + MAX_AGE {
            self.queue.push(delivery);
        } else {
            self.give_up(&delivery, "EventAgeExceeded", error, now);
        }
    }

    /// Records what Lambda sends to the function's on-failure destination.
    fn give_up(
        &mut self,
        delivery: &Delivery,
        condition: &str,
        error: Option<FunctionError>,
        now: Timestamp,
    ) {
        let arn = format!(
            "arn:aws:lambda:{}:{}:function:{}:$LATEST",
            self.region, self.account, delivery.function
        );
        let payload = serde_json::from_slice(&delivery.payload).unwrap_or(Value::Null);
        let mut record = json!({
            "version": "1.0",
            "timestamp": format!("{now:.3}"),
            "requestContext": {
                "requestId": self.ids.uuid(),
                "functionArn": arn,
                "condition": condition,
                "approximateInvokeCount": delivery.failed,
            },
            "requestPayload": payload,
        });
        if let Some(error) = error {
            record["responseContext"] = json!({
                "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
            });
            record["responsePayload"] = json!(error);
        }
        self.given_up.push(record);
    }

    /// Turns a transition into events and sends them to whoever asked.
    pub(crate) fn publish(&mut self, transition: &Transition, now: Timestamp) {
        for (detail_type, detail) in details(transition, &mut self.ids) {
            let resources = [transition.group_arn.clone()];
            self.emit("aws.autoscaling", detail_type, transition.at, &resources, detail, now);
        }
    }

    /// Turns a change of a command's status into its event.
    pub(crate) fn publish_command(&mut self, notice: &Notice, command: &Command, now: Timestamp) {
        let arn = |id: &str| format!("arn:aws:ec2:{}:{}:instance/{id}", self.region, self.account);
        let mut detail = json!({
            "command-id": command.id,
            "document-name": command.document,
            "requested-date-time": format!("{:.3}", command.requested),
            "status": notice.status,
        });
        let (detail_type, resources) = if let Some(instance) = &notice.instance {
            detail["instance-id"] = json!(instance);
            ("EC2 Command Invocation Status-change Notification", vec![arn(instance)])
        } else {
            detail["expire-after"] = json!(format!("{:.3}", command.expires));
            detail["parameters"] = json!(command.effective);
            let all = command.invocations.iter().map(|v| arn(&v.instance)).collect();
            ("EC2 Command Status-change Notification", all)
        };
        self.emit("aws.ssm", detail_type, notice.at, &resources, detail, now);
    }

    /// An event of EC2 about one instance, which its ARN names by zone, without region and account.
    pub(crate) fn publish_ec2(
        &mut self,
        detail_type: &str,
        zone: &str,
        instance: &str,
        mut detail: Value,
        now: Timestamp,
    ) {
        detail["instance-id"] = json!(instance);
        let arn = format!("arn:aws:ec2:{zone}:instance/{instance}");
        self.emit("aws.ec2", detail_type, now, &[arn], detail, now);
    }

    /// Records an event and sends it to whoever asked, as well as the disturbances allow.
    fn emit(
        &mut self,
        source: &str,
        detail_type: &str,
        at: Timestamp,
        resources: &[String],
        detail: Value,
        now: Timestamp,
    ) {
        let event = self.envelope(source, detail_type, at, resources, detail);
        let payload = event.to_string().into_bytes();
        let targets: Vec<String> = self
            .rules
            .iter()
            .filter(|rule| rule.pattern.matches(&event))
            .map(|rule| rule.function.clone())
            .collect();
        for function in targets {
            self.disturbed(&function, detail_type, payload.clone(), now);
        }
    }

    /// Queues the deliveries that one event to one function becomes.
    fn disturbed(&mut self, function: &str, detail_type: &str, payload: Vec<u8>, now: Timestamp) {
        for fate in self.disturbances.fates(detail_type) {
            let mut new = self.delivery(function, payload.clone(), now);
            new.due = now + fate.delay;
            if fate.held {
                new.due += HELD_AT_MOST;
                new.held = Some(detail_type.to_owned());
            } else {
                for held in self.queue.iter_mut().filter(|d| d.held.as_deref() == Some(detail_type))
                {
                    self.seq += 1;
                    (held.due, held.seq, held.held) = (new.due, self.seq, None);
                }
            }
            self.queue.push(new);
        }
    }

    /// Queues one asynchronous invocation, once and at once.
    pub(crate) fn enqueue(&mut self, function: &str, payload: Vec<u8>, now: Timestamp) {
        let new = self.delivery(function, payload, now);
        self.queue.push(new);
    }

    fn delivery(&mut self, function: &str, payload: Vec<u8>, now: Timestamp) -> Delivery {
        self.seq += 1;
        Delivery {
            due: now,
            seq: self.seq,
            first: now,
            throttled: 0,
            failed: 0,
            held: None,
            function: function.to_owned(),
            payload,
        }
    }

    fn envelope(
        &mut self,
        source: &str,
        detail_type: &str,
        at: Timestamp,
        resources: &[String],
        detail: Value,
    ) -> Value {
        let event = json!({
            "version": "0",
            "id": self.ids.uuid(),
            "detail-type": detail_type,
            "source": source,
            "account": self.account,
            "time": format!("{at:.0}"),
            "region": self.region,
            "resources": resources,
            "detail": detail,
        });
        self.events.push(event.clone());
        event
    }
}

/// `rate(5 minutes)`; seconds are the double's own addition.
fn parse_rate(expression: &str) -> Option<Duration> {
    let inside = expression.strip_prefix("rate(")?.strip_suffix(')')?;
    let (value, unit) = inside.split_once(' ')?;
    let value: u64 = value.parse().ok().filter(|n| (1..=31_536_000).contains(n))?;
    let singular = if value == 1 { unit } else { unit.strip_suffix('s')? };
    let seconds = match singular {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(value.checked_mul(seconds)?))
}

/// The EventBridge events of a transition: type and detail.
fn details(transition: &Transition, ids: &mut Ids) -> Vec<(&'static str, Value)> {
    match transition.kind {
        TransitionKind::PendingWait | TransitionKind::TerminatingWait => {
            transition.actions.iter().map(|action| lifecycle_action(transition, action)).collect()
        }
        TransitionKind::InService => transition
            .activity
            .iter()
            .map(|activity| {
                let detail = successful(transition, activity, ids, "EC2", "AutoScalingGroup");
                ("EC2 Instance Launch Successful", detail)
            })
            .collect(),
        TransitionKind::Terminated => transition
            .activity
            .iter()
            .map(|activity| {
                let detail = successful(transition, activity, ids, "AutoScalingGroup", "EC2");
                ("EC2 Instance Terminate Successful", detail)
            })
            .collect(),
        TransitionKind::Launching | TransitionKind::ShuttingDown | TransitionKind::Lost => {
            Vec::new()
        }
    }
}

fn lifecycle_action(transition: &Transition, action: &HookAction) -> (&'static str, Value) {
    let (detail_type, origin, destination) = match action.hook.direction {
        Direction::Launching => ("EC2 Instance-launch Lifecycle Action", "EC2", "AutoScalingGroup"),
        Direction::Terminating => {
            ("EC2 Instance-terminate Lifecycle Action", "AutoScalingGroup", "EC2")
        }
    };
    let mut detail = json!({
        "LifecycleActionToken": action.token,
        "AutoScalingGroupName": transition.group,
        "LifecycleHookName": action.hook.name,
        "EC2InstanceId": transition.instance,
        "LifecycleTransition": action.hook.direction.as_str(),
        "Origin": origin,
        "Destination": destination,
    });
    // Absent when unset, not null.
    if let Some(metadata) = &action.hook.metadata {
        detail["NotificationMetadata"] = json!(metadata);
    }
    (detail_type, detail)
}

fn successful(
    transition: &Transition,
    activity: &Activity,
    ids: &mut Ids,
    origin: &str,
    destination: &str,
) -> Value {
    json!({
        "StatusCode": "InProgress",
        "StatusMessage": "",
        "Description": activity.description,
        "AutoScalingGroupName": transition.group,
        "ActivityId": activity.id,
        "RequestId": ids.uuid(),
        "EC2InstanceId": transition.instance,
        "Details": { "Availability Zone": activity.zone },
        "StartTime": format!("{:.3}", activity.start),
        "EndTime": activity.end.map(|end| format!("{end:.3}")),
        "Cause": activity.cause,
        "Origin": origin,
        "Destination": destination,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use serde_json::Value;

    use super::{Bus, Delivered, parse_rate};
    use crate::disturb::Disturbance;
    use crate::lambda::FunctionError;
    use crate::pattern::Pattern;

    fn failed() -> Delivered {
        let error = FunctionError { error_type: "Bad".to_owned(), message: "no".to_owned() };
        Delivered::Failed { retries: 2, error }
    }

    #[test]
    fn rates_follow_the_grammar() {
        assert_eq!(parse_rate("rate(1 minute)"), Some(Duration::from_secs(60)));
        assert_eq!(parse_rate("rate(10 seconds)"), Some(Duration::from_secs(10)));
        for bad in [
            "rate(1 minutes)",
            "rate(5 minute)",
            "rate(0 minutes)",
            "cron(* * * * ? *)",
            "rate(-1 days)",
        ] {
            assert_eq!(parse_rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_schedule_fires_once_per_interval_and_once_after_a_jump() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut bus = Bus::new("us-east-1", "000000000000", 1);
        bus.schedule("tick", "rate(1 minute)", "f", None, start).expect("a rate");
        assert!(bus.take_due(at(59)).is_empty());
        let due = bus.take_due(at(60));
        assert_eq!(due.len(), 1);
        assert!(!bus.is_idle(at(60)), "the delivery is running");
        bus.settle(due[0].clone(), Delivered::Done, at(61));
        assert!(bus.is_idle(at(61)));
        assert_eq!(bus.take_due(at(400)).len(), 1);
        assert_eq!(bus.next_deadline(), Some(at(420)));
    }

    #[test]
    fn failures_come_back_after_one_and_two_minutes_and_throttles_sooner() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut bus = Bus::new("us-east-1", "000000000000", 1);
        bus.enqueue("f", b"{}".to_vec(), now);
        let first = bus.take_due(now).remove(0);
        bus.settle(first, Delivered::Throttled, now);
        assert_eq!(bus.next_deadline(), Some(at(1)));
        let second = bus.take_due(at(1)).remove(0);
        bus.settle(second, failed(), at(1));
        assert_eq!(bus.next_deadline(), Some(at(61)));
        let third = bus.take_due(at(61)).remove(0);
        bus.settle(third, failed(), at(61));
        assert_eq!(bus.next_deadline(), Some(at(181)));
        let last = bus.take_due(at(181)).remove(0);
        assert!(bus.given_up().is_empty());
        bus.settle(last, failed(), at(181));
        assert!(bus.is_idle(at(10_000)));
        let record = &bus.given_up()[0];
        assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
        assert_eq!(record["requestPayload"], serde_json::json!({}));
        assert_eq!(record["responsePayload"]["errorType"], "Bad");
    }

    #[test]
    fn a_throttled_event_is_given_up_when_it_is_six_hours_old() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut bus = Bus::new("us-east-1", "000000000000", 1);
        bus.enqueue("f", b"{}".to_vec(), now);
        while let Some(at) = bus.next_deadline() {
            let delivery = bus.take_due(at).remove(0);
            bus.settle(delivery, Delivered::Throttled, at);
        }
        let record = &bus.given_up()[0];
        assert_eq!(record["requestContext"]["condition"], "EventAgeExceeded");
        assert!(record.get("responsePayload").is_none());
    }

    #[test]
    fn a_held_event_comes_after_the_next_of_its_kind_or_a_minute_later() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let at = |seconds| now + Duration::from_secs(seconds);
        let send = |bus: &mut Bus, id: &str, when| {
            bus.publish_ec2("kind", "us-east-1a", id, serde_json::json!({}), when);
        };
        let ids = |bus: &mut Bus, when| -> Vec<String> {
            let due = bus.take_due(when);
            let event = |d: &super::Delivery| serde_json::from_slice::<Value>(&d.payload);
            let id = |d| event(d).map(|e| e["detail"]["instance-id"].to_string());
            due.iter().map(id).collect::<Result<_, _>>().expect("events")
        };
        let mut bus = Bus::new("us-east-1", "000000000000", 1);
        let pattern = serde_json::json!({ "source": ["aws.ec2"], "detail-type": ["kind"] });
        bus.add_rule(Pattern::read(&pattern).expect("legal"), "f");
        let reorder = Disturbance { reorder: 1.0, ..Disturbance::default() };
        bus.disturbances.set("kind", reorder).expect("legal");
        send(&mut bus, "i-1", now);
        bus.disturbances.clear();
        assert!(ids(&mut bus, at(59)).is_empty());
        send(&mut bus, "i-2", at(59));
        assert_eq!(ids(&mut bus, at(59)), ["\"i-2\"", "\"i-1\""]);
        bus.disturbances.set("kind", reorder).expect("legal");
        send(&mut bus, "i-3", at(100));
        assert!(ids(&mut bus, at(159)).is_empty());
        assert_eq!(ids(&mut bus, at(160)), ["\"i-3\""]);
    }
}
