//! The HTTP routes: who may, what was asked, what came of it.

mod begin;
mod body;
mod cancel;
mod look;
mod openapi;

use crate::app::{App, clock};
use crate::request::Http;
use fleet_clients::auth::{Refusal, Role};
use fleet_clients::reply::{self, Problem};
use fleet_clients::telemetry::Audit;
use fleet_core::rollout::{Kind, State};
use fleet_protocol::ids::CommandId;
use serde::Serialize;
use serde_json::Value;

const ROOT: &str = "/api/v1/admin/";

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Create,
    List,
    Document,
    Get(CommandId),
    Cancel(CommandId),
    Rollback(CommandId),
    Act(Kind),
}

/// A request that was let in and is being answered.
struct Asked<'a> {
    http: &'a Http,
    /// Whose token it is, by the beginning of its hash.
    by: String,
    request_id: &'a str,
}

/// The answer to a request that begins something.
#[derive(Debug, Serialize)]
struct Accepted {
    id: CommandId,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<&'static str>,
    state: State,
    targets: Vec<String>,
    status_url: String,
    /// How it will go, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Answers a request over HTTP in any case.
pub(crate) async fn answer(app: &App, http: &Http, request_id: &str) -> Value {
    let route = match Route::of(&http.method, &http.path) {
        Ok(route) => route,
        Err(problem) => return problem.into_response(),
    };
    let needs = if route.changes().is_some() { Role::Operator } else { Role::Reader };
    let checked = app.gate.check(http.authorization.as_deref(), needs).await;
    let who = match checked {
        Ok(caller) | Err(Refusal::Forbidden { caller, .. }) => Some(caller),
        Err(_) => None,
    };
    let answer = match checked {
        Ok(caller) => {
            let caller = caller.to_string();
            let by = caller.rsplit_once(':').map_or("", |(_, hash)| hash).to_owned();
            respond(app, &route, &Asked { http, by, request_id }).await
        }
        Err(refusal) => Err(refusal.into()),
    };
    if let Some(what) = route.changes() {
        let (status, detail) = match &answer {
            Ok((status, body)) => {
                (*status, format!("deployment {}", body["id"].as_str().unwrap_or("?")))
            }
            Err(problem) => (problem.status, problem.detail.clone()),
        };
        // What was asked is told as far as it could be read: nothing of it is secret.
        let asked = serde_json::from_slice(&http.body).unwrap_or(Value::Null);
        Audit { at: clock(), who, what, asked, status, detail, request_id }.emit();
    }
    match answer {
        Ok((status, body)) => reply::json(status, &body),
        Err(problem) => with_retry(problem),
    }
}

async fn respond(app: &App, route: &Route, asked: &Asked<'_>) -> Result<(u16, Value), Problem> {
    match route {
        Route::Document => Ok((200, openapi::document())),
        Route::List => look::list(app, asked.http.limit.as_deref()).await.map(ok),
        Route::Get(id) => look::one(app, id).await.map(ok),
        Route::Create => begin::deploy(app, asked).await.map(accepted),
        Route::Rollback(id) => begin::roll_back(app, asked, id).await.map(accepted),
        Route::Act(kind) => begin::act(app, asked, *kind).await.map(accepted),
        Route::Cancel(id) => cancel::cancel(app, id).await.map(|body| (202, body)),
    }
}

fn ok(body: Value) -> (u16, Value) {
    (200, body)
}

fn accepted(accepted: Accepted) -> (u16, Value) {
    (202, serde_json::to_value(accepted).expect("answers are plain values with string keys"))
}

/// A problem that goes away by itself says when to ask again, in the header that clients know.
fn with_retry(problem: Problem) -> Value {
    let mut response = problem.into_response();
    let body = response["body"].as_str().and_then(|body| serde_json::from_str::<Value>(body).ok());
    if let Some(seconds) = body.as_ref().and_then(|body| body["retry_after_seconds"].as_u64()) {
        response["headers"]["retry-after"] = Value::String(seconds.to_string());
    }
    response
}

impl Route {
    fn of(method: &str, path: &str) -> Result<Route, Problem> {
        let unknown = || Problem::new(404, "Not Found", "there is no such route");
        let rest: Vec<&str> = path.strip_prefix(ROOT).ok_or_else(unknown)?.split('/').collect();
        let (route, allowed) = match rest.as_slice() {
            ["deployments"] if method == "POST" => (Route::Create, method),
            ["deployments"] => (Route::List, "GET"),
            ["deployments", "openapi.json"] => (Route::Document, "GET"),
            ["deployments", id] => (Route::Get(deployment(id)?), "GET"),
            ["deployments", id, "cancel"] => (Route::Cancel(deployment(id)?), "POST"),
            ["deployments", id, "rollback"] => (Route::Rollback(deployment(id)?), "POST"),
            ["cleanup"] => (Route::Act(Kind::Cleanup), "POST"),
            ["refresh-secrets"] => (Route::Act(Kind::RefreshSecrets), "POST"),
            ["drain"] => (Route::Act(Kind::Drain), "POST"),
            _ => return Err(unknown()),
        };
        if method != allowed {
            let detail = format!("{path} takes {allowed}, not {method}");
            return Err(Problem::new(405, "Method Not Allowed", detail).with("allowed", allowed));
        }
        Ok(route)
    }

