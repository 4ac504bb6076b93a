//! The instances of a status as a table.

use crate::show::{Cell, Screen, Tone, table, word};
use serde_json::Value;

const HEADS: [&str; 5] = ["INSTANCE", "LIFECYCLE", "WORKER", "VERSION", "NOTE"];
const MOST: [usize; 5] = [19, 17, 8, 14, 20];

pub(super) fn render(screen: &Screen, status: &Value) -> String {
    let Some(instances) = status["instances"].as_array() else {
        return String::new();
    };
    let rows: Vec<[Cell; 5]> = instances.iter().map(|instance| row(status, instance)).collect();
    let mut text = "\n".to_owned();
    text += &if rows.is_empty() {
        "The group has no instances.\n".to_owned()
    } else {
        table(screen, HEADS, MOST, &rows)
    };
    if let Some(more) = status["instances_omitted"].as_u64().filter(|more| *more > 0) {
        text += &format!("and {more} instances more\n");
    }
    let elsewhere = elsewhere(status, instances);
    if elsewhere > 0 {
        text += &format!("workers that report from outside the group: {elsewhere}\n");
    }
    text
}

/// The instance of this id.
#[must_use]
pub fn member<'a>(status: &'a Value, id: &str) -> Option<&'a Value> {
    status["instances"].as_array()?.iter().find(|instance| instance["instance_id"] == id)
}

/// The worker that reports from this instance.
#[must_use]
pub fn worker_of<'a>(status: &'a Value, instance: &Value) -> Option<&'a Value> {
    let id = &instance["instance_id"];
    status["workers"].as_array()?.iter().find(|worker| &worker["instance_id"] == id)
}

fn elsewhere(status: &Value, instances: &[Value]) -> usize {
    let ours = |worker: &&Value| {
        !instances.iter().any(|instance| instance["instance_id"] == worker["instance_id"])
    };
    status["workers"].as_array().map_or(0, |workers| workers.iter().filter(ours).count())
}

fn row(status: &Value, instance: &Value) -> [Cell; 5] {
    let text = |at: &str| word(instance, at).unwrap_or_else(|| "unknown".to_owned());
    let lifecycle = text("/lifecycle");
    let worker = worker_of(status, instance).and_then(|worker| word(worker, "/state"));
    // That none reports is known only where the registry was read.
    let none = if status["workers"].is_array() { "none" } else { "unknown" };
    let worker = worker.unwrap_or_else(|| none.to_owned());
    let version = text("/version");
    let version_tone = if instance["drift"] == true { Tone::Warn } else { Tone::Plain };
    [
        Cell::new(text("/instance_id")),
        Cell::toned(if lifecycle == "InService" { Tone::Good } else { Tone::Warn }, lifecycle),
        Cell::toned(worker_tone(&worker), worker),
        Cell::toned(version_tone, version),
        Cell::toned(Tone::Warn, notes(instance)),
    ]
}

fn worker_tone(state: &str) -> Tone {
    match state {
        "idle" | "busy" => Tone::Good,
        "silent" | "unknown" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// What is out of the ordinary, most pressing first.
fn notes(instance: &Value) -> String {
    let notes = [
        (instance["healthy"] == false, "unhealthy"),
        (instance["drift"] == true, "drift"),
        (instance["protected"] == true, "protected"),
    ];
    let notes = notes.into_iter().filter(|(holds, _)| *holds);
    notes.map(|(_, note)| note).collect::<Vec<_>>().join(", ")
}
