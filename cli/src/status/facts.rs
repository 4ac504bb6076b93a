//! The facts at the head of a status, one a line.

use crate::show::{fact, money, number, plain, span, word};
use serde_json::Value;

/// What newer control planes tell and older ones do not.
const PARTS: [&str; 7] =
    ["queue", "capacity", "instances", "workers", "versions", "decisions", "cost"];

pub(super) fn render(status: &Value) -> String {
    let group = word(status, "/asgName").unwrap_or_default();
    let environment = word(status, "/environment").map_or_else(String::new, |it| it + ", ");
    let at = word(status, "/at").map_or_else(String::new, |at| format!(" at {at}"));
    let mut text = fact("fleet", &format!("{environment}group {group}{at}"));
    if status["enabled"] == false {
        text += &fact("scaling", "switched off by AUTOSCALE_ASG_ENABLED");
    } else if status["dry_run"] == true {
        text += &fact("scaling", "dry run: it decides and changes nothing");
    }
    text += &queue(status);
    text += &capacity(status);
    for line in overrides(status) {
        text += &fact("override", &line);
    }
    text += &workers(status);
    if status["versions"].is_object() {
        text += &fact("version", &version(status));
    }
    if status["cost"].is_object() {
        text += &fact("cost", &cost(status));
    }
    if let Some(decision) = status.pointer("/decisions/0") {
        text += &fact("decision", &super::super::explain::sentence(decision));
    }
    text
}

fn queue(status: &Value) -> String {
    if !status["queue"].is_object() {
        return fact("queue", &known(status, "queueDepth", "ready"));
    }
    let count = |name: &str| number(status, &format!("/queue/{name}"));
    let wait = status.pointer("/queue/oldest_wait_s").and_then(Value::as_u64);
    let text = format!(
        "{} ready, {} active, {} due soon, {} deferred, {} past expiry; oldest wait {}",
        count("ready"),
        count("active"),
        count("due_soon"),
        count("deferred"),
        count("expired"),
        wait.map_or_else(|| "unknown".to_owned(), span)
    );
    let tested = status.pointer("/queue/schema_tested").and_then(Value::as_bool);
    let untested = format!(
        "; pg-boss schema {} is newer than this control plane was tested with",
        count("schema_version")
    );
    fact("queue", &(text + if tested == Some(false) { &untested } else { "" }))
}

/// The capacity and its bounds.
pub(crate) fn capacity(status: &Value) -> String {
    if !status["capacity"].is_object() {
        return fact("capacity", &known(status, "currentCapacity", "desired"));
    }
    let count = |name: &str| number(status, &format!("/capacity/{name}"));
    fact(
        "capacity",
        &format!(
            "{} desired, {} in service, {} pending, {} draining; minimum {}, maximum {}",
            count("desired"),
            count("in_service"),
            count("pending"),
            count("draining"),
            count("min"),
            count("max")
        ),
    )
}

/// What somebody set beside the policy, and what of it cannot be read.
#[must_use]
pub fn overrides(status: &Value) -> Vec<String> {
    let capacity = &status["capacity"];
    let mut lines = in_force(capacity);
    let suspended = sentences(capacity, "/suspended");
    if !suspended.is_empty() {
        lines.push(format!("the group's processes {} are suspended", suspended.join(", ")));
    }
    lines.extend(sentences(capacity, "/problems"));
    lines
}

/// Floor and pause, of an object that has them.
pub(crate) fn in_force(of: &Value) -> Vec<String> {
    let until = |at: &str| word(of, at).unwrap_or_else(|| "an unknown moment".to_owned());
    let mut lines = Vec::new();
    if of["floor"].is_object() {
        let workers = number(of, "/floor/workers");
        lines.push(format!("floor: at least {workers} workers until {}", until("/floor/until")));
    }
    if of["paused"].is_object() {
        lines.push(format!("paused: no change of capacity until {}", until("/paused/until")));
    }
    lines
}

fn workers(status: &Value) -> String {
    let idle = number(status, "/idleWorkers");
    let workers = known(status, "activeWorkers", &format!("take work, {idle} of them idle"));
    fact("workers", &workers)
}

/// The number of this name with a word for what it counts.
fn known(status: &Value, name: &str, what: &str) -> String {
    match status[name].as_u64() {
        Some(number) => format!("{number} {what}"),
        None => "unknown".to_owned(),
    }
}

fn version(status: &Value) -> String {
    let count = |name: &str| number(status, &format!("/versions/{name}"));
    match word(status, "/versions/stable/image_tag") {
        Some(tag) => format!(
            "{tag} is stable; hosts with another one: {}, with none proven: {}",
            count("drifted"),
            count("unknown")
        ),
        None => "no stable version is known".to_owned(),
    }
}

fn cost(status: &Value) -> String {
    let sum = |name: &str| money(status, &format!("/cost/{name}_micros"));
    format!(
        "{} an hour, {} a month at this rate ({} at the minimum, {} at the maximum)",
        sum("hour"),
        sum("month"),
        sum("month_at_min"),
        sum("month_at_max")
    )
}

/// Sources that did not answer, and parts that this control plane does not tell.
#[must_use]
pub fn unknown_sources(status: &Value) -> Vec<String> {
    let sources = status["unavailable"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = sources
        .iter()
        .map(|source| {
            let text = |at: &str| word(source, at).unwrap_or_else(|| "unknown".to_owned());
            format!("{} ({}): {}", text("/source"), text("/cause"), text("/reason"))
        })
        .collect();
    let absent: Vec<&str> = PARTS.into_iter().filter(|part| status.get(part).is_none()).collect();
    if !absent.is_empty() {
        lines.push(format!("{}: this control plane is older and tells none", absent.join(", ")));
    }
    lines
}

fn sentences(of: &Value, at: &str) -> Vec<String> {
    let list = of.pointer(at).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(plain).collect()
}
