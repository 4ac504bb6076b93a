//! An HTTP request, as API Gateway's payload version 2.0 brings it.

use crate::problem::Problem;
use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::http::HeaderMap;
use aws_lambda_events::query_map::QueryMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fleet_core::text::cut;
use serde::Deserialize;
use serde_json::Value;

/// More than any request here needs. API Gateway passes on 10 MB, Lambda 6 MB.
pub const BODY_BYTES: usize = 16 * 1024;
/// Addresses and ids are shorter; they go into log lines.
const ID_CHARS: usize = 64;

/// A request. Its body was measured before anything looked into it.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// The caller's address, as API Gateway saw it.
    pub source_ip: String,
    /// API Gateway's id of the request, which is in the access log too.
    pub api_request_id: String,
    headers: HeaderMap,
    query: QueryMap,
    body: Body,
}

#[derive(Debug, PartialEq, Eq)]
enum Body {
    Bytes(Vec<u8>),
    /// Longer than [`BODY_BYTES`]; it was dropped.
    TooLarge,
    /// It says that it is base64, and is not.
    NotBase64,
}

impl Request {
    /// # Errors
    /// What of the event is not as API Gateway writes it.
    pub(crate) fn read(mut event: Value) -> Result<Request, String> {
        let body = event.get_mut("body").map(Value::take).unwrap_or_default();
        let body = Body::read(body, event.get("isBase64Encoded") == Some(&Value::Bool(true)));
        // A list in an authorizer's event of version 2.0; the type below knows the text of 1.0.
        if let Some(fields) = event.as_object_mut() {
            fields.remove("identitySource");
        }
        let event =
            ApiGatewayV2httpRequest::deserialize(event).map_err(|error| error.to_string())?;
        let context = event.request_context;
        let text = |text: Option<String>| cut(&text.unwrap_or_default(), ID_CHARS);
        Ok(Request {
            method: context.http.method.as_str().to_owned(),
            path: context.http.path.unwrap_or_default(),
            source_ip: text(context.http.source_ip),
            api_request_id: text(context.request_id),
            headers: event.headers,
            query: event.query_string_parameters,
            body,
        })
    }

    /// The value of a header; `None` where it was not sent.
    ///
    /// # Errors
    /// 400 where it is not ASCII text.
    pub fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        let text = value.to_str();
        text.map(Some).map_err(|_| {
            Problem::bad_request(format!("the header {name} is not ASCII text; send it as such"))
        })
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.first(name)
    }

    /// # Errors
    /// 413 where the body is longer than [`BODY_BYTES`].
    pub(crate) fn check_size(&self) -> Result<(), Problem> {
        match self.body {
            Body::TooLarge => Err(Problem::new(
                413,
                "Content Too Large",
                format!("the body is longer than {BODY_BYTES} bytes; no request here needs more"),
            )),
            Body::Bytes(_) | Body::NotBase64 => Ok(()),
        }
    }

    /// # Errors
    /// 400 where the body is not what the event says it is.
    pub(crate) fn body(&self) -> Result<&[u8], Problem> {
        match &self.body {
            Body::Bytes(bytes) => Ok(bytes),
            Body::NotBase64 | Body::TooLarge => Err(Problem::bad_request(
                "the body is marked as base64 and is not valid base64; send it again",
            )),
        }
    }
}

impl Body {
    fn read(body: Value, is_base64: bool) -> Body {
        let text = match body {
            Value::String(text) => text,
            Value::Null => String::new(),
            _ => return Body::NotBase64,
        };
        let most = if is_base64 { BODY_BYTES.div_ceil(3) * 4 } else { BODY_BYTES };
        if text.len() > most {
            return Body::TooLarge;
        }
        if !is_base64 {
            return Body::Bytes(text.into_bytes());
        }
        match BASE64_STANDARD.decode(text) {
            Ok(bytes) if bytes.len() > BODY_BYTES => Body::TooLarge,
            Ok(bytes) => Body::Bytes(bytes),
            Err(_) => Body::NotBase64,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A request as API Gateway writes it, with the changes of `more`.
    pub(crate) fn request(method: &str, path: &str, more: Value) -> Request {
        let mut event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
            "headers": {},
            "requestContext": { "accountId": "1", "apiId": "a", "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7", "userAgent": "t"
            }, "requestId": "api-1", "routeKey": "$default", "stage": "$default", "time": "t",
            "timeEpoch": 0 },
            "isBase64Encoded": false
        });
        if let Value::Object(more) = more {
            event.as_object_mut().unwrap().extend(more);
        }
        Request::read(event).unwrap()
    }

    #[test]
    fn a_request_says_who_asked_for_what() {
        let more = json!({
            "headers": { "authorization": "Bearer t", "x-name": "hä" },
            "queryStringParameters": { "limit": "5" }, "body": "{}"
        });
        let request = request("POST", "/a", more);
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/a"));
        assert_eq!((&*request.source_ip, &*request.api_request_id), ("192.0.2.7", "api-1"));
        assert_eq!(request.header("Authorization").unwrap(), Some("Bearer t"));
        assert_eq!(request.header("missing").unwrap(), None);
        assert_eq!(request.header("x-name").unwrap_err().status, 400);
        assert_eq!(request.query("limit"), Some("5"));
        assert_eq!(request.body().unwrap(), b"{}");
    }

    #[test]
    fn a_body_has_the_same_limit_as_text_and_as_base64() {
        let sized = |bytes: usize| {
            let text = "x".repeat(bytes);
            let encoded = BASE64_STANDARD.encode(&text);
            [
                request("POST", "/a", json!({ "body": text })),
                request("POST", "/a", json!({ "body": encoded, "isBase64Encoded": true })),
            ]
        };
        for request in sized(BODY_BYTES) {
            request.check_size().unwrap();
            assert_eq!(request.body().unwrap().len(), BODY_BYTES);
        }
        for request in sized(BODY_BYTES + 1).into_iter().chain(sized(5_400_000)) {
            assert_eq!(request.check_size().unwrap_err().status, 413);
            assert_eq!(request.body, Body::TooLarge, "it is not kept");
        }
    }

    #[test]
    fn a_body_that_is_not_what_it_says_is_refused() {
        for body in [json!({ "body": "!", "isBase64Encoded": true }), json!({ "body": 1 })] {
            let request = request("POST", "/a", body);
            request.check_size().unwrap();
            assert_eq!(request.body().unwrap_err().status, 400);
        }
        assert_eq!(request("POST", "/a", json!({ "body": null })).body().unwrap(), b"");
    }
}
