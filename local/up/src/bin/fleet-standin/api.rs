//! The API service: it is there, and it says which version it is.

use axum::Router;
use axum::routing::get;
use serde_json::json;

use crate::{answer, identity, joined};

pub(crate) fn router() -> Router {
    let body = |status: &str| joined(json!({ "status": status, "service": "api" }), identity());
    Router::new()
        .route("/health", get(move || async move { answer(200, body("ok")) }))
        .route("/health/version", get(move || async move { answer(200, body("ok")) }))
        .fallback(|| async { answer(404, json!({ "error": "not_found" })) })
}
