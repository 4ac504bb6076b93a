//! What a person sees: one line per thing that happened, with the seconds since the start.

use std::io::Write;
use std::time::Instant;

use aws_double::LogLine;
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::stage::DRAIN;

/// Prints lines with the elapsed time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Narrator {
    start: Instant,
}

impl Narrator {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn elapsed_seconds(&self) -> f64 {
        (self.start.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }

    /// One line: who it is about, and what happened.
    pub(crate) fn say(&self, who: &str, what: &str) {
        line(&format!("{:>6.1}s  {who:<19}  {what}", self.start.elapsed().as_secs_f64()));
    }
}

/// Prints a line. When nobody reads any more there is nobody to tell.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// Tells what a function printed, until it is gone.
pub(crate) async fn follow_function(
    mut logs: Receiver<LogLine>,
    function: &'static str,
    narrator: Narrator,
) {
    let mut last = String::new();
    loop {
        match logs.recv().await {
            Ok(log) => {
                let Some(text) = readable(&log.text) else { continue };
                // A tick that says the same as the one before, only some seconds later, is no news.
                let news = if function == DRAIN {
                    text.replace(char::is_numeric, "")
                } else {
                    text.clone()
                };
                if news != last {
                    text.lines().for_each(|line| narrator.say(function, line));
                    last = news;
                }
            }
            Err(RecvError::Lagged(lines)) => {
                narrator.say(function, &format!("({lines} lines were too fast to follow)"));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// What a line of the function's output says to a person; `None` when it is for machines only.
fn readable(text: &str) -> Option<String> {
    let Ok(record) = serde_json::from_str::<Value>(text) else {
        return Some(text.to_owned()).filter(|text| !text.trim().is_empty());
    };
    match record["type"].as_str() {
        Some("decision") => Some(decision(&record)),
        Some(DRAIN) => drain(&record),
        Some(other) => Some(other.replace('_', " ")),
        None => trouble(&record),
    }
}

fn decision(record: &Value) -> String {
    let summary = record["summary"].as_str().unwrap_or("a decision without a summary");
    let demand = &record["decision"]["demand"];
    let number =
        |name: &str| demand[name].as_u64().map_or_else(|| "?".to_owned(), |n| n.to_string());
    let mut text = if demand.is_object() {
        format!(
            "tick: {} ready, {} due soon, {} running; {summary}",
            number("ready"),
            number("due_soon"),
            number("active")
        )
    } else {
        format!("tick: {summary}")
    };
    for note in record["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}

/// What a pass of the drain function did; `None` where nobody is leaving, or nothing is new about
/// them.
fn drain(record: &Value) -> Option<String> {
    let verdicts = record["decision"]["verdicts"].as_array().filter(|all| !all.is_empty())?;
    // How long ago the last heartbeat was is new with every pass, and no news.
    let is_news = |verdict: &&Value| verdict["because"]["rule"] != "just_held";
    if !verdicts.iter().any(|verdict| is_news(&verdict)) {
        return None;
    }
    let lines: Vec<&str> =
        record["summary"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    Some(lines.join("\n"))
}

/// A log line of the function that somebody should read; metrics and plain information are not.
fn trouble(record: &Value) -> Option<String> {
    let level = record["level"].as_str().filter(|level| matches!(*level, "WARN" | "ERROR"))?;
    let message = record["fields"]["message"].as_str().or_else(|| record["message"].as_str());
    Some(format!("{level}: {}", message.unwrap_or("no message")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::readable;

    #[test]
    fn a_decision_is_told_with_its_demand_and_notes() {
        let record = json!({
            "type": "decision", "summary": "1 -> 5: because", "notes": ["a note"],
            "decision": { "demand": { "ready": 5, "due_soon": 0, "active": 1 } }
        });
        let text = readable(&record.to_string()).expect("a decision is told");
        assert_eq!(text, "tick: 5 ready, 0 due soon, 1 running; 1 -> 5: because; a note");
        let unknown =
            json!({ "type": "decision", "summary": "stays", "decision": { "demand": null } });
        assert_eq!(readable(&unknown.to_string()).as_deref(), Some("tick: stays"));
    }

    #[test]
    fn metrics_and_information_are_not_told_but_trouble_is() {
        assert_eq!(readable(r#"{"_aws": {}, "Ready": 1}"#), None);
        assert_eq!(readable(r#"{"level": "INFO", "fields": {"message": "up"}}"#), None);
        let error = r#"{"level": "ERROR", "fields": {"message": "no database"}}"#;
        assert_eq!(readable(error).as_deref(), Some("ERROR: no database"));
        assert_eq!(readable("panicked at x").as_deref(), Some("panicked at x"));
        assert_eq!(readable(r#"{"type": "already_running"}"#).as_deref(), Some("already running"));
    }
}
