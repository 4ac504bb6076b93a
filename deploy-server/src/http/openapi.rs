//! The OpenAPI document, generated from a short description of each operation.

use serde_json::{Map, Value, json};

/// The interface for callers from the network, OpenAPI 3.1.
#[must_use]
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "GhostHands deploy-server",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One host: what runs on it, and how to deploy, drain, clean and roll back.",
        },
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "deploySecret": { "type": "apiKey", "in": "header", "name": "X-Deploy-Secret" },
            },
            "schemas": schemas(),
        },
    })
}

fn paths() -> Value {
    let id = json!([{
        "name": "id", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 },
    }]);
    let mut one_deploy =
        open("One deploy, running or ended", &[(200, "DeployRecord"), (404, "Error")]);
    one_deploy["parameters"] = id;
    let deploy =
        [(200, "DeployResult"), (202, "DeployStarted"), (409, "Refusal"), (500, "DeployFailure")];
    let drain = [
        (200, "Drain"),
        (202, "DrainStarted"),
        (403, "Refusal"),
        (409, "Drain"),
        (500, "Refusal"),
        (503, "Drain"),
    ];
    let mut metrics = open("CPU, memory, disk and network of the host", &[(200, "Metrics")]);
    metrics["responses"]["200"]["content"]["text/plain"] = json!({
        "schema": {
            "type": "string",
            "description": "For who prefers it to JSON by Accept: these and what the other documents say in numbers, for Prometheus.",
        },
    });
    json!({
        "/health": { "get": open("How the host is", &[(200, "Health")]) },
        "/metrics": { "get": metrics },
        "/version": { "get": open("What runs here", &[(200, "Version")]) },
        "/workers": { "get": open("The worker", &[(200, "Workers")]) },
        "/containers": { "get": open("Running containers", &[(200, "Containers"), (503, "Error")]) },
        "/deploys": { "get": open("The deploy in progress and those that ended, newest first", &[(200, "Deploys")]) },
        "/deploys/{id}": { "get": one_deploy },
        "/openapi.json": { "get": open("This document", &[(200, "Document")]) },
        "/deploy": { "post": guarded("Put a version into service", Some("DeployRequest"), true, &deploy) },
        "/rollback": { "post": guarded("Go back to the version before", Some("RollbackRequest"), false, &deploy) },
        "/drain": {
            "get": open("Whether the worker is drained now", &[(200, "DrainState")]),
            "post": guarded("Stop taking work and wait for the running job", Some("DrainRequest"), false, &drain),
            "delete": guarded("Take work again", None, false, &[(200, "Done"), (409, "Refusal")]),
        },
        "/cleanup": {
            "post": guarded("Free disk space", Some("CleanupRequest"), false,
                &[(200, "Cleanup"), (409, "Refusal"), (500, "CleanupFailure")]),
        },
        "/admin/refresh-secrets": {
            "post": guarded("Read Secrets Manager again", Some("Nothing"), false,
                &[(200, "RefreshedSecrets"), (500, "Refusal"), (502, "Refusal")]),
        },
    })
}

fn open(summary: &str, responses: &[(u16, &str)]) -> Value {
    json!({ "summary": summary, "responses": with_schemas(responses) })
}

fn guarded(summary: &str, body: Option<&str>, required: bool, responses: &[(u16, &str)]) -> Value {
    let mut operation = open(summary, responses);
    let all = operation["responses"].as_object_mut().expect("open makes an object");
    for (status, reply) in with_schemas(&[(401, "Refusal")]) {
        all.insert(status, reply);
    }
    if let Some(body) = body {
        for (status, reply) in with_schemas(&[(400, "Refusal"), (408, "Refusal"), (413, "Refusal")])
        {
            all.insert(status, reply);
        }
        operation["requestBody"] = json!({ "required": required, "content": { "application/json": { "schema": reference(body) } } });
    }
    operation["security"] = json!([{ "deploySecret": [] }]);
    operation
}

