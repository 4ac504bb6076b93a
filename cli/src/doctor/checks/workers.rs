//! Workers as the registry has them: who is missing, who is silent, who keeps the contract.

use super::listed;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::{Facts, Machine};
use fleet_protocol::lifecycle::LifecycleState;
use fleet_protocol::reading::Reading;
use serde_json::Value;

const AREA: &str = "workers";

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let mut found = registered(facts);
    found.push(contract(facts));
    found
}

/// Registration, heartbeats and intake of the workers on the group's instances.
fn registered(facts: &Facts) -> Vec<Diagnosis> {
    const NAMES: [&str; 3] = ["registration", "heartbeats", "intake"];
    let check = |name| Check::new(AREA, name, "workers and instances of the status");
    let unseen = |why: &str| NAMES.map(|name| check(name).not_checked(why)).to_vec();
    let workers = match facts.told("/workers") {
        Ok(workers) => workers.as_array().map(Vec::as_slice).unwrap_or_default(),
        Err(why) => return unseen(&why),
    };
    let machines = match facts.machines() {
        Ok(machines) => machines,
        Err(why) => return unseen(&why),
    };
    let in_service: Vec<&Machine> =
        machines.iter().filter(|it| it.lifecycle == LifecycleState::InService).collect();
    let of = |machine: &Machine| workers.iter().find(|worker| worker["instance_id"] == machine.id);
    let omitted = facts.status().is_some_and(|it| it["workers_omitted"].as_u64().unwrap_or(0) > 0);

    let absent: Vec<&str> = in_service
        .iter()
        .filter(|machine| !omitted && of(machine).is_none() && !facts.boots(&machine.id))
        .map(|machine| machine.id.as_str())
        .collect();
    let registration = if let Some(first) = absent.first() {
        check("registration").fault(
            format!("no worker has registered from {}", listed(&absent)),
            format!("ghfleet shell {first} --run   # then: deploy-server status"),
        )
    } else {
        check("registration").ok(format!(
            "a worker on each of {} instances in service, but for those that boot",
            in_service.len()
        ))
    };
    let with = |state: &str| -> Vec<&str> {
        let is = |machine: &&&Machine| of(machine).is_some_and(|worker| worker["state"] == state);
        in_service.iter().filter(is).map(|machine| machine.id.as_str()).collect()
    };
    let silent = with("silent");
    let heartbeats = if let Some(first) = silent.first() {
        check("heartbeats").fault(
            format!("silent for more than 90 s: the workers of {}", ages(&silent, workers)),
            format!("ghfleet shell {first} --run   # then: docker logs ghosthands-worker-1"),
        )
    } else {
        let ages = in_service.iter().filter_map(|machine| age_s(facts, of(machine)?));
        check("heartbeats").ok(match ages.max() {
            Some(oldest) => format!("the oldest on an instance in service is of {oldest} s ago"),
            None => "there is none on an instance in service".to_owned(),
        })
    };
    let closed: Vec<&str> = ["draining", "offline", "unknown"].into_iter().flat_map(with).collect();
    let intake = if let Some(first) = closed.first() {
        check("intake").warning(
            format!("they take no jobs although their instances stay: {}", listed(&closed)),
            format!("ghfleet shell {first} --run   # then: sudo deploy-server resume"),
        )
    } else {
        check("intake").ok("none on an instance in service is closed")
    };
    vec![registration, heartbeats, intake]
}

/// How long ago a worker reported when the status was made.
fn age_s(facts: &Facts, worker: &Value) -> Option<i64> {
    let moment = |text: &Value| text.as_str()?.parse::<jiff::Timestamp>().ok();
    let at = moment(facts.told("/at").ok()?)?;
    Some((at.as_second() - moment(&worker["heartbeat_at"])?.as_second()).max(0))
}

/// The instances with the last heartbeat of each.
fn ages(instances: &[&str], workers: &[Value]) -> String {
    let last = |id: &&str| {
        let worker = workers.iter().find(|worker| worker["instance_id"] == *id);
        let at = worker.and_then(|worker| worker["heartbeat_at"].as_str()).unwrap_or("unknown");
        format!("{id} (last heartbeat {at})")
    };
    listed(&instances.iter().map(last).collect::<Vec<_>>())
}

/// docs/WORKER-CONTRACT.md: what a worker writes into the registry.
fn contract(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "contract", "metadata of gh_worker_registry");
    let view = match (&facts.database.probe, &facts.database.view) {
        (Err(failure), _) => return check.not_checked(&failure.why.detail),
        (_, Reading::Unknown(why)) => return check.not_checked(&why.detail),
        (_, Reading::Known(view)) => view,
    };
    let Reading::Known(rows) = &view.snapshot.workers else {
        return check.not_checked("the registry could not be read");
    };
    let machines = facts.machines().unwrap_or_default();
    let ours = rows.iter().filter(|row| {
        let instance = row.instance.as_ref().map(|it| it.as_str());
        machines.iter().any(|machine| Some(machine.id.as_str()) == instance)
    });
    let old: Vec<&str> =
        ours.filter(|row| row.accepting.is_none()).map(|row| row.worker.as_str()).collect();
    if old.is_empty() {
        return check.ok("every worker of the group says whether it takes jobs");
    }
    let finding = format!(
        "they do not say whether they take jobs, so that is taken from their status: {}",
        listed(&old)
    );
    check.warning(finding, "less docs/WORKER-CONTRACT.md")
}
