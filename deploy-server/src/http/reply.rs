//! Replies: a status and a JSON value.

use fleet_protocol::exposition::{self, Exposition};
use http_body_util::Full;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde::Serialize;
use serde_json::{Value, json};

use crate::deploy::model::Outcome;
use crate::state::Entry;

#[derive(Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Reply {
    pub(super) fn new(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("replies are plain data");
        Self { status, body }
    }
}

/// A reply that is serialised already; clones share the bytes.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    status: u16,
    kind: &'static str,
    body: Bytes,
}

impl Encoded {
    /// Metrics as text.
    pub(super) fn exposition(page: Exposition) -> Self {
        let body = Bytes::from(page.into_text());
        Self { status: 200, kind: exposition::CONTENT_TYPE, body }
    }
}

impl From<Reply> for Encoded {
    fn from(reply: Reply) -> Self {
        let body = serde_json::to_vec(&reply.body).expect("a JSON value can be written");
        Self {
            status: reply.status,
            kind: "application/json;charset=utf-8",
            body: Bytes::from(body),
        }
    }
}

impl From<Encoded> for Response<Full<Bytes>> {
    fn from(reply: Encoded) -> Self {
        let mut response = Self::new(Full::new(reply.body));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).expect("statuses are literals of this module");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

pub(super) fn internal(error: &dyn std::error::Error) -> Reply {
    tracing::error!(error = %error, "this server cannot read its own state, and answered a request with 500");
    refusal(500, "The host server cannot read its own state; see its log")
}

pub(super) fn not_found() -> Reply {
    Reply { status: 404, body: json!({ "error": "not_found" }) }
}

pub(super) fn refusal(status: u16, message: &str) -> Reply {
    Reply { status, body: json!({ "success": false, "message": message }) }
}

/// The reply to whoever waited for a deploy. A deploy that was rolled back is a failure.
pub(super) fn deploy_result(entry: &Entry) -> Reply {
    let tag = &entry.image_tag;
    let rollback = entry.kind == crate::deploy::model::Kind::Rollback;
    let message = match (entry.status, rollback) {
        (Outcome::Deployed, false) => format!("Deploy successful: {tag}"),
        (Outcome::Deployed, true) => format!("Rolled back to {tag}"),
        (Outcome::Failed, _) => format!("Deploy failed, nothing was touched: {tag}"),
        (Outcome::RolledBack, _) => {
            format!("Deploy failed, the previous containers run again: {tag}")
        }
        (Outcome::Down, _) => {
            format!("Deploy failed, and the previous containers could not be restored: {tag}")
        }
    };
    let success = entry.status == Outcome::Deployed;
    let mut body = serde_json::to_value(entry).expect("entries are plain data");
    let fields = body.as_object_mut().expect("an entry is an object");
    fields.remove("id");
    fields.insert("deployId".to_owned(), json!(entry.id));
    fields.insert("success".to_owned(), json!(success));
    fields.insert("message".to_owned(), json!(message));
    if success {
        fields.retain(|name, _| {
            !matches!(name.as_str(), "error" | "failedStep" | "failedService" | "log")
        });
        if rollback {
            fields.insert("rollbackImageTag".to_owned(), json!(tag));
        }
    }
    Reply { status: if success { 200 } else { 500 }, body }
}