fn with_schemas(responses: &[(u16, &str)]) -> Map<String, Value> {
    let reply = |schema: &str| json!({ "description": schema, "content": { "application/json": { "schema": reference(schema) } } });
    responses.iter().map(|(status, schema)| (status.to_string(), reply(schema))).collect()
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn schemas() -> Value {
    let (text, flag, count) = (
        json!({"type": "string"}),
        json!({"type": "boolean"}),
        json!({"type": "integer", "minimum": 0}),
    );
    let maybe = |kind: &str| json!({ "type": [kind, "null"] });
    let number = json!({ "type": "number" });
    let texts = json!({ "type": "array", "items": text });
    let worker_state = json!({ "enum": ["idle", "busy", "draining", "stopped", "unknown"] });
    let tag = json!({
        "type": "string",
        "pattern": "^([A-Za-z0-9_][A-Za-z0-9._-]{0,127}|sha256:[0-9a-f]{64})$",
    });
    let version = either_null(object(&[
        ("imageTag", text.clone()),
        ("imageId", text.clone()),
        ("digest", maybe("string")),
    ]));
    let seconds = json!({ "type": ["number", "null"], "minimum": 0, "maximum": 21600 });
    let ignored =
        json!({ "type": ["string", "null"], "description": "Ignored: a host has one worker." });

    let ended = [
        ("generation", count.clone()),
        ("kind", json!({ "enum": ["deploy", "rollback", "bootstrap"] })),
        ("imageTag", text.clone()),
        ("imageId", maybe("string")),
        ("digest", maybe("string")),
        ("previous", version),
        ("actor", text.clone()),
        ("startedAt", text.clone()),
        ("finishedAt", text.clone()),
        ("duration", json!({ "type": "integer" })),
        ("caughtJobs", count.clone()),
        ("drainWaitedMs", count.clone()),
        ("notes", texts.clone()),
    ];
    let outcome = |names: Value| ("status", json!({ "enum": names }));
    let failure = [
        ("failedStep", maybe("string")),
        ("failedService", maybe("string")),
        ("error", maybe("string")),
        ("log", texts.clone()),
    ];
    let told = [("success", flag.clone()), ("message", text.clone())];
    let all_outcomes = json!(["deployed", "failed", "rolled_back", "down"]);
    let entry = object(&join(&[&[("id", text.clone()), outcome(all_outcomes)], &ended, &failure]));
    let running = object(&[
        ("id", text.clone()),
        ("imageTag", text.clone()),
        ("force", flag.clone()),
        ("status", json!({ "const": "running" })),
        ("step", text.clone()),
        ("elapsedMs", count.clone()),
    ]);
    let result = |names: Value, more: &[(&str, Value)]| {
        object(&join(&[&told, &[("deployId", text.clone()), outcome(names)], &ended, more]))
    };
    let failed = result(json!(["failed", "rolled_back", "down"]), &failure);
    let target = object(&[
        ("target", text.clone()),
        ("freedBytes", maybe("integer")),
        ("count", count.clone()),
    ]);
    let cleanup = object(&join(&[
        &told,
        &[
            ("output", text.clone()),
            ("dryRun", flag.clone()),
            ("freedBytes", count.clone()),
            ("notes", texts.clone()),
            ("targets", json!({ "type": "array", "items": target })),
        ],
    ]));

    let drain_state = [
        ("drained", flag.clone()),
        ("drainedWorkers", count.clone()),
        ("activeJobs", maybe("integer")),
        ("accepting", maybe("boolean")),
        ("workerStatus", worker_state.clone()),
        ("workerStopped", flag.clone()),
        ("inProgress", flag.clone()),
        ("terminating", flag.clone()),
        ("instanceId", maybe("string")),
        ("reason", maybe("string")),
        ("observedAt", text.clone()),
    ];

    json!({
        "DeployRequest": strict(&[("image_tag", tag)], &[("force", flag.clone()), ("wait", flag.clone())]),
        "RollbackRequest": strict(&[], &[("force", flag.clone()), ("wait", flag.clone())]),
        "DrainRequest": strict(&[], &[("timeout_seconds", seconds), ("worker_id", ignored)]),
        "CleanupRequest": strict(&[], &[("dry_run", flag.clone())]),
        "Nothing": strict(&[], &[]),
        "Refusal": object(&told),
        "Done": object(&join(&[&told, &[("notes", texts.clone())]])),
        "Error": object(&[("error", text.clone())]),
        "Document": { "type": "object" },
        "DeployRecord": { "anyOf": [entry, running] },
        "DeployResult": result(json!(["deployed"]), &[]),
        "DeployFailure": { "anyOf": [failed, reference("Refusal")] },
        "DeployStarted": object(&join(&[&told, &[
            ("deployId", text.clone()), ("imageTag", text.clone()), ("status", json!({ "const": "running" })),
        ]])),
        "Deploys": object(&[
            ("running", either_null(running)), ("deploys", json!({ "type": "array", "items": entry })),
        ]),
        "Drain": { "anyOf": [reference("DrainReading"), reference("Refusal")] },
        "DrainReading": with_optional(object(&join(&[&told, &[
            ("v", json!({ "const": 1 })),
            ("drained", flag.clone()), ("drainedWorkers", count.clone()),
            ("activeJobs", maybe("integer")), ("accepting", maybe("boolean")),
            ("waitedMs", count.clone()), ("workerStopped", flag.clone()), ("caughtJobs", count.clone()),
            ("stoppedJobs", maybe("integer")), ("terminating", flag.clone()), ("instanceId", maybe("string")),
            ("bootId", maybe("string")), ("observedAt", text.clone()),
        ]])), "notes", texts.clone()),
        "DrainState": object(&drain_state),
        "DrainStarted": object(&join(&[&told, &drain_state, &[
            ("status", json!({ "const": "draining" })),
        ]])),
        "Cleanup": cleanup,
        "CleanupFailure": { "anyOf": [reference("Cleanup"), reference("Refusal")] },
        "RefreshedSecrets": object(&join(&[&told, &[
            ("changed", texts.clone()), ("added", texts.clone()), ("removed", texts.clone()), ("kept", texts),
            ("unchanged", count.clone()),
        ]])),
        "Health": object(&[
            ("status", json!({ "enum": ["ok", "degraded"] })), ("activeWorkers", maybe("integer")),
            ("deploySafe", flag.clone()), ("apiHealthy", flag.clone()), ("workerStatus", worker_state.clone()),
            ("currentDeploy", either_null(object(&[
                ("id", text.clone()), ("imageTag", text.clone()), ("elapsedMs", count.clone()), ("step", text.clone()),
            ]))),
            ("uptimeMs", count.clone()), ("accepting", maybe("boolean")), ("terminating", flag.clone()),
            ("dockerReachable", flag), ("operation", maybe("string")), ("imageTag", maybe("string")),
            ("reason", maybe("string")),
        ]),
        "Metrics": object(&[
            ("cpu", object(&[("usagePercent", maybe("number")), ("cores", maybe("integer"))])),
            ("memory", either_null(object(&[
                ("usedMb", count.clone()), ("totalMb", count.clone()), ("usagePercent", number.clone()),
            ]))),
            ("disk", either_null(object(&[
                ("usedGb", number.clone()), ("totalGb", number.clone()), ("usagePercent", number),
            ]))),
            ("network", either_null(object(&[("rxBytesPerSec", count.clone()), ("txBytesPerSec", count.clone())]))),
        ]),
        "Version": object(&[
            ("deployServer", text.clone()), ("version", text.clone()), ("ghosthands", json!({ "type": "object" })),
            ("uptimeMs", count.clone()), ("environment", text.clone()),
            ("services", json!({ "type": "array", "items": { "type": "object" } })),
        ]),
        "Workers": {
            "type": "array", "minItems": 1, "maxItems": 1,
            "items": object(&[
                ("workerId", text.clone()), ("containerId", text.clone()), ("containerName", text.clone()),
                ("status", worker_state), ("activeJobs", maybe("integer")), ("statusPort", count),
                ("uptime", maybe("integer")), ("image", text.clone()), ("accepting", maybe("boolean")),
                ("imageTag", maybe("string")), ("reason", maybe("string")),
            ]),
        },
        "Containers": {
            "type": "array",
            "items": object(&[
                ("id", text.clone()), ("name", text.clone()), ("image", text.clone()), ("imageId", text.clone()),
                ("status", text.clone()), ("state", text.clone()),
                ("ports", json!({ "type": "array", "items": text })), ("createdAt", text),
                ("labels", json!({ "type": "object" })),
            ]),
        },
    })
}

/// An answer: all of these fields, and more may come in later versions.
fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

/// An answer that may have one more field.
fn with_optional(mut answer: Value, name: &str, schema: Value) -> Value {
    answer["properties"][name] = schema;
    answer
}

/// A request: these fields and no others.
fn strict(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    let mut schema = object(&join(&[required, optional]));
    schema["required"] = json!(names);
    schema["additionalProperties"] = json!(false);
    schema
}

fn either_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn join<'a>(parts: &[&[(&'a str, Value)]]) -> Vec<(&'a str, Value)> {
    parts.concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_changes_only_on_purpose() {
        insta::assert_json_snapshot!(super::document());
    }
}
