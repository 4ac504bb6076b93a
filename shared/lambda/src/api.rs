//! From an HTTP request to its response, by the same steps in every function.

use crate::audit::Audit;
use crate::clock::now;
use crate::gate::{Caller, Gate, Refusal, TokenSource};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use fleet_clients::tokens::Scope;
use fleet_core::text::cut;
use serde_json::{Value, json};

/// One route of a function. `template.yaml` has the same method and path.
#[derive(Debug)]
pub struct Route<R> {
    pub method: &'static str,
    /// The path; a segment `{id}` stands for any text.
    pub path: &'static str,
    pub access: Access,
    /// The name of what it changes, for the audit line that each such call leaves. `None`: it
    /// changes nothing.
    pub audit: Option<&'static str>,
    /// What the function calls it.
    pub to: R,
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Whoever shows a token with this scope.
    Needs(Scope),
}

/// A request that was let in.
#[derive(Debug)]
pub struct Call<'a> {
    pub request: &'a Request,
    /// What the path has for `{id}`.
    pub id: Option<&'a str>,
    /// `None` on an open route.
    pub caller: Option<Caller>,
    /// At most [`BODY_BYTES`](crate::BODY_BYTES).
    pub body: &'a [u8],
    /// Lambda's id of the invocation.
    pub request_id: &'a str,
    /// For the audit line: what was asked, once it is understood.
    pub asked: Value,
    /// For the audit line: what came of it; else the problem's detail, or nothing.
    pub outcome: Option<String>,
}

/// Answers a request in any case: 413 for a body that is too long, 404 and 405 (with `Allow`) for
/// what is no route, 401, 403 and 503 for who is not let in, 400 for a body that is not what it
/// says, else what `respond` makes of it. A call of a route with [`Route::audit`] leaves an audit
/// line, whether or not it is let in.
pub async fn answer<R, S: TokenSource>(
    routes: &[Route<R>],
    gate: &Gate<S>,
    request: &Request,
    request_id: &str,
    respond: impl AsyncFnOnce(&R, &mut Call<'_>) -> Result<Reply, Problem>,
) -> Value {
    let found = find(routes, request);
    let (audit, id) = match &found {
        Ok((route, id)) => (route.audit, *id),
        Err(_) => (None, None),
    };
    let (asked, outcome) = (Value::Null, None);
    let mut call = Call { request, id, caller: None, body: &[], request_id, asked, outcome };
    let mut turned_away = None;
    let answer = async {
        request.check_size()?;
        let (route, _) = found?;
        if let Access::Needs(scope) = route.access {
            match gate.check(authorization(request)?, scope).await {
                Ok(caller) => call.caller = Some(caller),
                Err(refusal) => {
                    if let Refusal::Forbidden { caller, .. } = &refusal {
                        turned_away = Some(caller.clone());
                    }
                    return Err(refusal.into());
                }
            }
        }
        call.body = request.body()?;
        respond(&route.to, &mut call).await
    }
    .await;
    if let Some(what) = audit {
        let Call { caller, asked, outcome, .. } = call;
        let (status, detail) = match &answer {
            Ok(reply) => (reply.status, outcome.as_deref().unwrap_or_default()),
            Err(problem) => (problem.status, problem.detail.as_str()),
        };
        let who = caller.or(turned_away);
        let (who, asked, at) = (who.as_ref(), &asked, now());
        Audit { at, who, what, asked, status, detail, request, request_id }.emit();
    }
    answer.unwrap_or_else(Problem::into_reply).into_response()
}

/// The answer to the HTTP API's question whether this request may go on to its function. The
/// function's own check stays; this keeps callers without a token from taking up its places.
pub async fn authorize<S: TokenSource>(gate: &Gate<S>, request: &Request) -> Value {
    let goes_on = match authorization(request) {
        Ok(header) => gate.lets_on(header).await,
        Err(_) => false,
    };
    json!({ "isAuthorized": goes_on })
}

/// The answer of a function that has no route at all.
pub fn answer_without_routes(request: &Request) -> Value {
    let problem = request.check_size().err().unwrap_or_else(no_such_route);
    problem.into_reply().into_response()
}

fn authorization(request: &Request) -> Result<Option<&str>, Problem> {
    request.header("authorization").map_err(|_| {
        let detail =
            "the Authorization header is not ASCII text; send Authorization: Bearer <token>";
        Problem::new(401, "Unauthorized", detail)
    })
}

fn find<'r, 'a, R>(
    routes: &'r [Route<R>],
    request: &'a Request,
) -> Result<(&'r Route<R>, Option<&'a str>), Problem> {
    let here: Vec<_> = routes
        .iter()
        .filter_map(|route| Some((route, matches(route.path, &request.path)?)))
        .collect();
    if here.is_empty() {
        return Err(no_such_route());
    }
    if let Some((route, id)) = here.iter().find(|(route, _)| route.method == request.method) {
        return Ok((route, *id));
    }
    let mut allowed: Vec<&str> = here.iter().map(|(route, _)| route.method).collect();
    allowed.sort_unstable();
    allowed.dedup();
    let allowed = allowed.join(", ");
    let (path, method) = (cut(&request.path, 100), cut(&request.method, 20));
    let detail = format!("{path} takes {allowed}, not {method}");
    Err(Problem::new(405, "Method Not Allowed", detail).with("allowed", allowed))
}

/// Whether the path is the route's, and what it has for `{id}`.
fn matches<'a>(route: &str, path: &'a str) -> Option<Option<&'a str>> {
    let (mut id, mut path) = (None, path.split('/'));
    for segment in route.split('/') {
        let theirs = path.next()?;
        if segment == "{id}" && !theirs.is_empty() {
            id = Some(theirs);
        } else if segment != theirs {
            return None;
        }
    }
    path.next().is_none().then_some(id)
}

