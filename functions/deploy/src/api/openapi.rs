//! The OpenAPI document of these routes, generated from a short description of each.

use fleet_core::rollout::Strategy;
use serde_json::{Map, Value, json};

/// The interface for operators, OpenAPI 3.1.
pub(super) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "GhostHands Fleet: deployments",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Rolls versions out over the fleet and says truly how far they are; cleanup, refreshed secrets and drain by the same way.",
        },
        "security": [{ "token": [] }],
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "The reader's token to look, the operator's to act." },
            },
            "parameters": {
                "Id": { "name": "id", "in": "path", "required": true, "description": "The deployment's id, which is SSM's CommandId.",
                    "schema": { "type": "string", "pattern": ID } },
                "MayKey": { "name": "Idempotency-Key", "in": "header",
                    "description": "The same for every repetition of a request: it is carried out once. Without one each request stands for itself.",
                    "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" } },
                "Key": { "name": "Idempotency-Key", "in": "header", "required": true,
                    "description": "The same for every repetition of a request: it is carried out once.",
                    "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" } },
            },
            "schemas": schemas(),
        },
    })
}

const ID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
const INSTANCE: &str = "^i-[0-9a-fA-F]{8,17}$";
const TAG: &str = "^([A-Za-z0-9_][A-Za-z0-9_.\\-]{0,127}|sha256:[0-9a-f]{64})$";

