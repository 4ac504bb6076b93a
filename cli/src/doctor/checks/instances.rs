//! What becomes of instances: launches, waits, health.

use super::listed;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::{Facts, Machine};
use crate::show::span;
use fleet_clients::checkup::CheckedGroup;
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;

const AREA: &str = "instances";
/// A drain that has nothing to wait for is over well within two of its commands.
const STUCK_S: i64 = 600;
/// A failed launch is news for so long, although the group has got its instances since.
const NEWS_S: i64 = 3_600;

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let mut found = vec![launches(facts)];
    match facts.machines() {
        Ok(machines) => {
            found.extend(waits(facts, &machines));
            found.push(health(&machines));
        }
        Err(why) => {
            let unseen = |name| Check::new(AREA, name, "instances of the group").not_checked(&why);
            found.extend([unseen("waits"), unseen("health")]);
        }
    }
    found
}

/// AWS's own words, where an instance does not start.
fn launches(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "launches", "DescribeScalingActivities");
    let activities = match &facts.aws.activities {
        Reading::Known(activities) => activities,
        Reading::Unknown(why) => return check.not_checked(&why.detail),
    };
    let mut launches =
        activities.iter().filter(|activity| activity.description.starts_with("Launching"));
    let Some(newest) = launches.next() else {
        return check.ok("no launch is among the newest activities");
    };
    let age = facts.aws_now().since(newest.started) / 1000;
    let group = facts.names.group.as_deref().unwrap_or("GROUP");
    let fix = format!(
        "aws autoscaling describe-scaling-activities --auto-scaling-group-name {group} --max-items 5"
    );
    let failed = ["Failed", "Cancelled"].contains(&newest.status.as_str());
    let said = if newest.message.is_empty() { "AWS gave no reason" } else { &newest.message };
    let finding = format!("the last launch {}: {said}", newest.status.to_lowercase());
    let lacks = match &facts.aws.group {
        Reading::Known(CheckedGroup { group, .. }) => group.has_missing_instances(),
        Reading::Unknown(_) => true,
    };
    match failed {
        true if lacks => check.fault(finding, fix),
        true if age < NEWS_S => check.warning(finding, fix),
        _ => check.ok(format!("the last one, {} ago, is {}", ago(age), newest.status)),
    }
}

fn ago(seconds: i64) -> String {
    span(u64::try_from(seconds).unwrap_or(0))
}

fn waits(facts: &Facts, machines: &[Machine]) -> Vec<Diagnosis> {
    let check = || Check::new(AREA, "waits", "lifecycle states, and activities for their age");
    let mut found: Vec<Diagnosis> =
        machines.iter().filter_map(|machine| waiting(facts, machine, check())).collect();
    if found.is_empty() {
        let leaving = machines.iter().filter(|it| it.lifecycle == LifecycleState::TerminatingWait);
        found.push(match leaving.count() {
            0 => check().ok("no instance waits for a hook"),
            some => check().ok(format!("{some} wait for their drain, none for too long")),
        });
    }
    found
}

fn waiting(facts: &Facts, machine: &Machine, check: Check) -> Option<Diagnosis> {
    let id = &machine.id;
    match machine.lifecycle {
        LifecycleState::TerminatingRetained => {
            let finding = format!("{id} was kept when its hook ran out: nobody drained it in time");
            Some(check.fault(finding, "less docs/runbooks/drain-retained.md"))
        }
        LifecycleState::TerminatingWait => {
            let age = facts.age_s("Terminating", id);
            if age.is_some_and(|age| age < STUCK_S) {
                return None;
            }
            // Whoever is not among the activities that were read is older than all of them.
            if age.is_none() && facts.aws.activities.known().is_none() {
                return Some(
                    check
                        .not_checked(format!("{id} is in Terminating:Wait, since when is unknown")),
                );
            }
            let age = age.map_or_else(|| "longer than AWS tells".to_owned(), ago);
            let (group, hook) =
                (facts.names.group.as_deref().unwrap_or("GROUP"), &facts.names.hook);
            let job = job_on(facts, id);
            let finding = format!("{id} has been in Terminating:Wait for {age}, {}", job.1);
            Some(match job.0 {
                // It waits for what it is to wait for.
                Some(true) => check.warning(finding, format!("ghfleet machine {id}")),
                Some(false) => check.fault(
                    finding,
                    format!(
                        "aws autoscaling complete-lifecycle-action --lifecycle-action-result \
                         CONTINUE --lifecycle-hook-name {hook} --auto-scaling-group-name {group} \
                         --instance-id {id}"
                    ),
                ),
                None => check.fault(finding, "less docs/runbooks/drain-stuck.md"),
            })
        }
        LifecycleState::PendingWait => {
            let age = facts.age_s("Launching", id).filter(|age| *age >= STUCK_S)?;
            let finding = format!("{id} has been in Pending:Wait for {}", ago(age));
            Some(check.warning(finding, format!("ghfleet shell {id} --run")))
        }
        _ => None,
    }
}

/// Whether a job runs on it, where that is certain, and in words.
fn job_on(facts: &Facts, id: &str) -> (Option<bool>, &'static str) {
    let Some(status) = facts.status().filter(|status| status["workers"].is_array()) else {
        return (None, "and whether a job runs on it is unknown");
    };
    let workers = status["workers"].as_array().into_iter().flatten();
    let worker = workers.into_iter().find(|worker| worker["instance_id"] == id);
    match worker.and_then(|worker| worker["state"].as_str()) {
        Some("busy") => (Some(true), "with a job"),
        Some("idle" | "offline") => (Some(false), "and its worker has no job"),
        Some("draining") if worker.is_some_and(|worker| worker["job_id"].is_null()) => {
            (Some(false), "and its worker has no job")
        }
        Some("draining") => (Some(true), "with a job"),
        Some(_) => (None, "and its worker is silent: whether a job runs on it is unknown"),
        None => (None, "and no worker reports from it: whether a job runs on it is unknown"),
    }
}

fn health(machines: &[Machine]) -> Diagnosis {
    let check = Check::new(AREA, "health", "HealthStatus of the instances");
    let ill: Vec<&str> =
        machines.iter().filter(|it| !it.healthy).map(|it| it.id.as_str()).collect();
    if ill.is_empty() {
        return check.ok(format!("{} of {} are healthy", machines.len(), machines.len()));
    }
    let fix = format!("ghfleet machine {}", ill[0]);
    check.warning(format!("unhealthy, and about to be replaced: {}", listed(&ill)), fix)
}
