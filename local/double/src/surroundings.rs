//! What an account has around its groups: alarms and whom they tell, launch templates, and Lambda's
//! quota.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::wire::form::Form;
use crate::wire::xml::Xml;

/// Lambda's own default.
const CONCURRENCY: u64 = 1000;

/// An alarm as CloudWatch lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Name.
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// Why it has this state.
    pub reason: String,
    /// Whether it tells anybody.
    pub actions_enabled: bool,
    /// ARNs of the topics that it tells.
    pub actions: Vec<String>,
}

/// Somebody whom a topic tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subscription {
    protocol: String,
    confirmed: bool,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Each with the moment since which it has its state.
    alarms: BTreeMap<String, (Alarm, Timestamp)>,
    topics: BTreeMap<String, Vec<Subscription>>,
    /// Ids of launch templates that somebody deleted although a group names them.
    deleted_templates: BTreeSet<String>,
    concurrency: u64,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            alarms: BTreeMap::new(),
            topics: BTreeMap::new(),
            deleted_templates: BTreeSet::new(),
            concurrency: CONCURRENCY,
        }
    }
}

impl Surroundings {
    pub(crate) fn put_alarm(&mut self, alarm: Alarm, now: Timestamp) {
        let known = self.alarms.get(&alarm.name);
        let since = known.filter(|(known, _)| known.state == alarm.state).map(|(_, since)| *since);
        self.alarms.insert(alarm.name.clone(), (alarm, since.unwrap_or(now)));
    }

    pub(crate) fn subscribe(&mut self, topic: &str, protocol: &str, confirmed: bool) {
        let subscription = Subscription { protocol: protocol.to_owned(), confirmed };
        self.topics.entry(topic.to_owned()).or_default().push(subscription);
    }

    pub(crate) fn delete_template(&mut self, id: &str) {
        self.deleted_templates.insert(id.to_owned());
    }

    pub(crate) fn has_template(&self, id: &str) -> bool {
        !self.deleted_templates.contains(id)
    }

    pub(crate) fn set_concurrency(&mut self, limit: u64) {
        self.concurrency = limit;
    }

    /// `GetAccountSettings` of Lambda. Nothing is reserved.
    pub(crate) fn account_settings(&self) -> Value {
        json!({ "AccountLimit": {
            "ConcurrentExecutions": self.concurrency,
            "UnreservedConcurrentExecutions": self.concurrency,
        }})
    }

    /// `DescribeAlarms` of CloudWatch: metric alarms by name or by its beginning, one page. "If you
    /// specify this parameter" (`AlarmNames`) "you cannot specify AlarmNamePrefix"; without
    /// `AlarmTypes` there are metric alarms only (CloudWatch's reference).
    pub(crate) fn describe_alarms(&self, form: &mut Form) -> Result<Xml, ApiError> {
        let prefix = form.text("AlarmNamePrefix");
        let names = form.list("AlarmNames");
        let kinds = form.list("AlarmTypes");
        if prefix.is_some() && !names.is_empty() {
            return Err(ApiError::validation("AlarmNames and AlarmNamePrefix exclude each other"));
        }
        let metric = kinds.is_empty() || kinds.iter().any(|kind| kind == "MetricAlarm");
        let is_asked = |(alarm, _): &&(Alarm, Timestamp)| {
            let named = names.is_empty() || names.contains(&alarm.name);
            metric && named && alarm.name.starts_with(prefix.as_deref().unwrap_or_default())
        };
        let most = form.number("MaxRecords")?.unwrap_or(50);
        form.finish()?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let found: Vec<&(Alarm, Timestamp)> = self.alarms.values().filter(is_asked).collect();
        if found.len() > most {
            return Err(ApiError::validation("The double lists alarms on one page only"));
        }
        let mut x = Xml::default();
        x.texts("CompositeAlarms", None::<&str>).members(
            "MetricAlarms",
            found,
            |x, (alarm, since)| {
                x.text("AlarmName", &alarm.name)
                    .text("ActionsEnabled", alarm.actions_enabled)
                    .texts("AlarmActions", &alarm.actions)
                    .text("StateValue", &alarm.state)
                    .text("StateReason", &alarm.reason)
                    .text("StateTransitionedTimestamp", since);
            },
        );
        Ok(x)
    }

    /// `ListSubscriptionsByTopic` of SNS, one page.
    pub(crate) fn list_subscriptions(&self, form: &mut Form) -> Result<Xml, ApiError> {
        let topic = form.required("TopicArn")?;
        form.finish()?;
        let Some(found) = self.topics.get(&topic) else {
            return Err(ApiError::new("NotFound", "Topic does not exist").with_status(404));
        };
        let mut x = Xml::default();
        x.members("Subscriptions", found.iter().enumerate(), |x, (n, subscription)| {
            let arn = if subscription.confirmed {
                format!("{topic}:{n}")
            } else {
                "PendingConfirmation".to_owned()
            };
            x.text("TopicArn", &topic)
                .text("Protocol", &subscription.protocol)
                .text("SubscriptionArn", arn);
        });
        Ok(x)
    }
}
