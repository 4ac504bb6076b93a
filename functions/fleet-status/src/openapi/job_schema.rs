//! The passport of a job, as a schema.

use super::{count, moment, object, or_null, text};
use serde_json::{Value, json};

pub(super) fn job() -> Value {
    let at = || or_null(moment());
    object(json!({
        "id": text(), "at": moment(), "queue": text(), "target": or_null(text()),
        "state": { "enum": ["created", "retry", "active", "completed", "expired", "cancelled", "failed", "other"] },
        "archived": boolean(), "expired": or_null(boolean()),
        "application": or_null(object(json!({
            "id": text(), "status": text(), "worker_id": or_null(text()), "created_at": at(),
            "started_at": at(), "completed_at": at(),
        }))),
        "enqueued_at": at(), "due_at": at(), "claimed_at": at(), "ended_at": at(),
        "retries": object(json!({
            "made": or_null(count()), "limit": or_null(count()), "delay_s": or_null(count()),
            "backoff": or_null(boolean()),
        })),
        "wait": or_null(wait()),
        "worker_id": or_null(text()),
        "machine": or_null(object(json!({
            "instance_id": text(), "requested_at": at(), "launched_at": at(), "in_service_at": at(),
            "registered_at": at(), "cause": or_null(text()),
        }))),
        "version": or_null(object(json!({ "image_tag": text(), "proven_at": moment() }))),
        "cost": or_null(object(json!({
            "currency": { "const": "USD" }, "ms": count(), "micros": count(),
        }))),
        "missing": { "type": "array", "items": missing() },
    }))
}

fn wait() -> Value {
    object(json!({
        "from": moment(), "from_is": { "enum": ["due", "enqueued"] },
        "until": moment(), "until_is": { "enum": ["claim", "end", "now"] },
        "ms": count(),
        "segments": {
            "type": "array", "description": "One after the other; together they are ms.",
            "items": object(json!({
                "kind": { "enum": ["retry", "tick", "queue", "launch", "boot", "claim", "unsplit"] },
                "from": moment(), "ms": count(), "exact": boolean(), "because": text(),
            })),
        },
    }))
}

fn missing() -> Value {
    let mut missing = object(json!({
        "part": { "enum": [
            "enqueued", "due", "end", "expiry", "retries", "earlier_attempts", "application",
            "worker", "instance", "launch", "registration", "job_before", "version", "decision",
        ] },
        "reason": { "enum": ["overwritten", "not_kept", "not_readable", "not_looked_up", "source_down"] },
        "detail": text(),
    }));
    missing["properties"]["query"] = object(json!({
        "log_group": text(), "from": moment(), "to": moment(), "query": text(),
    }));
    missing
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}
