//! An HTTP API in front of functions: HTTP to the API Gateway payload 2.0 and back.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::authorizer::{Answers, Authorizer, Decision};
use super::function::InvokeError;
use crate::account::Account;
use crate::server::Server;

/// Most a request to an HTTP API may carry.
const REQUEST_BYTES: usize = 10 * 1024 * 1024;
/// Longest time an HTTP API waits for its function, which goes on regardless.
const INTEGRATION_LIMIT: Duration = Duration::from_secs(30);

/// A route: requests with this method and path go to this function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// `GET`, `POST`, … or `ANY`.
    pub method: String,
    /// Segments may be `{name}`; the last one `{name+}` for the rest of the path.
    pub path: String,
    /// Name of a function of the double.
    pub function: String,
    /// Who is asked first.
    #[serde(default)]
    pub authorizer: Option<Authorizer>,
}

impl Route {
    /// A route that is open to everybody.
    pub fn new(method: &str, path: &str, function: &str) -> Self {
        let [method, path, function] = [method, path, function].map(str::to_owned);
        Self { method, path, function, authorizer: None }
    }

    /// The same, behind an authorizer.
    #[must_use]
    pub fn behind(self, authorizer: Authorizer) -> Self {
        Self { authorizer: Some(authorizer), ..self }
    }

    fn key(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path parameters when the request is for this route.
    fn matches(&self, method: &str, path: &str) -> Option<BTreeMap<String, String>> {
        if self.method != "ANY" && self.method != method {
            return None;
        }
        let mut parameters = BTreeMap::new();
        let mut rest = path.strip_prefix('/')?.split('/');
        for segment in self.path.trim_start_matches('/').split('/') {
            let name = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            match name {
                Some(name) if name.ends_with('+') => {
                    let greedy = rest.by_ref().collect::<Vec<_>>().join("/");
                    parameters.insert(name.trim_end_matches('+').to_owned(), greedy);
                }
                Some(name) => {
                    parameters.insert(name.to_owned(), rest.next()?.to_owned());
                }
                None if rest.next()? == segment => {}
                None => return None,
            }
        }
        rest.next().is_none().then_some(parameters)
    }
}

/// A running HTTP API. Dropping it closes it.
#[derive(Debug)]
pub struct HttpApi {
    server: Server,
}

impl HttpApi {
    pub(crate) async fn start(
        account: Arc<Account>,
        routes: Vec<Route>,
        port: u16,
    ) -> io::Result<Self> {
        let (listener, address) = Server::bind(port).await?;
        let front = Arc::new(Front { account, routes, answers: Answers::default(), address });
        let router = Router::new().fallback(move |request: Request| {
            let front = Arc::clone(&front);
            async move {
                let (parts, body) = request.into_parts();
                match to_bytes(body, REQUEST_BYTES).await {
                    Ok(body) => serve(&front, &parts, &body).await,
                    Err(_) => message(413, "Request Entity Too Large"),
                }
            }
        });
        Ok(Self { server: Server::start(listener, address, router) })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }
}

struct Front {
    account: Arc<Account>,
    routes: Vec<Route>,
    answers: Answers,
    address: SocketAddr,
}

async fn serve(front: &Front, parts: &Parts, body: &Bytes) -> Response {
    let Front { account, routes, answers, address } = front;
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    // An exact method wins over ANY, as on API Gateway.
    let found = routes
        .iter()
        .filter(|route| route.method != "ANY")
        .chain(routes.iter().filter(|route| route.method == "ANY"))
        .find_map(|route| route.matches(method, path).map(|parameters| (route, parameters)));
    let Some((route, parameters)) = found else { return message(404, "Not Found") };
    let Some(function) = account.function(&route.function) else {
        return message(500, "Internal Server Error");
    };
    let event = event(account, route, parameters, parts, body, *address);
    if let Some(authorizer) = &route.authorizer {
        match answers.decide(account, authorizer, &event).await {
            Decision::GoesOn => {}
            Decision::Unauthorized => return message(401, "Unauthorized"),
            Decision::Forbidden => return message(403, "Forbidden"),
            Decision::Failed => return message(500, "Internal Server Error"),
        }
    }
    let event = event.to_string();
    match tokio::time::timeout(INTEGRATION_LIMIT, function.invoke(event.as_bytes())).await {
        Ok(Ok(payload)) => {
            response(&payload).unwrap_or_else(|| message(500, "Internal Server Error"))
        }
        Ok(Err(InvokeError::Throttled)) | Err(_) => message(503, "Service Unavailable"),
        Ok(Err(InvokeError::Function(_) | InvokeError::Stopped)) => {
            message(500, "Internal Server Error")
        }
    }
}

/// The event, payload format 2.0.
fn event(
    account: &Account,
    route: &Route,
    parameters: BTreeMap<String, String>,
    parts: &Parts,
    body: &Bytes,
    address: SocketAddr,
) -> Value {
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let (headers, cookies) = flatten(&parts.headers);
    let agent = headers.get("user-agent").cloned().unwrap_or_default();
    let now = account.clock.now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route.key(),
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": account.config.account,
            "apiId": "double",
            "domainName": address.to_string(),
            "domainPrefix": "double",
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": agent,
            },
            "requestId": account.request_id(),
            "routeKey": route.key(),
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            values
                .entry(key.into_owned())
                .and_modify(|known| *known = format!("{known},{value}"))
                .or_insert_with(|| value.clone().into_owned());
        }
        event["queryStringParameters"] = json!(values);
    }
    if !parameters.is_empty() {
        event["pathParameters"] = json!(parameters);
    }
    if !body.is_empty() {
        match std::str::from_utf8(body) {
            Ok(text) if is_text(&parts.headers) => event["body"] = json!(text),
            _ => {
                event["body"] = json!(BASE64_STANDARD.encode(body));
                event["isBase64Encoded"] = json!(true);
            }
        }
    }
    event
}

