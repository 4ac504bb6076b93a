//! What this function offers, as OpenAPI. Written once; the tests hold it against the routes and
//! against real answers.

mod job_schema;

use serde_json::{Value, json};

pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "GhostHands Fleet: status and capacity",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "How the fleet is and why, and how long an operator wants to hold it otherwise.",
        },
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "FLEET_READER_TOKEN to look, FLEET_OPERATOR_TOKEN to change.",
                },
            },
            "schemas": schemas(),
        },
    })
}

fn paths() -> Value {
    let html = json!({ "description": "The page", "content": { "text/html": { "schema": { "type": "string" } } } });
    let mut set = guarded(
        "Set or remove the floor and the pause (operator)",
        &[
            (200, "Overrides"),
            (400, "Problem"),
            (403, "Problem"),
            (409, "Problem"),
            (502, "Problem"),
        ],
    );
    let mut job = guarded(
        "What happened to one job. What a source does not have is named in missing, and its field is null",
        &[(200, "Job"), (400, "Problem"), (404, "Problem")],
    );
    job["parameters"] = json!([{
        "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" },
        "description": "pg-boss's id of the job, or the application's.",
    }]);
    let mut metrics = guarded(
        "The fleet's figures as text for Prometheus. Those of a source that did not answer are left out",
        &[],
    );
    metrics["responses"]["200"] = json!({
        "description": "Prometheus's text format, version 0.0.4",
        "content": { "text/plain": { "schema": { "type": "string" } } },
    });
    set["requestBody"] = json!({ "required": true, "content": json_of("CapacityWish") });
    json!({
        "/": { "get": { "summary": "The page that shows the fleet", "responses": { "200": html } } },
        "/healthz": {
            "get": {
                "summary": "Whether this function runs; says nothing of the fleet",
                "responses": { "200": response("Health") },
            },
        },
        "/openapi.json": { "get": guarded("This document", &[(200, "Document")]) },
        "/api/v1/admin/fleet-status": {
            "get": guarded("How the fleet is. Sources that did not answer are named, and their fields are null", &[(200, "Status")]),
        },
        "/api/v1/admin/jobs/{id}": { "get": job },
        "/api/v1/admin/metrics": { "get": metrics },
        "/api/v1/admin/capacity": { "put": set },
    })
}

/// An operation that takes a token.
fn guarded(summary: &str, answers: &[(u16, &str)]) -> Value {
    let refusals = [(401, "Problem"), (503, "Problem")];
    let responses = answers.iter().chain(&refusals).map(|(status, schema)| {
        let kind = if *schema == "Problem" { problem() } else { response(schema) };
        (status.to_string(), kind)
    });
    json!({
        "summary": summary,
        "security": [{ "token": [] }],
        "responses": Value::Object(responses.collect()),
    })
}

fn response(schema: &str) -> Value {
    json!({ "description": schema, "content": json_of(schema) })
}

fn json_of(schema: &str) -> Value {
    json!({ "application/json": { "schema": reference(schema) } })
}

fn problem() -> Value {
    let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
    json!({ "description": "What is wrong and what to do about it (RFC 9457)", "content": content })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn schemas() -> Value {
    let expiry = |more: &[(&str, Value)]| {
        let mut properties = json!({
            "expires_at": { "type": "string", "format": "date-time", "description": "At most 7 days ahead." },
            "for_minutes": { "type": "integer", "minimum": 1, "maximum": 10_080 },
        });
        for (name, schema) in more {
            properties[*name] = schema.clone();
        }
        json!({
            "type": ["object", "null"], "additionalProperties": false, "properties": properties,
            "required": more.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "description": "One of expires_at and for_minutes says when it ends. Null removes it.",
        })
    };
    let mut schemas = json!({
        "Health": object(json!({ "status": { "const": "ok" }, "version": text() })),
        "Document": { "type": "object", "required": ["openapi", "info", "paths"] },
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": text(), "title": text(), "status": { "type": "integer" }, "detail": text(),
                "field": { "type": "string", "description": "The field that is wrong." },
            },
        },
        "CapacityWish": {
            "type": "object", "additionalProperties": false, "minProperties": 1,
            "properties": {
                "floor": expiry(&[("workers", json!({ "type": "integer", "minimum": 0, "maximum": 1000, "description": "At most the fleet's maximum." }))]),
                "paused": expiry(&[]),
            },
        },
        "Overrides": object(json!({
            "floor": or_null(object(json!({ "workers": count(), "until": moment() }))),
            "paused": or_null(object(json!({ "until": moment() }))),
        })),
        "Status": status(),
    });
    schemas["Capacity"] = capacity();
    schemas["Job"] = job_schema::job();
    schemas
}

