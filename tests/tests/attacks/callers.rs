//! Tokens that leaked, that were mistyped, or that may less than their holder tries.

use crate::world::*;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const OLD: &str = "the-token-that-leaked";
const NEW: &str = "the-token-after-the-leak";
const HOUR: Duration = Duration::from_secs(3600);

fn bearer(token: &str) -> Value {
    json!({ "headers": { "authorization": format!("Bearer {token}") } })
}

/// How the three functions with routes answer the holder of a token who looks, or tries to.
async fn look(world: &World, token: &str) -> [u64; 2] {
    let deployments = "/api/v1/admin/deployments/openapi.json";
    [
        world.ask("deploy", "GET", deployments, bearer(token)).await.status,
        world.ask("fleet-status", "GET", "/openapi.json", bearer(token)).await.status,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_token_ends_a_day_after_its_rotation() {
    let operator = |token: &str| json!({ "FLEET_OPERATOR_TOKEN": token });
    let world = World::with_secrets(23 * HOUR, &[operator(OLD), operator(NEW)]).await;
    assert_eq!(look(&world, OLD).await, [200, 200], "nobody is locked out by a rotation");
    let world = World::with_secrets(25 * HOUR, &[operator(OLD), operator(NEW)]).await;
    assert_eq!(look(&world, OLD).await, [401, 401]);
    assert_eq!(look(&world, NEW).await, [200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_out_is_out_at_once() {
    let named = |names: &[(&str, &str)]| {
        let entry = |token: &str| json!({ "sha256": hex(&fleet_clients::tokens::hash(token)), "scopes": ["read"] });
        let tokens: serde_json::Map<String, Value> =
            names.iter().map(|(name, token)| ((*name).to_owned(), entry(token))).collect();
        json!({ "FLEET_OPERATOR_TOKEN": OPERATOR, "FLEET_TOKENS": tokens })
    };
    let (alice, mallory) = ("the-token-of-alice", "the-token-of-mallory");
    let versions = [named(&[("alice", alice), ("mallory", mallory)]), named(&[("alice", alice)])];
    let world = World::with_secrets(Duration::ZERO, &versions[..1]).await;
    assert_eq!(look(&world, mallory).await, [200, 200]);
    let world = World::with_secrets(Duration::ZERO, &versions).await;
    assert_eq!(look(&world, mallory).await, [401, 401]);
    assert_eq!(look(&world, alice).await, [200, 200]);
    // The line says who tried what, and from where.
    let capacity = ("fleet-status", "PUT", "/api/v1/admin/capacity");
    let reply = world.ask(capacity.0, capacity.1, capacity.2, bearer(alice)).await;
    assert_eq!(reply.status, 403, "{}", reply.body);
    let audit = audit_line(&world, capacity.0).await;
    assert!(audit["who"].as_str().expect("somebody").starts_with("alice:"), "{audit}");
    assert_eq!(audit["source_ip"], "203.0.113.7");
    assert_eq!(audit["api_request_id"], "api-request-1");
    assert!(audit["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_token_in_the_secret_lets_nobody_in() {
    let secret = json!({ "FLEET_OPERATOR_TOKEN": OPERATOR, "FLEET_READER_TOKEN": "short" });
    let world = World::with_secrets(Duration::ZERO, &[secret]).await;
    assert_eq!(look(&world, "short").await, [401, 401]);
    assert_eq!(look(&world, OPERATOR).await, [200, 200]);
    let told = world.printed("deploy").join("\n");
    assert!(told.contains("FLEET_READER_TOKEN") && !told.contains("\"short\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_tick_may_do_nothing_else() {
    let token = "the-token-of-the-pipeline";
    let entry = json!({ "sha256": hex(&fleet_clients::tokens::hash(token)), "scopes": ["tick"] });
    // In clear, by its hash, and as the text that the console's form makes of that.
    for (key, value) in [
        ("FLEET_TICKER_TOKEN", json!(token)),
        ("FLEET_TOKENS", json!({ "ci": entry })),
        ("FLEET_TOKENS", json!(json!({ "ci": entry }).to_string())),
    ] {
        let secret = json!({ "FLEET_OPERATOR_TOKEN": OPERATOR, key: value });
        let world = World::with_secrets(Duration::ZERO, &[secret]).await;
        assert_eq!(look(&world, token).await, [403, 403]);
        for (name, method, path) in FUNCTIONS.into_iter().filter(|(name, ..)| *name != "drain") {
            let status = world.ask(name, method, path, bearer(token)).await.status;
            assert_eq!(status, if name == "autoscale" { 200 } else { 403 }, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_token_reach_no_function() {
    let world = World::start().await;
    let (api, authorize) = world.api().await;
    let tick = "/api/v1/admin/autoscale/tick";
    for _ in 0..100 {
        assert_eq!(post(&api, tick, None).await, 401);
    }
    assert_eq!(authorize.cold_starts(), 0, "nobody is asked about a request without the header");
    let nobody = "Bearer a-token-of-nobody";
    assert_eq!(post(&api, tick, Some(nobody)).await, 403);
    assert_eq!(world.function("autoscale").cold_starts(), 0);
    assert_eq!(post(&api, tick, Some(&format!("Bearer {OPERATOR}"))).await, 200);
    // The answers are kept for a minute, so that a flood of bad tokens, which takes all places of
    // the function that is asked, locks out nobody who was let on before.
    authorize.stop().await;
    assert_eq!(post(&api, tick, Some(nobody)).await, 403);
    assert_eq!(post(&api, tick, Some(&format!("Bearer {OPERATOR}"))).await, 200);
    assert_eq!(post(&api, tick, Some("Bearer another-token-of-nobody")).await, 500);
}

/// The status of a request with this `Authorization`.
async fn post(api: &aws_double::HttpApi, path: &str, authorization: Option<&str>) -> u16 {
    let mut stream =
        tokio::net::TcpStream::connect(("127.0.0.1", api.port())).await.expect("it listens");
    let header = authorization.map(|value| format!("Authorization: {value}\r\n"));
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: api\r\n{}Content-Length: 0\r\nConnection: close\r\n\r\n",
        header.unwrap_or_default()
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {answer}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The function's audit line, as soon as it is there.
async fn audit_line(world: &World, name: &str) -> Value {
    for _ in 0..600 {
        let lines = world.printed(name).into_iter();
        let audit = lines
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .find(|line| line["type"] == "audit");
        if let Some(audit) = audit {
            return audit;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} printed no audit line")
}
