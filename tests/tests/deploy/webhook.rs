//! VALET is told of what is proven, until it takes the news.

use crate::world::*;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// A VALET that answers with these statuses, the last one from then on, and keeps what it is sent.
fn valet(statuses: &'static [u16]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/api/v1/webhooks/ghosthands/deploy",
        listener.local_addr().expect("bound")
    );
    let news = Arc::new(Mutex::new(Vec::new()));
    let stored = Arc::clone(&news);
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| {
                        let (name, value) = line.split_once(':')?;
                        name.eq_ignore_ascii_case("content-length")
                            .then(|| value.trim().parse::<usize>().ok())?
                    });
                    if length.is_none_or(|length| body.len() >= length) {
                        break;
                    }
                }
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&buffer[..read]),
                }
            }
            let status = statuses.get(at).or_else(|| statuses.last()).expect("a status");
            stored
                .lock()
                .expect("not poisoned")
                .push(String::from_utf8_lossy(&request).into_owned());
            drop(write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
            ));
        }
    });
    (url, news)
}

async fn world(url: String) -> World {
    let settings = vec![("VALET_DEPLOY_WEBHOOK_URL".to_owned(), url)];
    World::with(Setup { hosts: 2, settings, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_news_goes_out_after_the_proof_and_until_it_is_taken() {
    // Three attempts of the first pass fail; a later one is taken.
    let (url, news) = valet(&[500, 503, 500, 200]);
    let world = world(url).await;
    let build = json!({
        "image_tag": "v2", "commit_sha": "0ecc742", "commit_message": "fix: it\n\nall of it", "branch": "main",
        "run_url": "https://ci.example/runs/7",
    });
    let id = world.deploy("k", build.clone()).await;
    assert_eq!(
        world.ended(&id).await["state"],
        "succeeded",
        "whether VALET listens is not the fleet's affair"
    );
    world.until("VALET took it", || world.stable().get("webhook_pending").is_none()).await;
    let news = news.lock().expect("not poisoned").clone();
    assert!(news.len() >= 4, "{news:?}");
    for request in &news {
        let (head, body) = request.split_once("\r\n\r\n").expect("a request");
        let header = |name: &str| {
            head.lines()
                .find_map(|line| {
                    line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name))
                })
                .map(|(_, v)| v.to_owned())
        };
        let expected = format!("sha256={}", openssl_hmac(body));
        assert_eq!(header("x-gh-webhook-signature"), Some(expected));
        let at = header("x-gh-timestamp").expect("a time");
        let expected = format!("sha256={}", openssl_hmac(&format!("{at}.{body}")));
        assert_eq!(header("x-gh-timestamp-signature"), Some(expected));
        assert_eq!(header("x-gh-event").as_deref(), Some("deploy_ready"));
        assert_eq!(header("x-gh-environment").as_deref(), Some("test"));
        assert!(header("x-gh-timestamp").is_some_and(|at| at.parse::<u64>().is_ok()));
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(
            (&body["event"], &body["image_tag"]),
            (&json!("ghosthands.deploy_ready"), &json!("v2"))
        );
        // VALET's schema takes strings only, also for what nobody gave.
        for field in ["commit_sha", "commit_message", "branch", "run_url"] {
            assert_eq!(body[field], build[field], "{field}");
        }
        assert_eq!(body["repository"], "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_what_is_not_proven() {
    let (url, news) = valet(&[200]);
    let world = world(url).await;
    for id in world.in_service() {
        world.mood(&id, Mood::RollsBack("v2"));
    }
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    assert_eq!(world.ended(&id).await["state"], "failed");
    assert_eq!(news.lock().expect("not poisoned").len(), 0);
}

/// What is wrong with a body by VALET's schema, by a validator that is not ours.
fn wrong_for_valet(body: &str) -> String {
    let script = "import json, sys, jsonschema\n\
        schema = json.load(open(sys.argv[1]))\n\
        errors = jsonschema.Draft202012Validator(schema).iter_errors(json.load(sys.stdin))\n\
        print('\\n'.join(error.message for error in errors))";
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/deploy/valet-webhook.schema.json");
    let mut python = std::process::Command::new("python3")
        .args(["-c", script, schema])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python runs");
    python.stdin.take().expect("piped").write_all(body.as_bytes()).expect("written");
    let output = python.wait_with_output().expect("ends");
    assert!(output.status.success(), "jsonschema is in the .venv that scripts/setup.sh makes");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_news_fits_what_valet_reads_whatever_ci_gave() {
    let (url, news) = valet(&[200]);
    let world = world(url).await;
    let whole = json!({
        "image_tag": "v3", "commit_sha": "0ecc742", "commit_message": "fix: \"it\"\n\u{1F600}",
        "branch": "main", "repository": "o/r", "run_url": "https://ci.example/runs/7",
    });
    // It may be told more than once of each.
    let told = |tag: &str| {
        let stable = world.stable();
        stable["image_tag"] == tag && stable.get("webhook_pending").is_none()
    };
    let mut newest = String::new();
    for (key, build) in [("k2", json!({ "image_tag": "v2" })), ("k3", whole)] {
        let tag = build["image_tag"].as_str().expect("a tag").to_owned();
        newest = world.deploy(key, build).await;
        assert_eq!(world.ended(&newest).await["state"], "succeeded");
        world.until("VALET took it", || told(&tag)).await;
    }
    let (status, body) = world.post(&format!("{ROUTES}/{newest}/rollback"), "b", json!({})).await;
    assert_eq!(status, 202, "{body}");
    world.until("VALET took the way back", || told("v2")).await;
    let news = news.lock().expect("not poisoned").clone();
    assert!(news.iter().any(|request| request.contains("ghosthands.rollback")), "{news:?}");
    for request in &news {
        let (_, body) = request.split_once("\r\n\r\n").expect("a request");
        assert_eq!(wrong_for_valet(body), "", "{body}");
        // As it was before: accepted, and then no page of VALET could show it.
        let mut without: Value = serde_json::from_str(body).expect("JSON");
        for field in ["commit_sha", "commit_message", "branch", "repository", "run_url"] {
            without.as_object_mut().expect("an object").remove(field);
        }
        assert_eq!(wrong_for_valet(&without.to_string()).lines().count(), 5, "{without}");
    }
}

/// What CI signs with: `openssl dgst -sha256 -hmac`.
fn openssl_hmac(body: &str) -> String {
    let mut openssl = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", WEBHOOK_KEY])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("openssl runs");
    openssl.stdin.take().expect("piped").write_all(body.as_bytes()).expect("written");
    let output = openssl.wait_with_output().expect("ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.trim().rsplit(' ').next().expect("a digest").to_owned()
}