fn no_such_route() -> Problem {
    Problem::new(404, "Not Found", "this function has no such route")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::request;

    const ROUTES: [Route<u8>; 3] = [
        Route { method: "GET", path: "/a/x", access: Access::Open, audit: None, to: 1 },
        Route { method: "GET", path: "/a/{id}", access: Access::Open, audit: None, to: 2 },
        Route { method: "POST", path: "/a/{id}/end", access: Access::Open, audit: None, to: 3 },
    ];

    fn found(method: &str, path: &str) -> Result<(u8, Option<String>), (u16, Option<String>)> {
        let request = request(method, path, Value::Null);
        let found = find(&ROUTES, &request).map(|(route, id)| (route.to, id.map(str::to_owned)));
        found.map_err(|problem| {
            let response = problem.into_reply().into_response();
            let allow = response["headers"]["allow"].as_str().map(str::to_owned);
            (u16::try_from(response["statusCode"].as_u64().unwrap()).unwrap(), allow)
        })
    }

    #[test]
    fn a_route_is_found_by_method_and_path_and_the_first_one_wins() {
        assert_eq!(found("GET", "/a/x"), Ok((1, None)));
        assert_eq!(found("GET", "/a/y"), Ok((2, Some("y".to_owned()))));
        assert_eq!(found("POST", "/a/y/end"), Ok((3, Some("y".to_owned()))));
        for path in ["/", "/a", "/a/", "/a/y/", "/a/y/end/", "/a//end", "/b/x", ""] {
            assert_eq!(found("GET", path), Err((404, None)), "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_answered_with_the_right_ones() {
        assert_eq!(found("PUT", "/a/x"), Err((405, Some("GET".to_owned()))));
        assert_eq!(found("GET", "/a/y/end"), Err((405, Some("POST".to_owned()))));
    }

    #[test]
    fn a_function_without_routes_says_so() {
        let status = |more| answer_without_routes(&request("GET", "/", more))["statusCode"].clone();
        assert_eq!(status(Value::Null), 404);
        assert_eq!(status(json!({ "body": "x".repeat(20_000) })), 413);
    }
}
