//! What a request asks for.

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Page,
    Health,
    OpenApi,
    Status,
    SetCapacity,
}

/// Method, path and what is there. `template.yaml` has the same routes, and the OpenAPI document
/// too.
pub(crate) const ROUTES: [(&str, &str, Route); 5] = [
    ("GET", "/", Route::Page),
    ("GET", "/healthz", Route::Health),
    ("GET", "/openapi.json", Route::OpenApi),
    ("GET", "/api/v1/admin/fleet-status", Route::Status),
    ("PUT", "/api/v1/admin/capacity", Route::SetCapacity),
];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `None`: there is no such route here.
    pub(crate) route: Option<Route>,
    /// The `Authorization` header as it came.
    pub(crate) authorization: Option<String>,
    /// `None` where the body is not what its own label says.
    pub(crate) body: Option<Vec<u8>>,
}

/// Reads the event; anything but a request through the HTTP API is an error that says what came.
pub(crate) fn read(event: Value) -> Result<Request, String> {
    if event.pointer("/requestContext/http").is_none() {
        let kind = event.get("detail-type").or_else(|| event.get("source"));
        let came = kind.and_then(Value::as_str).map_or_else(
            || "the event is none".to_owned(),
            |kind| format!("what came is {kind:?}"),
        );
        return Err(format!(
            "this function takes API Gateway requests of payload version 2.0, and {came}"
        ));
    }
    let request: ApiGatewayV2httpRequest = serde_json::from_value(event)
        .map_err(|error| format!("not an API Gateway request of payload version 2.0: {error}"))?;
    let http = &request.request_context.http;
    let (method, path) = (http.method.as_str(), http.path.as_deref().unwrap_or_default());
    let route = ROUTES.iter().find(|(m, p, _)| *m == method && *p == path).map(|(.., r)| *r);
    let authorization = request.headers.get("authorization");
    let authorization = authorization.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = request.body.unwrap_or_default();
    let body = match request.is_base64_encoded {
        true => BASE64_STANDARD.decode(body).ok(),
        false => Some(body.into_bytes()),
    };
    Ok(Request { route, authorization, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(method: &str, path: &str) -> Value {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
            "headers": { "authorization": "Bearer t" },
            "requestContext": { "accountId": "1", "apiId": "a", "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"
            }, "requestId": "r", "routeKey": "$default", "stage": "$default", "time": "t", "timeEpoch": 0 },
            "isBase64Encoded": false
        })
    }

    #[test]
    fn every_route_is_known_by_its_method_and_path_alone() {
        for (method, path, route) in ROUTES {
            let request = read(event(method, path)).unwrap();
            assert_eq!(request.route, Some(route), "{method} {path}");
            assert_eq!(request.authorization.as_deref(), Some("Bearer t"));
            assert_eq!(read(event("DELETE", path)).unwrap().route, None);
            assert_eq!(read(event(method, &format!("{path}x"))).unwrap().route, None);
        }
    }

    #[test]
    fn a_body_comes_as_text_or_as_base64() {
        let mut text = event("PUT", "/api/v1/admin/capacity");
        text["body"] = json!("{\"paused\":null}");
        let mut encoded = event("PUT", "/api/v1/admin/capacity");
        encoded["body"] = json!("eyJwYXVzZWQiOm51bGx9");
        encoded["isBase64Encoded"] = json!(true);
        for event in [text, encoded.clone()] {
            assert_eq!(read(event).unwrap().body.as_deref(), Some(&b"{\"paused\":null}"[..]));
        }
        encoded["body"] = json!("!");
        assert_eq!(read(encoded).unwrap().body, None);
    }

    #[test]
    fn anything_else_is_refused_with_what_came() {
        let scheduled = json!({ "source": "aws.events", "detail-type": "Scheduled Event" });
        assert!(read(scheduled).unwrap_err().contains("Scheduled Event"));
        for rubbish in [json!(null), json!([]), json!({}), json!({"requestContext": {"http": 1}})] {
            read(rubbish.clone()).expect_err(&rubbish.to_string());
        }
    }
}
