//! Commands, invocations and documents as JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::epoch;
use crate::commands::{Command, Document, Invocation, InvocationState, Machine};

/// Most characters of output in a listing.
const LISTED_OUTPUT: usize = 2500;
/// Most characters of standard output and error of one invocation.
const STANDARD_OUTPUT: usize = 24_000;
const STANDARD_ERROR: usize = 8_000;

pub(super) fn document(document: &Document, created: Timestamp, owner: &str) -> Value {
    let parameters: Vec<Value> = document
        .parameters
        .iter()
        .map(|(name, p)| {
            let mut parameter =
                json!({ "Name": name, "Type": p.kind.as_str(), "Description": p.description });
            if let Some(default) = &p.default {
                parameter["DefaultValue"] = match default {
                    Value::String(text) => json!(text),
                    other => json!(other.to_string()),
                };
            }
            parameter
        })
        .collect();
    let aws = document.name.starts_with("AWS-");
    json!({
        "Name": document.name,
        "Owner": if aws { "Amazon" } else { owner },
        "CreatedDate": epoch(created),
        "Status": "Active",
        "DocumentVersion": "1",
        "DefaultVersion": "1",
        "LatestVersion": "1",
        "Description": document.description,
        "Parameters": parameters,
        "PlatformTypes": [if document.is_linux() { "Linux" } else { "Windows" }],
        "DocumentType": "Command",
        "SchemaVersion": "2.2",
        "DocumentFormat": "JSON",
    })
}

pub(super) fn content(document: &Document, created: Timestamp) -> Value {
    json!({
        "Name": document.name,
        "CreatedDate": epoch(created),
        "DocumentVersion": "1",
        "Status": "Active",
        "Content": document.content,
        "DocumentType": "Command",
        "DocumentFormat": "JSON",
    })
}

/// Status details in one of the two spellings of AWS's documents.
fn spelled(details: &str, spaced: bool) -> String {
    let mut text = String::new();
    for letter in details.chars() {
        if spaced && letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter);
    }
    text
}

pub(super) fn command(c: &Command, spaced: bool) -> Value {
    let targets: Vec<Value> =
        c.targets.iter().map(|(key, values)| json!({ "Key": key, "Values": values })).collect();
    json!({
        "CommandId": c.id,
        "DocumentName": c.document,
        "DocumentVersion": "$DEFAULT",
        "Comment": c.comment,
        "ExpiresAfter": epoch(c.expires),
        "Parameters": c.parameters,
        "InstanceIds": c.instance_ids,
        "Targets": targets,
        "RequestedDateTime": epoch(c.requested),
        "Status": c.state.status(),
        "StatusDetails": spelled(c.state.details(), spaced),
        "OutputS3BucketName": "",
        "OutputS3KeyPrefix": "",
        "MaxConcurrency": c.max_concurrency,
        "MaxErrors": c.max_errors,
        "TargetCount": c.invocations.len(),
        "CompletedCount": c.count(InvocationState::is_terminal),
        "ErrorCount": c.count(InvocationState::is_error),
        "DeliveryTimedOutCount": c.count(|s| s == InvocationState::DeliveryTimedOut),
        "ServiceRole": "",
        "NotificationConfig":
            { "NotificationArn": "", "NotificationEvents": [], "NotificationType": "" },
        "TimeoutSeconds": c.timeout_seconds,
    })
}

/// What the agent writes to standard error, its own line about a failure included.
fn standard_error(v: &Invocation) -> String {
    let Some(output) = &v.output else { return String::new() };
    match output.exit_code {
        0 => output.stderr.clone(),
        code => format!("{}failed to run commands: exit status {code}", output.stderr),
    }
}

/// Standard output and error in one, as listings have it.
fn listed_output(v: &Invocation) -> String {
    let mut text = v.output.as_ref().map(|o| o.stdout.clone()).unwrap_or_default();
    let error = standard_error(v);
    if !error.is_empty() {
        text.push_str("\n----------ERROR-------\n");
        text.push_str(&error);
    }
    cut(&text, LISTED_OUTPUT)
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn response_code(v: &Invocation) -> i32 {
    v.output.as_ref().map_or(-1, |o| o.exit_code)
}

pub(super) fn invocation(c: &Command, v: &Invocation, details: bool, spaced: bool) -> Value {
    let (status, status_details) = (v.state.status(), spelled(v.state.details(), spaced));
    let mut plugins = Vec::new();
    if details {
        let mut plugin = json!({
            "Name": c.step,
            "Status": status,
            "StatusDetails": status_details,
            "ResponseCode": response_code(v),
            "Output": listed_output(v),
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
            "OutputS3Region": "",
            "OutputS3BucketName": "",
            "OutputS3KeyPrefix": "",
        });
        if let Some(at) = v.started_at {
            plugin["ResponseStartDateTime"] = epoch(at);
        }
        if let Some(at) = v.ended_at {
            plugin["ResponseFinishDateTime"] = epoch(at);
        }
        plugins.push(plugin);
    }
    json!({
        "CommandId": c.id,
        "InstanceId": v.instance,
        "InstanceName": "",
        "Comment": c.comment,
        "DocumentName": c.document,
        "DocumentVersion": "$DEFAULT",
        "RequestedDateTime": epoch(c.requested),
        "Status": status,
        "StatusDetails": status_details,
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
        "CommandPlugins": plugins,
        "ServiceRole": "",
    })
}

pub(super) fn single(c: &Command, v: &Invocation, spaced: bool) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| format!("{at:.3}")).unwrap_or_default();
    let elapsed = match (v.started_at, v.ended_at) {
        (Some(start), Some(end)) => {
            let elapsed = Duration::try_from(end.duration_since(start)).unwrap_or_default();
            format!("PT{:.3}S", elapsed.as_secs_f64())
        }
        _ => String::new(),
    };
    json!({
        "CommandId": c.id,
        "InstanceId": v.instance,
        "Comment": c.comment,
        "DocumentName": c.document,
        "DocumentVersion": "$DEFAULT",
        "PluginName": c.step,
        "ResponseCode": response_code(v),
        "ExecutionStartDateTime": time(v.started_at),
        "ExecutionElapsedTime": elapsed,
        "ExecutionEndDateTime": time(v.started_at.and(v.ended_at)),
        "Status": v.state.status(),
        "StatusDetails": spelled(v.state.details(), spaced),
        "StandardOutputContent":
            cut(v.output.as_ref().map_or("", |o| o.stdout.as_str()), STANDARD_OUTPUT),
        "StandardOutputUrl": "",
        "StandardErrorContent": cut(&standard_error(v), STANDARD_ERROR),
        "StandardErrorUrl": "",
    })
}

pub(super) fn instance(m: &Machine, offline: Option<Timestamp>, now: Timestamp) -> Value {
    json!({
        "InstanceId": m.id,
        "PingStatus": ping_status(offline),
        "LastPingDateTime": epoch(offline.unwrap_or(now)),
        "AgentVersion": "3.3.3050.0",
        "IsLatestVersion": true,
        "PlatformType": "Linux",
        "PlatformName": "Amazon Linux",
        "PlatformVersion": "2023",
        "ResourceType": "EC2Instance",
    })
}

pub(super) fn ping_status(offline: Option<Timestamp>) -> &'static str {
    if offline.is_some() { "ConnectionLost" } else { "Online" }
}
