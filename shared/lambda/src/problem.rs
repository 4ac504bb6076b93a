//! Every refusal and every failure is answered as problem details (RFC 9457).

use crate::gate::Refusal;
use crate::reply::Reply;
use fleet_core::text::cut;
use serde_json::{Map, Value, json};

/// A detail may quote what was sent.
const DETAIL_CHARS: usize = 500;

/// A refusal or a failure, as the caller is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub title: &'static str,
    /// What is wrong and what to do about it, in a sentence of at most 500 characters. Never holds
    /// a secret.
    pub detail: String,
    more: Map<String, Value>,
}

impl Problem {
    pub fn new(status: u16, title: &'static str, detail: impl AsRef<str>) -> Problem {
        Problem { status, title, detail: cut(detail.as_ref(), DETAIL_CHARS), more: Map::new() }
    }

    /// 400.
    pub fn bad_request(detail: impl AsRef<str>) -> Problem {
        Problem::new(400, "Bad Request", detail)
    }

    /// 409: this fleet only observes (`DRY_RUN`), and what was asked for would change something.
    #[must_use]
    pub fn observes_only() -> Problem {
        Problem::new(
            409,
            "Conflict",
            "this fleet only observes, so nothing was changed: deploy its stack with Mode=act",
        )
    }

    /// One more field for whoever reads the answer by machine. `retry_after_seconds` and `allowed`
    /// are sent as the headers that clients know, too.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    pub fn into_reply(self) -> Reply {
        let Problem { status, title, detail, more } = self;
        let mut body =
            json!({ "type": "about:blank", "title": title, "status": status, "detail": detail });
        let mut headers = Vec::new();
        if let Some(seconds) = more.get("retry_after_seconds").and_then(Value::as_u64) {
            headers.push(("retry-after", seconds.to_string()));
        }
        if let Some(methods) = more.get("allowed").and_then(Value::as_str) {
            headers.push(("allow", methods.to_owned()));
        }
        if status == 401 {
            headers.push(("www-authenticate", "Bearer".to_owned()));
        }
        if let Value::Object(fields) = &mut body {
            fields.extend(more);
        }
        let reply = Reply::new(status, "application/problem+json", body.to_string());
        headers.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Missing => Problem::new(
                401,
                "Unauthorized",
                "send a token of the fleet as Authorization: Bearer <token>",
            ),
            Refusal::Wrong => Problem::new(
                401,
                "Unauthorized",
                "the token is not one of the fleet's, or it was rotated out; get the current one",
            ),
            Refusal::Forbidden { caller, needs } => Problem::new(
                403,
                "Forbidden",
                format!("this needs the scope {needs}; the token of {} has {}", caller.name(), caller.scopes()),
            ),
            Refusal::Unavailable => Problem::new(
                503,
                "Service Unavailable",
                "the fleet's tokens cannot be read from Secrets Manager now, so nobody knows whether this one is \
                 valid; try again",
            )
            .with("retry_after_seconds", 15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &Value) -> Value {
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn a_problem_is_told_by_rfc_9457_with_what_the_machine_wants_to_know_beside_it() {
        let problem = Problem::new(409, "Conflict", "another deployment runs");
        let answer = problem.with("running", "c0ffee").into_reply().into_response();
        assert_eq!(answer["statusCode"], 409);
        assert_eq!(answer["headers"]["content-type"], "application/problem+json");
        let expected = json!({
            "type": "about:blank", "title": "Conflict", "status": 409,
            "detail": "another deployment runs", "running": "c0ffee"
        });
        assert_eq!(body(&answer), expected);
    }

    #[test]
    fn who_is_not_let_in_learns_why_and_what_to_send() {
        let answer = Problem::from(Refusal::Missing).into_reply().into_response();
        assert_eq!(answer["statusCode"], 401);
        assert_eq!(answer["headers"]["www-authenticate"], "Bearer");
        let answer = Problem::from(Refusal::Unavailable).into_reply().into_response();
        assert_eq!((&answer["statusCode"], &body(&answer)["status"]), (&json!(503), &json!(503)));
        assert_eq!(answer["headers"]["retry-after"], "15");
        assert_eq!(answer["headers"].get("www-authenticate"), None);
    }

    #[test]
    fn a_detail_is_short_whatever_it_quotes() {
        assert!(Problem::bad_request("x".repeat(1_000_000)).detail.len() < 600);
    }
}
