//! Where bytes from outside come into the functions; each says what must hold for any bytes.

use fleet_core::status::CapacityWish;
use fleet_lambda::{Access, BODY_BYTES, Event, Gate, Reply, Route, Scope, answer};
use fleet_protocol::time::UnixMs;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/admin/capacity";
const ROUTES: [Route<()>; 1] =
    [Route { method: "PUT", path: PATH, access: Access::Open, audit: None, to: () }];

/// As an event, and as the body of a request: text where it is some, else base64.
pub(crate) fn api_body(bytes: &[u8]) {
    if let Ok(event) = serde_json::from_slice::<Value>(bytes) {
        let said = Event::read(event).unexpected();
        assert!(said.len() < 1000, "{} bytes are said of an event", said.len());
    }
    let (body, encoded) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => {
            use base64::Engine as _;
            (base64::prelude::BASE64_STANDARD.encode(bytes), true)
        }
    };
    let Event::Http(request) = Event::read(request(&body, encoded)) else {
        panic!("a request is a request, whatever its body")
    };
    let gate = Gate::over(Nobody);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let reply = runtime.block_on(answer(&ROUTES, &gate, &request, "r", async |(), call| {
        assert!(call.body == bytes && bytes.len() <= BODY_BYTES);
        let wish = match CapacityWish::parse(call.body) {
            Ok(wish) => wish,
            Err(said) => {
                let reply = json!({ "said": said.len() });
                return Ok(Reply::json(400, &reply));
            }
        };
        let checked = wish.check(10, UnixMs(1_795_478_400_000)).is_ok();
        Ok(Reply::json(200, &json!({ "checked": checked })))
    }));
    let expected: &[u64] = if bytes.len() > BODY_BYTES { &[413] } else { &[200, 400] };
    let status = reply["statusCode"].as_u64().expect("a status");
    assert!(expected.contains(&status), "{status}");
}

/// What the database could answer.
pub(crate) fn queue_rows(bytes: &[u8]) {
    fleet_clients::queue::read_any_rows(&String::from_utf8_lossy(bytes));
}

struct Nobody;

impl fleet_lambda::TokenSource for Nobody {
    async fn tokens(
        &self,
    ) -> Result<Vec<fleet_clients::tokens::Token>, fleet_clients::secrets::SecretError> {
        Ok(vec![fleet_clients::tokens::Token::new("operator", Scope::Operate, "a-token")])
    }
}

fn request(body: &str, encoded: bool) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": PATH, "rawQueryString": "",
        "headers": {}, "body": body, "isBase64Encoded": encoded,
        "requestContext": {
            "accountId": "1", "apiId": "a", "requestId": "api-1", "routeKey": "$default",
            "stage": "$default", "time": "t", "timeEpoch": 0,
            "http": {
                "method": "PUT", "path": PATH, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7",
                "userAgent": "t"
            }
        }
    })
}
