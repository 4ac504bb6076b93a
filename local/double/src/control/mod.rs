//! The control plane, for tests that are not written in Rust: JSON under `/_double`. README.md
//! lists the requests.

mod commands;
mod events;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{Account, lock};
use crate::asg::GroupSpec;
use crate::error::ApiError;
use crate::faults::PlannedFault;
use crate::imds;
use crate::lambda::{Function, FunctionConfig, HttpApi, Route};
use crate::pattern::Pattern;

type App = State<Arc<Account>>;

pub(crate) fn router() -> Router<Arc<Account>> {
    Router::new()
        .route("/status", get(status))
        .route("/clock/advance", post(advance))
        .route("/groups", post(create_group))
        .route("/groups/{name}", get(group))
        .route("/groups/{name}/boot", post(set_boot))
        .route("/instances/{id}/lose", post(lose))
        .route("/instances/{id}/reclaim", post(events::reclaim))
        .route("/instances/{id}/rebalance", post(events::rebalance))
        .route("/commands", get(commands::commands))
        .route("/commands/runner", post(commands::set_runner))
        .route("/commands/faults", post(commands::plan_fault))
        .route("/commands/settings", post(commands::change_settings))
        .route("/agents/{id}", post(commands::set_agent))
        .route("/agents/{id}/kill", post(commands::kill_agent))
        .route("/calls", get(calls).delete(clear_calls))
        .route("/events", get(transitions))
        .route("/bus", get(bus))
        .route("/bus/given-up", get(events::given_up))
        .route("/disturbances", put(events::disturb))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/functions", post(add_function))
        .route("/functions/{name}", get(function))
        .route("/schedules", post(schedule))
        .route("/rules", post(rule))
        .route("/http-apis", post(http_api))
        .route("/imds/{id}/latest/api/token", put(imds::token))
        .route("/imds/{id}/latest/meta-data/{*path}", get(imds::metadata))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "no such control request") })
}

fn refuse(status: StatusCode, error: impl ToString) -> Response {
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}

fn answer(result: Result<Value, ApiError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

/// Seconds of a request as a time, at most a week.
fn span(field: &str, seconds: f64) -> Result<Duration, ApiError> {
    if (0.0..=604_800.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(ApiError::validation(format!("{field} must be 0 to 604800 seconds, not {seconds}")))
    }
}

async fn status(State(account): App) -> Json<Value> {
    let groups = account.with_groups(|asg| json!(asg.groups()));
    Json(json!({
        "region": account.config.region,
        "account": account.config.account,
        "now": account.clock.now(),
        "manual_clock": account.clock.is_manual(),
        "groups": groups,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seconds {
    seconds: f64,
}

async fn advance(State(account): App, Json(by): Json<Seconds>) -> Response {
    let Ok(by) = Duration::try_from_secs_f64(by.seconds) else {
        return refuse(StatusCode::BAD_REQUEST, "seconds must not be negative");
    };
    match account.advance(by).await {
        Ok(()) => Json(json!({ "now": account.clock.now() })).into_response(),
        Err(error) => refuse(StatusCode::CONFLICT, error),
    }
}

async fn create_group(State(account): App, Json(spec): Json<GroupSpec>) -> Response {
    answer(account.with_groups(|asg| asg.create_simple(spec)).map(|()| json!({})))
}

async fn group(State(account): App, Path(name): Path<String>) -> Response {
    answer(account.with_groups(|asg| asg.group(&name).map(|group| json!(group))))
}

async fn set_boot(
    State(account): App,
    Path(name): Path<String>,
    Json(boot): Json<Seconds>,
) -> Response {
    answer(account.with_groups(|asg| asg.set_boot(&name, boot.seconds)).map(|()| json!({})))
}

async fn lose(State(account): App, Path(id): Path<String>) -> Response {
    answer(account.with_groups(|asg| asg.lose_instance(&id)).map(|()| json!({})))
}

async fn calls(State(account): App) -> Json<Value> {
    Json(json!(account.journal.calls()))
}

async fn clear_calls(State(account): App) -> Json<Value> {
    account.journal.clear();
    Json(json!({}))
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn transitions(State(account): App, Query(Since { since }): Query<Since>) -> Json<Value> {
    // What is due has happened, also before the engine's next turn.
    account.with_groups(|_| ());
    Json(json!(account.transitions.since(since)))
}

async fn bus(State(account): App) -> Json<Value> {
    Json(account.with_bus(|bus, _| json!(bus.events())))
}

async fn faults(State(account): App) -> Json<Value> {
    Json(json!(account.faults.planned()))
}

async fn add_fault(State(account): App, Json(planned): Json<PlannedFault>) -> Json<Value> {
    account.faults.add(&planned.action, planned.times, planned.fault);
    Json(json!({}))
}

async fn clear_faults(State(account): App) -> Json<Value> {
    account.faults.clear();
    Json(json!({}))
}

async fn add_function(State(account): App, Json(config): Json<FunctionConfig>) -> Response {
    match Function::start(config).await {
        Ok(function) => {
            account.add_function(function);
            Json(json!({})).into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

fn unknown_function(name: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("function '{name}' is not known: add it first"))
}

async fn function(State(account): App, Path(name): Path<String>) -> Response {
    let Some(function) = account.function(&name) else { return unknown_function(&name) };
    Json(json!({ "cold_starts": function.cold_starts(), "logs": function.logs() })).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSchedule {
    name: String,
    rate: String,
    function: String,
    input: Option<Value>,
}

async fn schedule(State(account): App, Json(new): Json<NewSchedule>) -> Response {
    if account.function(&new.function).is_none() {
        return unknown_function(&new.function);
    }
    match account
        .with_bus(|bus, now| bus.schedule(&new.name, &new.rate, &new.function, new.input, now))
    {
        Ok(()) => Json(json!({})).into_response(),
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRule {
    pattern: Value,
    function: String,
}

async fn rule(State(account): App, Json(new): Json<NewRule>) -> Response {
    if account.function(&new.function).is_none() {
        return unknown_function(&new.function);
    }
    match Pattern::read(&new.pattern) {
        Ok(pattern) => {
            account.with_bus(|bus, _| bus.add_rule(pattern, &new.function));
            Json(json!({})).into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHttpApi {
    routes: Vec<Route>,
    #[serde(default)]
    port: u16,
}

async fn http_api(State(account): App, Json(new): Json<NewHttpApi>) -> Response {
    match HttpApi::start(Arc::clone(&account), new.routes, new.port).await {
        Ok(api) => {
            let endpoint = api.endpoint();
            lock(&account.http_apis).push(api);
            Json(json!({ "endpoint": endpoint })).into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_lists_every_request() {
        let readme = include_str!("../../README.md");
        let routes = include_str!("mod.rs").lines().filter_map(|line| {
            let (path, methods) = line.trim().strip_prefix(".route(\"")?.split_once('"')?;
            Some((path, methods))
        });
        let mut count = 0;
        for (path, methods) in routes {
            for method in ["get", "post", "put", "delete"] {
                if methods.contains(&format!("{method}(")) {
                    let request = format!("`{} {path}", method.to_uppercase());
                    assert!(readme.contains(&request), "{request}");
                    count += 1;
                }
            }
        }
        assert!(count >= 30, "the routes are read as they are written: {count}");
    }
}