fn paths() -> Value {
    let id = || json!({ "$ref": "#/components/parameters/Id" });
    let key = json!({ "$ref": "#/components/parameters/Key" });
    let may_key = || json!({ "$ref": "#/components/parameters/MayKey" });
    let limit = json!({ "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 50, "default": 20 } });
    let begun: &[u16] = &[400, 401, 403, 409, 422, 503];
    json!({
        "/api/v1/admin/deployments": {
            "post": operation("Roll a version out", vec![key], Some(("Deploy", true)), (202, "Accepted"), begun),
            "get": operation("The newest deployments", vec![limit], None, (200, "List"), &[400, 401, 503]),
        },
        "/api/v1/admin/deployments/openapi.json": {
            "get": operation("This document", vec![], None, (200, "Document"), &[401, 503]),
        },
        "/api/v1/admin/deployments/{id}": {
            "get": operation("One deployment, host by host", vec![id()], None, (200, "Deployment"), &[401, 404, 503]),
        },
        "/api/v1/admin/deployments/{id}/cancel": {
            "post": operation("Take it back as far as it has not begun", vec![id()], None, (202, "Cancelled"), &[401, 403, 404, 409, 503]),
        },
        "/api/v1/admin/deployments/{id}/pause": {
            "post": operation("Let no host get a new order; what hosts hold they finish", vec![id()], None, (202, "Cancelled"), &[401, 403, 404, 409, 503]),
        },
        "/api/v1/admin/deployments/{id}/continue": {
            "post": operation("Let one go on that is paused or needs a decision", vec![id()], None, (202, "Cancelled"), &[401, 403, 404, 409, 503]),
        },
        "/api/v1/admin/deployments/{id}/rollback": {
            "post": operation("Go back to the version before", vec![id(), may_key()], Some(("RollBack", false)), (202, "Accepted"),
                &[400, 401, 403, 404, 409, 422, 503]),
        },
        "/api/v1/admin/cleanup": {
            "post": operation("Free disk space on every host", vec![may_key()], Some(("All", false)), (202, "Accepted"), begun),
        },
        "/api/v1/admin/refresh-secrets": {
            "post": operation("Let every host read its secrets again", vec![may_key()], Some(("All", false)), (202, "Accepted"), begun),
        },
        "/api/v1/admin/drain": {
            "post": operation("Let named hosts take no more work", vec![may_key()], Some(("Named", true)), (202, "Accepted"), begun),
        },
    })
}

fn operation(
    summary: &str,
    parameters: Vec<Value>,
    body: Option<(&str, bool)>,
    good: (u16, &str),
    bad: &[u16],
) -> Value {
    let reply = |kind: &str, name: &str, words: &str| {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        json!({ "description": words, "content": { (kind): { "schema": schema } } })
    };
    let mut responses = Map::new();
    responses.insert(good.0.to_string(), reply("application/json", good.1, summary));
    for status in bad {
        let words = match status {
            400 => "Something of the request is wrong, and named",
            401 => "The token is missing or nobody's",
            403 => "This takes the operator's token",
            404 => "There is no such deployment",
            409 => "Another rollout is in progress, or nobody can be reached",
            422 => "The key stands for another request",
            _ => "AWS does not answer; ask again",
        };
        responses.insert(status.to_string(), reply("application/problem+json", "Problem", words));
    }
    let mut operation = json!({ "summary": summary, "responses": responses });
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some((name, required)) = body {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        operation["requestBody"] = json!({ "required": required, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn schemas() -> Value {
    let strategies: Vec<&str> = Strategy::ALL.map(Strategy::as_str).into();
    let strategy = json!({ "type": "string", "enum": strategies, "default": "canary" });
    let reason = json!({ "type": ["string", "null"], "maxLength": 200, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]*$",
        "description": "Why, for people. SSM's comment keeps the beginning of it, the audit line all." });
    let force = json!({ "type": "boolean", "default": false, "description": "End a job that has had the job limit, and replace what is up to date." });
    let build = json!({ "type": ["string", "null"], "maxLength": 1024, "description": "What CI says of the version; the deploy webhook passes it on, cut where it is long." });
    let text = json!({ "type": "string" });
    let time = json!({ "type": "string", "format": "date-time" });
    let id = json!({ "type": "string", "pattern": ID });
    let tag = json!({ "type": "string", "pattern": TAG });
    let kind = json!({ "type": "string", "enum": ["deploy", "rollback", "cleanup", "refresh-secrets", "drain"] });
    let state = json!({ "type": "string", "enum": ["in_progress", "succeeded", "partial", "failed", "rolled_back", "cancelled"] });
    let host_state = json!({ "type": "string", "enum": [
        "pending", "waiting", "in_progress", "succeeded", "already_current", "rolled_back", "failed_down", "refused",
        "busy", "at_limit", "timed_out", "unreachable", "not_started", "cancelled", "terminated"] });
    let request = |required: &[&str], properties: Value| {
        json!({
        "type": "object", "additionalProperties": false, "required": required, "properties": properties })
    };
    let summary = json!({
        "id": id, "kind": kind, "image_tag": tag, "strategy": strategy, "state": state, "requested_at": time,
        "ended_at": time, "requested_by": text, "reason": text,
    });
    let mut whole = summary.clone();
    whole["counts"] =
        json!({ "type": "object", "additionalProperties": { "type": "integer", "minimum": 1 } });
    whole["hosts"] = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Host" } });
    whole["note"] = text.clone();
    whole["hosts_left"] = json!({ "type": "integer", "minimum": 0, "description": "Hosts in service that have not proven it yet." });
    whole["last_limit_at"] = json!({ "type": "string", "format": "date-time", "description": "When the last of the jobs that are waited for has had the job limit." });
    whole["paused"] = json!({ "type": "boolean" });
    whole["needs_decision"] = json!({ "type": "boolean", "description": "Too few jobs ended to judge the version by: continue it, or cancel it and roll back." });
    let tally = json!({ "type": "object", "properties": { "completed": { "type": "integer", "minimum": 0 }, "failed": { "type": "integer", "minimum": 0 } } });
    whole["outcomes"] = json!({
        "type": "object",
        "description": "Jobs that ended on the new version, beside it in the same time, and in the day before the rollout; `since` and `at` in milliseconds.",
        "properties": { "rollout": id, "since": { "type": "integer" }, "at": { "type": "integer" }, "new": tally, "beside": tally, "before": tally },
    });
    whole["alarm"] = json!({
        "type": "object", "description": "The CloudWatch alarm that stopped it; `since` in milliseconds.",
        "properties": { "name": text, "since": { "type": "integer" }, "reason": text },
    });
    json!({
        "Deploy": request(&["image_tag"], json!({ "image_tag": tag, "strategy": strategy, "force": force, "reason": reason,
            "commit_sha": build, "commit_message": build, "branch": build, "repository": build, "run_url": build })),
        "RollBack": request(&[], json!({ "strategy": strategy, "force": force, "reason": reason })),
        "All": request(&[], json!({ "reason": reason })),
        "Named": request(&["instance_ids"], json!({
            "instance_ids": { "type": "array", "minItems": 1, "maxItems": 50, "items": { "type": "string", "pattern": INSTANCE } },
            "reason": reason })),
        "Accepted": {
            "type": "object", "required": ["id", "kind", "state", "targets", "status_url"],
            "properties": {
                "id": id, "kind": kind, "image_tag": tag, "strategy": strategy, "state": state, "status_url": text, "note": text,
                "targets": { "type": "array", "items": { "type": "string", "pattern": INSTANCE } },
            },
        },
        "Cancelled": {
            "type": "object", "required": ["id", "state", "status_url"],
            "properties": { "id": id, "state": state, "status_url": text, "note": text },
        },
        "List": {
            "type": "object", "required": ["deployments"],
            "properties": {
                "deployments": { "type": "array", "items": {
                    "type": "object", "required": ["id", "kind", "state", "requested_at", "requested_by"], "properties": summary } },
                "at": time,
            },
        },
        "Deployment": {
            "type": "object",
            "required": ["id", "kind", "state", "requested_at", "requested_by", "counts", "hosts"], "properties": whole,
        },
        "Host": {
            "type": "object", "required": ["instance_id", "state"],
            "properties": {
                "instance_id": text, "state": host_state, "step": text, "message": text, "version_before": text,
                "version_after": text, "waiting_since": time, "limit_at": time,
                "active_jobs": { "type": "integer", "minimum": 0 },
                "notes": { "type": "array", "items": text, "description": "What did not come about on the host and stopped nothing, such as a container that could not be removed." },
                "log": { "type": "array", "items": text },
            },
        },
        "Document": { "type": "object", "required": ["openapi", "paths"] },
        "Problem": {
            "type": "object", "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": text, "title": text, "status": { "type": "integer" }, "detail": text,
                "running": id, "id": id, "retry_after_seconds": { "type": "integer", "minimum": 1 }, "allowed": text,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_changes_only_on_purpose() {
        insta::assert_json_snapshot!(super::document());
    }
}
