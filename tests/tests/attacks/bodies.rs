//! Bodies that are too long, or not what they say.

use crate::world::*;
use serde_json::{Value, json};

/// What a Lambda function may have is 256 MB; a whole event of 5.4 MB is read before it is refused.
const MOST_KIB: u64 = 96 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn five_megabytes_from_anybody_cost_no_memory_and_no_log() {
    let world = World::start().await;
    // As JSON the first becomes 2.7 million values; the others are one long text.
    let list = format!("[{}0]", "0,".repeat(2_700_000));
    let bodies = [
        json!({ "body": list }),
        json!({ "body": "a".repeat(5_400_000), "isBase64Encoded": true }),
        json!({ "body": format!("{{\"reason\":\"{}\"}}", "x".repeat(5_400_000)) }),
    ];
    for (name, method, path) in FUNCTIONS {
        for body in &bodies {
            let reply = world.ask(name, method, path, body.clone()).await;
            assert_eq!((reply.status, &reply.body["status"]), (413, &json!(413)), "{name}");
            assert_eq!(reply.headers["content-type"], "application/problem+json", "{name}");
        }
        let peak = world.peak_memory_kib(name);
        assert!(peak < MOST_KIB, "{name} took {peak} KiB");
        for line in world.printed(name) {
            assert!(line.len() < 1000, "{name} printed {} bytes", line.len());
        }
        assert_eq!(world.function(name).cold_starts(), 1, "{name} went on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_body_is_logged_before_its_sender_is_let_in() {
    let world = World::start().await;
    let body = json!({ "reason": "a-text-from-a-stranger", "image_tag": "v1" }).to_string();
    for (name, method, path) in FUNCTIONS {
        let status = world.ask(name, method, path, json!({ "body": body })).await.status;
        assert_eq!(status, if name == "drain" { 404 } else { 401 }, "{name}");
        let printed = world.printed(name).join("\n");
        assert!(!printed.contains("a-text-from-a-stranger"), "{name}: {printed}");
    }
    // What an operator sends is logged as it was understood, and a field that nobody knows is not.
    let operator = format!("Bearer {OPERATOR}");
    let body = json!({ "image_tag": "v1", "a-text-of-16-KiB": "x".repeat(16_000) }).to_string();
    let more = json!({
        "headers": { "authorization": operator, "idempotency-key": "k" }, "body": body
    });
    let reply = world.ask("deploy", "POST", "/api/v1/admin/deployments", more).await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    for line in world.printed("deploy") {
        assert!(line.len() < 1500, "{} bytes: {line}", line.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_refuses_the_same_things_in_the_same_words() {
    let world = World::start().await;
    let operator = json!({ "authorization": format!("Bearer {OPERATOR}") });
    let not_text = json!({ "headers": { "authorization": "Bearer t\u{f6}ken" } });
    let not_base64 = json!({ "headers": operator, "body": "!", "isBase64Encoded": true });
    let basic = json!({ "headers": { "authorization": "Basic b3BlcmF0b3I6eA==" } });
    let wrong = json!({ "headers": { "authorization": "Bearer not-a-token-of-the-fleet" } });
    // Each with its status, where there is such a route and in `drain`, which has none.
    let cases: [(&str, Value, u64, u64); 6] = [
        ("no token", json!({}), 401, 404),
        ("an Authorization header that is no text", not_text, 401, 404),
        ("another scheme", basic, 401, 404),
        ("a token of nobody", wrong, 401, 404),
        ("a body that is no base64", not_base64, 400, 404),
        ("a body that is too long", json!({ "body": "x".repeat(16 * 1024 + 1) }), 413, 413),
    ];
    for (what, more, expected, of_drain) in cases {
        let mut words = Vec::new();
        for (name, method, path) in FUNCTIONS {
            let reply = world.ask(name, method, path, more.clone()).await;
            let expected = if name == "drain" { of_drain } else { expected };
            assert_eq!(reply.status, expected, "{what} to {name}: {}", reply.body);
            assert_eq!(reply.headers["content-type"], "application/problem+json", "{what} {name}");
            let challenge = reply.headers.get("www-authenticate").is_some();
            assert_eq!(challenge, expected == 401, "{what} to {name}");
            if name != "drain" {
                words.push(reply.body);
            }
        }
        assert!(words.iter().all(|body| *body == words[0]), "{what}: {words:?}");
    }
    for (name, method, path) in FUNCTIONS {
        let reply = world.ask(name, "DELETE", path, json!({ "headers": operator })).await;
        let gone = world.ask(name, method, "/api/v1/admin", json!({ "headers": operator })).await;
        assert_eq!(gone.status, 404, "{name}");
        if name == "drain" {
            assert_eq!(reply.status, 404);
            continue;
        }
        assert_eq!(reply.status, 405, "{name}: {}", reply.body);
        assert_eq!(reply.headers["allow"], reply.body["allowed"], "{name}");
        let allow = reply.headers["allow"].as_str().expect("a text");
        assert!(allow.split(", ").any(|allowed| allowed == method), "{name}: {allow}");
    }
}