fn status() -> Value {
    let list = |items: Value| json!({ "type": "array", "items": items });
    let series = list(json!({ "type": ["integer", "null"], "minimum": 0 }));
    object(json!({
        "enabled": { "type": "boolean" },
        "asgName": text(),
        "currentCapacity": or_null(count()),
        "queueDepth": or_null(count()),
        "activeWorkers": or_null(count()),
        "idleWorkers": or_null(count()),
        "at": moment(),
        "environment": text(),
        "dry_run": { "type": "boolean" },
        "queue": or_null(object(json!({
            "ready": count(), "due_soon": count(), "deferred": or_null(count()), "active": or_null(count()),
            "expired": or_null(count()), "oldest_wait_s": count(),
            "targeted": list(object(json!({ "worker_id": text(), "ready": count(), "active": or_null(count()) }))),
            "targeted_omitted": count(),
            "schema_version": count(), "schema_tested": { "type": "boolean" },
        }))),
        "capacity": or_null(reference("Capacity")),
        "instances": or_null(list(object(json!({
            "instance_id": text(), "lifecycle": text(), "healthy": { "type": "boolean" },
            "protected": { "type": "boolean" }, "version": or_null(text()), "proven_at": or_null(moment()),
            "unproven": or_null(text()), "drift": { "type": ["boolean", "null"] },
        })))),
        "instances_omitted": count(),
        "workers": or_null(list(object(json!({
            "worker_id": text(), "instance_id": or_null(text()),
            "state": { "enum": ["idle", "busy", "draining", "offline", "silent", "unknown"] },
            "job_id": or_null(text()), "heartbeat_at": moment(), "registered_at": or_null(moment()),
        })))),
        "workers_omitted": count(),
        "versions": object(json!({
            "stable": or_null(object(json!({ "image_tag": text(), "deployment_id": or_null(text()), "at": or_null(text()) }))),
            "drifted": or_null(count()), "unknown": or_null(count()),
        })),
        "decisions": or_null(list(object(json!({
            "at": moment(), "from": or_null(count()), "to": or_null(count()), "rule": text(),
            "because": text(), "failed": { "type": "boolean" },
        })))),
        "series": or_null(object(json!({
            "at": list(json!({ "type": "integer" })), "ready": series, "active": series, "desired": series, "in_service": series,
        }))),
        "cost": or_null(object(json!({
            "currency": { "const": "USD" }, "instances": count(), "hour_micros": count(),
            "month_micros": count(), "month_at_min_micros": count(), "month_at_max_micros": count(),
        }))),
        "unavailable": list(object(json!({
            "source": { "enum": ["group", "queue", "active_jobs", "workers", "memory", "versions", "stable"] },
            "cause": { "enum": ["unreachable", "timed_out", "failed", "missing", "unreadable", "not_asked"] },
            "reason": text(),
        }))),
    }))
}

fn capacity() -> Value {
    let bounds = || object(json!({ "min": count(), "max": count() }));
    let texts = || json!({ "type": "array", "items": text() });
    object(json!({
        "min": or_null(count()), "max": or_null(count()), "configured": bounds(), "own": bounds(),
        "desired": count(), "in_service": count(), "pending": count(), "draining": count(), "other": count(),
        "floor": or_null(object(json!({ "workers": count(), "until": moment() }))),
        "paused": or_null(object(json!({ "until": moment() }))),
        "problems": texts(), "suspended": texts(),
    }))
}

/// An object with just these properties, all of them always there.
fn object(properties: Value) -> Value {
    let names: Vec<String> =
        properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "type": "object", "required": names, "properties": properties, "additionalProperties": false })
}

fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn moment() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;
    use fleet_lambda::{Access, Route};

    #[test]
    fn the_document_changes_only_on_purpose() {
        insta::assert_json_snapshot!(document());
    }

    #[test]
    fn every_route_is_in_it_and_nothing_else() {
        let document = document();
        let mut operations = 0;
        for Route { method, path, access, .. } in ROUTES {
            let operation = &document["paths"][path][method.to_lowercase()];
            assert!(operation.is_object(), "{method} {path}");
            let open = access == Access::Open;
            assert_eq!(operation.get("security").is_none(), open, "{method} {path}");
            operations += 1;
        }
        let paths = document["paths"].as_object().unwrap().values();
        assert_eq!(paths.map(|path| path.as_object().unwrap().len()).sum::<usize>(), operations);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(value: &Value, schemas: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        let name = to.strip_prefix("#/components/schemas/").unwrap();
                        assert!(schemas[name].is_object(), "{to}");
                    }
                    fields.values().for_each(|value| check(value, schemas));
                }
                Value::Array(items) => items.iter().for_each(|item| check(item, schemas)),
                _ => {}
            }
        }
        let document = document();
        check(&document, &document["components"]["schemas"]);
    }
}
