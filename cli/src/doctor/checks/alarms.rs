//! Alarms, whom they tell, and Lambda's quota.

use super::listed;
use crate::cost::ALARMS;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use fleet_clients::checkup::Alarm;
use fleet_protocol::reading::Reading;
use std::collections::BTreeSet;

const AREA: &str = "alarms";
/// Lambda reserves nothing where less than this would be left.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>
const LAMBDA_KEEPS: u64 = 100;

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let check = || Check::new(AREA, "alarms", "DescribeAlarms of ghosthands-ENVIRONMENT-");
    let mut found = match &facts.aws.alarms {
        Reading::Known(alarms) => vec![states(facts, alarms, check()), told(facts, alarms)],
        Reading::Unknown(why) => vec![
            check().not_checked(&why.detail),
            Check::new(AREA, "topic", "AlarmActions").not_checked(&why.detail),
        ],
    };
    found.push(concurrency(facts));
    found
}

fn states(facts: &Facts, alarms: &[Alarm], check: Check) -> Diagnosis {
    let environment = facts.names.environment.as_deref().unwrap_or("ENVIRONMENT");
    let prefix = format!("ghosthands-{environment}-");
    if alarms.is_empty() {
        let finding = format!("there is no alarm whose name begins with {prefix}");
        return check.fault(finding, "scripts/build-functions.sh && sam deploy");
    }
    let firing: Vec<String> = alarms
        .iter()
        .filter(|alarm| alarm.state == "ALARM")
        .map(|alarm| alarm.name.strip_prefix(&prefix).unwrap_or(&alarm.name).to_owned())
        .collect();
    if let Some(first) = firing.first() {
        let finding = format!("in alarm: {}", listed(&firing));
        return check.fault(finding, format!("less docs/runbooks/{first}.md"));
    }
    let off: Vec<&str> =
        alarms.iter().filter(|it| it.actions_off).map(|it| it.name.as_str()).collect();
    if let Some(first) = off.first() {
        let finding = format!("somebody switched off the actions of {}", listed(&off));
        let fix = format!("aws cloudwatch enable-alarm-actions --alarm-names {first}");
        return check.warning(finding, fix);
    }
    let wanted = usize::try_from(ALARMS).unwrap_or(usize::MAX);
    if alarms.len() < wanted {
        let finding = format!("there are {} alarms, and this version has {wanted}", alarms.len());
        return check.warning(finding, "scripts/build-functions.sh && sam deploy");
    }
    check.ok(format!("{} alarms, none of them in alarm", alarms.len()))
}

fn told(facts: &Facts, alarms: &[Alarm]) -> Diagnosis {
    let check = Check::new(AREA, "topic", "AlarmActions, and ListSubscriptionsByTopic");
    if alarms.is_empty() {
        return check.not_checked("there is no alarm");
    }
    let fix = "sam deploy --parameter-overrides AlarmEmail=YOU@EXAMPLE.COM";
    let mute: Vec<&str> =
        alarms.iter().filter(|it| it.tells.is_empty()).map(|it| it.name.as_str()).collect();
    if !mute.is_empty() {
        return check.fault(format!("they tell nobody: {}", listed(&mute)), fix);
    }
    let topics: BTreeSet<&String> = alarms.iter().flat_map(|alarm| &alarm.tells).collect();
    for topic in &topics {
        match facts.aws.subscribers.get(*topic) {
            Some(Reading::Known(subscribers))
                if subscribers.iter().all(|subscriber| subscriber.pending) =>
            {
                let finding = match subscribers.len() {
                    0 => format!("{topic} has no subscriber"),
                    some => format!("{topic} has {some} subscribers, and none has confirmed"),
                };
                let fix = format!(
                    "aws sns subscribe --topic-arn {topic} --protocol email \
                     --notification-endpoint YOU@EXAMPLE.COM"
                );
                return check.fault(finding, fix);
            }
            Some(Reading::Unknown(why)) => return check.unknown(why, fix),
            // Somebody is told; or it is an action of another service.
            Some(Reading::Known(_)) | None => {}
        }
    }
    let topics: Vec<&str> = topics.into_iter().map(String::as_str).collect();
    check.ok(format!("somebody is told by {}", listed(&topics)))
}

fn concurrency(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "concurrency", "GetAccountSettings of Lambda");
    let limit = match &facts.aws.concurrency {
        Reading::Known(limit) => limit,
        Reading::Unknown(why) => return check.not_checked(&why.detail),
    };
    let text = format!("{} invocations at a time, {} unreserved", limit.limit, limit.unreserved);
    if limit.unreserved >= LAMBDA_KEEPS {
        return check.ok(text);
    }
    check.warning(
        format!("{text}: Lambda reserves none for this stack, and others can crowd it out"),
        "aws service-quotas request-service-quota-increase --service-code lambda --quota-code \
         L-B99A9384 --desired-value 1000",
    )
}
