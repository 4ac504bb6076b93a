//! The operator's route, through an HTTP API.

use crate::world::*;
use aws_double::{HttpApi, Route};
use fleet_clients::queue::lock_key;
use fleet_protocol::ids::GroupName;
use serde_json::{Value, json};
use std::process::Command;

pub(crate) const PATH: &str = "/api/v1/admin/autoscale/tick";

pub(crate) struct Reply {
    pub(crate) status: u16,
    content_type: String,
    pub(crate) body: Value,
}

pub(crate) async fn serve(world: &World) -> HttpApi {
    let routes = vec![Route::new("POST", PATH, "autoscale")];
    world.double.http_api(routes, 0).await.expect("listens")
}

/// Asks with curl, a client that is not ours.
pub(crate) async fn post(api: &HttpApi, path: &str, token: Option<&str>) -> Reply {
    let url = format!("{}{path}", api.endpoint());
    let token = token.map(|token| format!("Authorization: Bearer {token}"));
    let run = move || {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-X", "POST", "-w", "\n%{http_code} %{content_type}", &url]);
        if let Some(header) = &token {
            curl.args(["-H", header]);
        }
        curl.output().expect("curl runs")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("joins");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (body, end) = text.rsplit_once('\n').expect("the last line is the status");
    let (status, content_type) = end.split_once(' ').expect("status and content type");
    Reply {
        status: status.parse().expect("a number"),
        content_type: content_type.to_owned(),
        body: serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {body}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_decides_again_now() {
    let mut world = World::start(Setup::desired(1)).await;
    let api = serve(&world).await;
    world.send(3);
    let reply = post(&api, PATH, Some(TOKEN)).await;
    assert_eq!((reply.status, reply.content_type.as_str()), (200, "application/json"));
    assert_eq!(reply.body["trigger"], "api");
    assert_eq!(reply.body["decision"]["desired"], 3);
    assert!(reply.body.get("inputs").is_none());
    assert_eq!(world.group().desired, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_does() {
    let mut world = World::start(Setup::desired(1)).await;
    let api = serve(&world).await;
    world.send(3);
    for token in [None, Some("wrong"), Some("")] {
        let reply = post(&api, PATH, token).await;
        assert_eq!((reply.status, reply.content_type.as_str()), (401, "application/problem+json"));
        assert_eq!(reply.body["title"], "Unauthorized");
    }
    let elsewhere = post(&api, "/api/v1/admin/autoscale", Some(TOKEN)).await;
    assert_eq!(elsewhere.status, 404);
    assert_eq!(world.changes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_which_scope_it_takes_and_every_call_is_in_the_audit() {
    let mut world = World::start(Setup::desired(1)).await;
    let api = serve(&world).await;
    let url = world.postgres.app_url_in(&world.database);
    let secret = json!({
        "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": TOKEN, "FLEET_READER_TOKEN": "a-readers-token-for-tests"
    });
    world.double.put_secret(SECRET, &secret.to_string()).expect("kept");
    world.send(3);
    let reply = post(&api, PATH, Some("a-readers-token-for-tests")).await;
    assert_eq!((reply.status, reply.content_type.as_str()), (403, "application/problem+json"));
    assert_eq!(reply.body["detail"], "this needs the scope tick; the token of reader has read");
    assert_eq!(world.changes(), [""; 0]);
    assert_eq!(post(&api, PATH, Some("rubbish")).await.status, 401);
    assert_eq!(post(&api, PATH, Some(TOKEN)).await.status, 200);
    let audit = world.printed(|line| line["type"] == "audit" && line["status"] == 200).await;
    let who = audit[0]["who"].as_str().expect("the caller");
    assert!(who.starts_with("operator:") && who.len() == "operator:".len() + 8, "{who}");
    let audit = world.printed(|line| line["type"] == "audit").await;
    let told: Vec<_> = audit.iter().map(|line| (&line["status"], &line["result"])).collect();
    let (refused, done) = (&json!("refused"), &json!("done"));
    assert_eq!(told, [(&json!(403), refused), (&json!(401), refused), (&json!(200), done)]);
    assert!(audit[0]["who"].as_str().expect("the caller").starts_with("reader:"));
    assert_eq!(audit[1]["who"], Value::Null);
    for secret in [TOKEN, "a-readers-token-for-tests", "rubbish"] {
        assert!(!world.function.logs().iter().any(|line| line.text.contains(secret)), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_token_is_valid_while_it_is_rotated() {
    let world = World::start(Setup::desired(1)).await;
    let api = serve(&world).await;
    let url = world.postgres.app_url_in(&world.database);
    let rotated =
        json!({ "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": "the-token-of-the-next-day" });
    world.double.put_secret(SECRET, &rotated.to_string()).expect("kept");
    assert_eq!(post(&api, PATH, Some(TOKEN)).await.status, 200);
    assert_eq!(post(&api, PATH, Some("the-token-of-the-next-day")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_looked_up_is_not_a_wrong_token() {
    let world = World::start(Setup::desired(1)).await;
    let api = serve(&world).await;
    world.double.faults().throttle("GetSecretValue", 50);
    let reply = post(&api, PATH, Some(TOKEN)).await;
    assert_eq!((reply.status, reply.content_type.as_str()), (503, "application/problem+json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn already_running_is_a_clean_answer() {
    let mut world = World::start(Setup::desired(1)).await;
    let api = serve(&world).await;
    world.send(4);
    // The lock of another tick, held by hand.
    let other = world.postgres.connect(&world.database).await.expect("connects");
    let key = lock_key(&GroupName::new(GROUP), "us-east-1");
    other.execute("SELECT pg_advisory_lock($1)", &[&key]).await.expect("locked");
    let running = post(&api, PATH, Some(TOKEN)).await;
    assert_eq!((running.status, &running.body["title"]), (409, &json!("Already Running")));
    assert_eq!(world.changes(), [""; 0]);
    other.execute("SELECT pg_advisory_unlock($1)", &[&key]).await.expect("unlocked");
    assert_eq!(plan(&world.tick().await), "set_desired");
}

/// The most that can be printed shows neither the caller's token nor the database's password.
#[tokio::test(flavor = "multi_thread")]
async fn no_log_level_shows_a_secret() {
    let world = World::start(Setup::desired(1).env("AWS_LAMBDA_LOG_LEVEL", "TRACE")).await;
    let api = serve(&world).await;
    assert_eq!(post(&api, PATH, Some(TOKEN)).await.status, 200);
    world.printed(|line| line["level"] == "DEBUG").await;
    world.printed(|line| line["type"] == "audit").await;
    let password = world.password();
    for line in world.function.logs() {
        assert!(!line.text.contains(TOKEN), "{}", line.text);
        assert!(!line.text.contains(&password), "{}", line.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_somebody_else_is_refused_and_the_function_lives_on() {
    let world = World::start(Setup::desired(1)).await;
    for event in ["{}", "null", "[1]", r#"{"detail-type":"x","source":"aws.ec2","detail":{}}"#] {
        world.function.invoke(event.as_bytes()).await.expect_err(event);
    }
    assert_eq!(world.tick().await["type"], "decision");
    assert_eq!(world.function.cold_starts(), 1);
}
