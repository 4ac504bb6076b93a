//! What the functions answer over HTTP: responses of API Gateway's payload version 2.0, with every
//! refusal as problem details (RFC 9457).

use crate::auth::Refusal;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A JSON answer. Nothing the functions say may be kept by anybody in between.
pub fn json(status: u16, body: &impl Serialize) -> Value {
    let body = serde_json::to_string(body).expect("answers are plain values with string keys");
    response(status, "application/json", body)
}

/// A refusal or a failure, as the caller is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub title: &'static str,
    /// What is wrong and what to do about it, in a sentence. Never holds a secret.
    pub detail: String,
    more: Map<String, Value>,
}

impl Problem {
    pub fn new(status: u16, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), more: Map::new() }
    }

    /// One more field for whoever reads the answer by machine.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    pub fn into_response(self) -> Value {
        let Problem { status, title, detail, more } = self;
        let mut body =
            json!({ "type": "about:blank", "title": title, "status": status, "detail": detail });
        if let Value::Object(fields) = &mut body {
            fields.extend(more);
        }
        let mut answer = response(status, "application/problem+json", body.to_string());
        if status == 401 {
            answer["headers"]["www-authenticate"] = json!("Bearer");
        }
        answer
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Problem::new(
                401,
                "Unauthorized",
                "send a token of the fleet as Authorization: Bearer …",
            ),
            Refusal::Wrong => Problem::new(
                401,
                "Unauthorized",
                "the token is not one of the fleet's, or it was rotated out; get the current one",
            ),
            Refusal::Forbidden { caller, needs } => Problem::new(
                403,
                "Forbidden",
                format!(
                    "this takes the {needs}'s token, and the one sent is the {}'s",
                    caller.role
                ),
            ),
            Refusal::Unavailable => Problem::new(
                503,
                "Service Unavailable",
                "the tokens could not be looked up, so nobody knows whether this one is valid; try again",
            ),
        }
    }
}

fn response(status: u16, content_type: &str, body: String) -> Value {
    json!({
        "statusCode": status,
        "headers": {
            "content-type": content_type,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        },
        "body": body,
        "isBase64Encoded": false,
    })
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
        let answer = problem.with("running", "c0ffee").into_response();
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
        let answer = Problem::from(Refusal::Missing).into_response();
        assert_eq!(answer["statusCode"], 401);
        assert_eq!(answer["headers"]["www-authenticate"], "Bearer");
        let answer = Problem::from(Refusal::Unavailable).into_response();
        assert_eq!(
            (answer["statusCode"].as_u64(), &body(&answer)["status"]),
            (Some(503), &json!(503))
        );
        assert_eq!(answer["headers"].get("www-authenticate"), None);
    }
}
