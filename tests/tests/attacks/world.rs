//! The four functions, the shipped binaries, behind the Lambda Runtime API and in front of the AWS
//! double. Events are handed over as API Gateway would, hostile ones too.

use aws_double::{ClockMode, Double, DoubleConfig, Function, HttpApi};
use fleet_local::template::Template;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

pub(crate) const SECRET: &str = "ghosthands/test/fleet";
pub(crate) const OPERATOR: &str = "an-operators-token-for-tests";
const GROUP: &str = "ghosthands-worker-asg";

/// A function and the call that only an operator may make; `drain` takes no call at all.
pub(crate) const FUNCTIONS: [(&str, &str, &str); 4] = [
    ("autoscale", "POST", "/api/v1/admin/autoscale/tick"),
    ("deploy", "POST", "/api/v1/admin/deployments"),
    ("drain", "POST", "/api/v1/admin/drain-nobody"),
    ("fleet-status", "PUT", "/api/v1/admin/capacity"),
];

pub(crate) struct World {
    /// AWS, for as long as the functions live.
    double: Double,
    functions: Vec<(&'static str, Function)>,
}

pub(crate) struct Reply {
    pub(crate) status: u64,
    pub(crate) headers: Value,
    pub(crate) body: Value,
}

impl World {
    /// The four functions with the operator's token in the secret.
    pub(crate) async fn start() -> World {
        World::with_secrets(Duration::ZERO, &[json!({ "FLEET_OPERATOR_TOKEN": OPERATOR })]).await
    }

    /// The four functions with these versions of the secret, the last of them current, all written
    /// so long ago.
    pub(crate) async fn with_secrets(ago: Duration, versions: &[Value]) -> World {
        let clock = ClockMode::Manual(jiff::Timestamp::now() - ago);
        let double =
            Double::start(DoubleConfig { clock, ..DoubleConfig::default() }).await.expect("starts");
        for version in versions {
            double.put_secret(SECRET, &version.to_string()).expect("kept");
        }
        let template = Template::read(GROUP).expect("the template is there");
        let mut functions = Vec::new();
        for (name, ..) in FUNCTIONS {
            let function = template.start(name, &double, settings()).await.expect("it starts");
            functions.push((name, function));
        }
        World { double, functions }
    }

    /// The stack's HTTP API in front of the functions, and the function that it asks first.
    pub(crate) async fn api(&self) -> (HttpApi, Function) {
        let template = Template::read(GROUP).expect("the template is there");
        let authorize = template.start("authorize", &self.double, settings()).await;
        let routes = FUNCTIONS.map(|(name, ..)| template.routes_behind_authorizer(name)).concat();
        let api = self.double.http_api(routes, 0).await.expect("listens");
        (api, authorize.expect("it starts"))
    }

    pub(crate) fn function(&self, name: &str) -> &Function {
        let found = self.functions.iter().find(|(known, _)| *known == name);
        &found.expect("one of the four").1
    }

    /// Hands a request to a function: its event as API Gateway writes it, with these fields
    /// replaced.
    pub(crate) async fn ask(&self, name: &str, method: &str, path: &str, more: Value) -> Reply {
        let event = event(method, path, more).to_string();
        let answer = self.function(name).invoke(event.as_bytes()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer: Value = serde_json::from_slice(&answer).expect("a JSON answer");
        let body = answer["body"].as_str().expect("a body");
        Reply {
            status: answer["statusCode"].as_u64().expect("a status"),
            headers: answer["headers"].clone(),
            body: serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {body}")),
        }
    }

    /// The most memory that any process of this function has had so far, in KiB.
    pub(crate) fn peak_memory_kib(&self, name: &str) -> u64 {
        let binary = &self.function(name).config().binary;
        let ours = std::process::id().to_string();
        let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
        let peaks = processes.filter_map(|process| {
            let folder = process.path();
            let is_it = std::fs::read_link(folder.join("exe")).is_ok_and(|exe| exe == *binary);
            let field = |name: &str| status_field(&folder, name);
            (is_it && field("PPid")? == ours).then_some(())?;
            field("VmHWM")?.split(' ').next()?.parse().ok()
        });
        peaks.max().expect("the process is alive")
    }

    /// What a function has printed so far.
    pub(crate) fn printed(&self, name: &str) -> Vec<String> {
        self.function(name).logs().into_iter().map(|line| line.text).collect()
    }
}

fn settings() -> impl Iterator<Item = (String, String)> {
    let settings = [("AWS_ASG_NAME", GROUP), ("GH_ENVIRONMENT", "test")];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter()
}

fn status_field(process: &Path, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned())
}

/// A request of API Gateway's payload version 2.0.
pub(crate) fn event(method: &str, path: &str, more: Value) -> Value {
    let mut event = json!({
        "version": "2.0", "routeKey": format!("{method} {path}"), "rawPath": path,
        "rawQueryString": "", "headers": { "content-type": "application/json" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7", "userAgent": "attack"
            },
            "requestId": "api-request-1", "routeKey": "$default", "stage": "$default",
            "time": "29/Nov/2026:00:00:00 +0000", "timeEpoch": 0
        },
        "isBase64Encoded": false,
    });
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    event
}