/// API Gateway hands over these content types as text, everything else as base64.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&kind)
}

/// Names in lower case, repeated headers joined by commas, cookies apart.
fn flatten(headers: &HeaderMap) -> (BTreeMap<String, String>, Vec<String>) {
    let mut flat: BTreeMap<String, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == "cookie" {
            cookies.extend(value.split("; ").map(str::to_owned));
            continue;
        }
        flat.entry(name.as_str().to_owned())
            .and_modify(|known| *known = format!("{known},{value}"))
            .or_insert(value);
    }
    (flat, cookies)
}

/// What the function returned as an HTTP response: an object with a `statusCode`, or any other JSON
/// as a 200 body.
fn response(payload: &[u8]) -> Option<Response> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let Some(status) = value.get("statusCode") else {
        return Response::builder()
            .header("content-type", "application/json")
            .body(Body::from(payload.to_vec()))
            .ok();
    };
    let mut response = Response::builder().status(u16::try_from(status.as_u64()?).ok()?);
    let body = value.get("body").and_then(Value::as_str).unwrap_or_default();
    let body = match value.get("isBase64Encoded") {
        Some(Value::Bool(true)) => BASE64_STANDARD.decode(body).ok()?,
        _ => body.as_bytes().to_vec(),
    };
    let headers = response.headers_mut()?;
    let object = |key: &str| value.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    add_headers(headers, &object("headers"), |v| vec![v.clone()])?;
    add_headers(headers, &object("multiValueHeaders"), |v| {
        v.as_array().cloned().unwrap_or_default()
    })?;
    for cookie in value.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        headers.append("set-cookie", HeaderValue::from_str(cookie.as_str()?).ok()?);
    }
    if !headers.contains_key("content-type") {
        headers.insert("content-type", HeaderValue::from_static("text/plain;charset=UTF-8"));
    }
    response.body(Body::from(body)).ok()
}

fn add_headers(
    headers: &mut HeaderMap,
    from: &Map<String, Value>,
    values: impl Fn(&Value) -> Vec<Value>,
) -> Option<()> {
    for (name, value) in from {
        for value in values(value) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let name: axum::http::HeaderName = name.parse().ok()?;
            headers.append(name, HeaderValue::from_str(&text).ok()?);
        }
    }
    Some(())
}

fn message(status: u16, text: &str) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(json!({ "message": text }).to_string()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Route, response};

    #[test]
    fn routes_match_by_segment() {
        let route = Route::new("GET", "/deployments/{id}", "f");
        let found = route.matches("GET", "/deployments/abc").expect("matches");
        assert_eq!(found["id"], "abc");
        assert!(route.matches("POST", "/deployments/abc").is_none());
        assert!(route.matches("GET", "/deployments").is_none());
        assert!(route.matches("GET", "/deployments/abc/more").is_none());
        let greedy = Route::new("ANY", "/{proxy+}", "f");
        assert_eq!(greedy.matches("PUT", "/a/b").expect("matches")["proxy"], "a/b");
    }

    #[test]
    fn a_result_without_status_is_a_json_body() {
        let answer = response(br#"{"ok":true}"#).expect("JSON");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert!(response(b"not json").is_none());
        assert!(response(br#"{"statusCode":"soon"}"#).is_none());
    }
}
