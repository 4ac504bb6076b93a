//! Whether we may ask at all: the API, AWS, and what the control plane itself cannot read.

use super::listed;
use crate::doctor::diagnosis::{Check, Diagnosis};
use crate::doctor::facts::{Caller, Facts};
use crate::show::word;
use crate::status::PATH;
use fleet_protocol::exit_code::ExitCode as Code;
use serde_json::Value;

const AREA: &str = "access";
/// The parts of a status that the first control plane did not tell.
const PARTS: [&str; 7] =
    ["queue", "capacity", "instances", "workers", "versions", "decisions", "cost"];

pub(super) fn findings(facts: &Facts) -> Vec<Diagnosis> {
    let mut found = vec![api(facts), credentials(facts)];
    found.extend(sources(facts));
    found
}

fn api(facts: &Facts) -> Diagnosis {
    let check = Check::new(AREA, "API", format!("GET {PATH}"));
    let status = match &facts.api {
        Ok(status) => status,
        Err(failure) if failure.code == Code::Unavailable => {
            return check.not_checked(&failure.message);
        }
        Err(failure) => {
            let fix = "ghfleet status   # with a token that FLEET_TOKENS of the fleet's secret has";
            return check.fault(&failure.message, fix);
        }
    };
    let absent: Vec<&str> = PARTS.into_iter().filter(|part| status.get(part).is_none()).collect();
    let group = word(status, "/asgName").unwrap_or_default();
    if absent.is_empty() {
        return check.ok(format!("the control plane of group {group} answers"));
    }
    let finding = format!(
        "the control plane of group {group} is older than this ghfleet and does not tell {}",
        absent.join(", ")
    );
    check.warning(finding, "scripts/build-functions.sh && sam deploy")
}

fn credentials(facts: &Facts) -> Diagnosis {
    let region = facts.aws.region.as_deref().unwrap_or("no region");
    let check = Check::new(AREA, "AWS credentials", format!("sts GetCallerIdentity in {region}"));
    match &facts.aws.caller {
        Caller::Known(identity) => check.ok(format!("{} in {region}", identity.arn)),
        Caller::Absent(why) | Caller::Unknown(why) => check.not_checked(why),
        Caller::Refused(why) => check.fault(why, "aws sso login && aws sts get-caller-identity"),
    }
}

/// What the control plane cannot read is a fault of its own, whatever we can read from here.
fn sources(facts: &Facts) -> Vec<Diagnosis> {
    let check = || Check::new(AREA, "control plane", "unavailable of the status");
    let Some(status) = facts.status() else {
        return vec![check().not_checked("the API told no status")];
    };
    let Some(sources) = status["unavailable"].as_array() else {
        return vec![check().not_checked("this control plane does not say what it cannot read")];
    };
    // A memory that was never written is what `scaling/ticks` is about.
    let down = |source: &&Value| source["source"] != "memory" || source["cause"] != "missing";
    let down: Vec<&Value> = sources.iter().filter(down).collect();
    let text = |source: &Value, at: &str| word(source, at).unwrap_or_else(|| "unknown".to_owned());
    let names: Vec<String> = down.iter().map(|source| text(source, "/source")).collect();
    let lines: Vec<String> = down.iter().map(|source| text(source, "/reason")).collect();
    if down.is_empty() {
        return vec![check().ok("it reads all its sources")];
    }
    let fix = match names[0].as_str() {
        "queue" | "workers" | "active_jobs" => "less docs/runbooks/autoscale-blind.md",
        _ => "ghfleet explain --now",
    };
    let finding = format!("it cannot read {}: {}", listed(&names), lines.join("; "));
    vec![check().fault(finding, fix)]
}
