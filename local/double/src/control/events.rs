//! EC2's announcements, and events that are lost, doubled, late or out of order.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{App, Seconds, answer, refuse, span};
use crate::disturb::Disturbance;

pub(super) async fn reclaim(
    State(account): App,
    Path(id): Path<String>,
    Json(notice): Json<Seconds>,
) -> Response {
    let done = span("seconds", notice.seconds)
        .and_then(|notice| account.reclaim_instance(&id, notice))
        .map(|()| json!({}));
    answer(done)
}

pub(super) async fn rebalance(State(account): App, Path(id): Path<String>) -> Response {
    answer(account.recommend_rebalance(&id).map(|()| json!({})))
}

pub(super) async fn disturb(
    State(account): App,
    Json(plan): Json<BTreeMap<String, Disturbance>>,
) -> Response {
    match account.with_bus(|bus, _| bus.disturbances.replace(plan)) {
        Ok(()) => Json(json!({})).into_response(),
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

pub(super) async fn given_up(State(account): App) -> Json<Value> {
    Json(account.with_bus(|bus, _| json!(bus.given_up())))
}
