//! Responses of API Gateway's payload version 2.0.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// An answer to an HTTP request. Nobody in between may keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    headers: Map<String, Value>,
    body: String,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<String>) -> Reply {
        let reply = Reply { status, headers: Map::new(), body: body.into() };
        reply
            .header("content-type", content_type)
            .header("cache-control", "no-store")
            .header("x-content-type-options", "nosniff")
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &impl Serialize) -> Reply {
        let body = serde_json::to_string(body).expect("answers are plain values with string keys");
        Reply::new(status, "application/json", body)
    }

    /// Sets one more header, by its name in lower case.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.insert(name.to_owned(), Value::String(value.into()));
        self
    }

    /// As API Gateway takes it.
    #[must_use]
    pub fn into_response(self) -> Value {
        json!({
            "statusCode": self.status, "headers": self.headers, "body": self.body,
            "isBase64Encoded": false,
        })
    }
}
