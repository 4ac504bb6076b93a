//! The HTTP routes: who may, what was asked, what came of it.

mod begin;
mod body;
mod cancel;
mod look;
mod openapi;
mod pause;

use crate::app::App;
use fleet_core::rollout::{Kind, State};
use fleet_lambda::{Access, Call, Problem, Reply, Request, Route, Scope, answer};
use fleet_protocol::ids::CommandId;
use serde::Serialize;
use serde_json::Value;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Create,
    List,
    Document,
    Get,
    Cancel,
    Pause,
    Continue,
    Rollback,
    Act(Kind),
}

const ROUTES: [Route<To>; 11] = [
    post("/api/v1/admin/deployments", "deployments.create", To::Create),
    get("/api/v1/admin/deployments", To::List),
    get("/api/v1/admin/deployments/openapi.json", To::Document),
    get("/api/v1/admin/deployments/{id}", To::Get),
    post("/api/v1/admin/deployments/{id}/cancel", "deployments.cancel", To::Cancel),
    post("/api/v1/admin/deployments/{id}/pause", "deployments.pause", To::Pause),
    post("/api/v1/admin/deployments/{id}/continue", "deployments.continue", To::Continue),
    post("/api/v1/admin/deployments/{id}/rollback", "deployments.rollback", To::Rollback),
    post("/api/v1/admin/cleanup", "fleet.cleanup", To::Act(Kind::Cleanup)),
    post("/api/v1/admin/refresh-secrets", "fleet.refresh-secrets", To::Act(Kind::RefreshSecrets)),
    post("/api/v1/admin/drain", "fleet.drain", To::Act(Kind::Drain)),
];

const fn get(path: &'static str, to: To) -> Route<To> {
    Route { method: "GET", path, access: Access::Needs(Scope::Read), audit: None, to }
}

const fn post(path: &'static str, audit: &'static str, to: To) -> Route<To> {
    let access = Access::Needs(Scope::Operate);
    Route { method: "POST", path, access, audit: Some(audit), to }
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
pub(crate) async fn handle(app: &App, request: &Request, request_id: &str) -> Value {
    let respond = async |to: &To, call: &mut Call<'_>| respond(app, *to, call).await;
    answer(&ROUTES, &app.gate, request, request_id, respond).await
}

async fn respond(app: &App, to: To, call: &mut Call<'_>) -> Result<Reply, Problem> {
    let looks = matches!(to, To::Document | To::List | To::Get);
    if app.config.dry_run && !looks {
        return Err(Problem::observes_only());
    }
    match to {
        To::Document => Ok(Reply::json(200, &openapi::document())),
        To::List => {
            let list = look::list(app, call.request.query("limit")).await?;
            Ok(Reply::json(200, &list))
        }
        To::Get => Ok(Reply::json(200, &look::one(app, &deployment(call)?).await?)),
        To::Create => begin::deploy(app, call).await.map(|it| accepted(call, &it)),
        To::Rollback => {
            let id = deployment(call)?;
            begin::roll_back(app, call, &id).await.map(|it| accepted(call, &it))
        }
        To::Act(kind) => begin::act(app, call, kind).await.map(|it| accepted(call, &it)),
        To::Cancel => {
            let id = deployment(call)?;
            let body = cancel::cancel(app, &id).await?;
            call.outcome = Some(format!("deployment {id}"));
            Ok(Reply::json(202, &body))
        }
        To::Pause | To::Continue => {
            let id = deployment(call)?;
            let body = pause::pause(app, &id, to == To::Pause).await?;
            call.outcome = Some(format!("deployment {id}"));
            Ok(Reply::json(202, &body))
        }
    }
}

fn accepted(call: &mut Call<'_>, accepted: &Accepted) -> Reply {
    call.outcome = Some(format!("deployment {}", accepted.id));
    Reply::json(202, accepted)
}

/// The id in the path, as SSM gives them. Anything else is nobody's, and SSM need not be asked.
fn deployment(call: &Call<'_>) -> Result<CommandId, Problem> {
    let id = call.id.unwrap_or_default();
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
    fn every_route_is_in_the_document_and_nothing_else() {
        let document = openapi::document();
        for Route { method, path, .. } in ROUTES {
            let operation = &document["paths"][path][method.to_lowercase()];
            assert!(operation.is_object(), "{method} {path}");
        }
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.map(|path| path.as_object().unwrap().len());
        assert_eq!(operations.sum::<usize>(), ROUTES.len());
    }
}