    /// The name of a route that changes something.
    fn changes(&self) -> Option<&'static str> {
        match self {
            Route::Create => Some("deployments.create"),
            Route::Cancel(_) => Some("deployments.cancel"),
            Route::Rollback(_) => Some("deployments.rollback"),
            Route::Act(Kind::Cleanup) => Some("fleet.cleanup"),
            Route::Act(Kind::RefreshSecrets) => Some("fleet.refresh-secrets"),
            Route::Act(_) => Some("fleet.drain"),
            Route::List | Route::Document | Route::Get(_) => None,
        }
    }
}

/// An id as SSM gives them. Anything else is nobody's, and SSM need not be asked.
fn deployment(id: &str) -> Result<CommandId, Problem> {
    let fits = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        });
    if fits { Ok(CommandId::new(id)) } else { Err(no_such(id)) }
}

fn no_such(id: &str) -> Problem {
    let shown: String = id.chars().take(60).collect();
    Problem::new(
        404,
        "Not Found",
        format!("there is no deployment {shown:?}; SSM keeps them for 30 days"),
    )
}

/// A well-formed id may be that of an order which SSM took a moment ago and does not list yet.
fn no_such_yet(id: &CommandId) -> Problem {
    no_such(id.as_str()).with("retry_after_seconds", 5)
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(503, "Service Unavailable", detail).with("retry_after_seconds", 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let id = "0831e1a8-a1ac-4257-a1fd-c831bb48c7ad";
        let get = |path: &str| Route::of("GET", path).map_err(|problem| problem.status);
        let post = |path: &str| Route::of("POST", path).map_err(|problem| problem.status);
        assert_eq!(get("/api/v1/admin/deployments"), Ok(Route::List));
        assert_eq!(post("/api/v1/admin/deployments"), Ok(Route::Create));
        assert_eq!(
            get(&format!("/api/v1/admin/deployments/{id}")),
            Ok(Route::Get(CommandId::new(id)))
        );
        assert_eq!(get("/api/v1/admin/deployments/openapi.json"), Ok(Route::Document));
        assert_eq!(
            post(&format!("/api/v1/admin/deployments/{id}/cancel")),
            Ok(Route::Cancel(CommandId::new(id)))
        );
        assert_eq!(post("/api/v1/admin/drain"), Ok(Route::Act(Kind::Drain)));
        assert_eq!(get("/api/v1/admin/drain"), Err(405));
        assert_eq!(post(&format!("/api/v1/admin/deployments/{id}")), Err(405));
        for path in [
            "/",
            "/api/v1/admin",
            "/api/v1/admin/deployments/",
            "/api/v1/admin/deployments/../x",
            "/api/v1/admin/deployments/{id}",
        ] {
            assert_eq!(get(path), Err(404), "{path}");
        }
    }
}
