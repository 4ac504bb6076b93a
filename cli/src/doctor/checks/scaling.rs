//! Whether capacity follows the queue, and what keeps it from doing so.

use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::Facts;
use crate::explain::sentence;
use crate::show::{number, span};
use crate::status::overrides;
use serde_json::Value;

const AREA: &str = "scaling";
/// Ticks are at least one a minute; a row may be written at the end of its own.
const TICK_S: i64 = 180;

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    vec![mode(facts), set_by_hand(facts), ticks(facts), capacity(facts)]
}

fn mode(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "mode", "enabled and dry_run of the status");
    let status = match facts.told("") {
        Ok(status) => status,
        Err(why) => return check.not_checked(why),
    };
    if status["enabled"] == false {
        let fix = "sam deploy --parameter-overrides Mode=act";
        return check.fault("AUTOSCALE_ASG_ENABLED is not true: nothing is scaled", fix);
    }
    match status["dry_run"].as_bool() {
        Some(true) => check.warning(
            "Mode is observe: ticks decide and change nothing",
            "sam deploy --parameter-overrides Mode=act",
        ),
        Some(false) => check.ok("ticks decide and act"),
        None => check.not_checked("this control plane does not say whether it only observes"),
    }
}

/// A floor, a pause and tags that nobody can read.
fn set_by_hand(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "set by hand", "tags of the group");
    let status = match facts.told("/capacity") {
        Ok(_) => facts.status().unwrap_or(&Value::Null),
        Err(why) => return check.not_checked(why),
    };
    let lines = overrides(status);
    let problems = status.pointer("/capacity/problems").and_then(Value::as_array);
    if problems.is_some_and(|problems| !problems.is_empty()) {
        return check.warning(lines.join("; "), "ghfleet scale --no-floor --no-pause");
    }
    if status.pointer("/capacity/paused").is_some_and(Value::is_object) {
        return check.warning(lines.join("; "), "ghfleet scale --no-pause");
    }
    check.ok(if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") })
}

fn ticks(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "ticks", "series of the status");
    let status = facts.told("").ok();
    let acts = |status: &&Value| status["enabled"] == true && status["dry_run"] == false;
    let Some(status) = status.filter(acts) else {
        return check.not_checked("only ticks that act leave a trace");
    };
    let unavailable = status["unavailable"].as_array().into_iter().flatten();
    let never = |source: &Value| source["source"] == "memory" && source["cause"] == "missing";
    let newest = match facts.told("/series/at") {
        Ok(at) => at.as_array().and_then(|at| at.last()).and_then(Value::as_i64),
        Err(_) if unavailable.into_iter().any(never) => None,
        Err(why) => return check.not_checked(why),
    };
    let at = status["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let fix = "less docs/runbooks/autoscale-silent.md";
    match newest.zip(at) {
        None => check.fault("no tick is remembered", fix),
        Some((newest, at)) => {
            let age = at.as_second() - newest;
            let ago = span(u64::try_from(age).unwrap_or(0));
            if age > TICK_S {
                check.fault(format!("the last tick was {ago} ago"), fix)
            } else {
                check.ok(format!("the last one was {ago} ago"))
            }
        }
    }
}

/// The last decision, and the room above it.
fn capacity(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "capacity", "capacity, queue and decisions of the status");
    let capacity = match facts.told("/capacity") {
        Ok(capacity) => capacity,
        Err(why) => return check.not_checked(why),
    };
    let of = |name: &str| capacity[name].as_u64();
    let decision = facts.told("/decisions/0").ok();
    if let Some(decision) = decision.filter(|decision| decision["failed"] == true) {
        let finding = format!("AWS did not carry out: {}", sentence(decision));
        return check.fault(finding, "less docs/runbooks/autoscale-refused.md");
    }
    if of("max").is_none() {
        return check.fault(
            "the settings and the group's own bounds have no number in common",
            "ghfleet scale",
        );
    }
    let ready = facts.told("/queue/ready").ok().and_then(Value::as_u64).unwrap_or(0);
    let text = format!(
        "{} desired, {} in service, at most {}",
        number(capacity, "/desired"),
        number(capacity, "/in_service"),
        number(capacity, "/max")
    );
    if ready > 0 && of("desired") >= of("max") {
        let finding = format!("{text}: {ready} jobs are ready, and there may be no more workers");
        return check.warning(finding, "sam deploy --parameter-overrides Max=N");
    }
    check.ok(text)
}
