//! The routes: who may, what is refused, and in which words.

use crate::world::*;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn readers_look_and_operators_act() {
    let world = World::start(1).await;
    let deploy = json!({ "image_tag": "v2" }).to_string();
    for (method, path, token, body, expected) in [
        ("GET", ROUTES, READER, "", 200),
        ("GET", ROUTES, OPERATOR, "", 200),
        ("GET", ROUTES, "nobody", "", 401),
        ("POST", ROUTES, READER, &*deploy, 403),
        ("POST", ROUTES, "nobody", &*deploy, 401),
        ("POST", "/api/v1/admin/cleanup", READER, "{}", 403),
        ("GET", "/api/v1/admin/deployments/openapi.json", READER, "", 200),
    ] {
        let (status, reply) = world.request(method, path, token, Some("k"), body).await;
        assert_eq!(status, expected, "{method} {path} {token}: {reply}");
        if expected >= 400 {
            assert_eq!(reply["status"], expected, "{reply}");
        }
    }
    assert_eq!(world.double.commands().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_nothing_is_begun() {
    let world = World::start(1).await;
    for (body, names) in [
        ("", "image_tag"),
        ("[]", "JSON object"),
        ("{", "cannot be taken"),
        (r#"{"image_tag":"a b"}"#, "image_tag"),
        (r#"{"image_tag":"v2","imageTag":"v2"}"#, "imageTag"),
        (r#"{"image_tag":"v2","strategy":"yolo"}"#, "one-at-a-time"),
        (r#"{"image_tag":"v2","force":1}"#, "boolean"),
    ] {
        let (status, reply) = world.request("POST", ROUTES, OPERATOR, Some("k"), body).await;
        assert_eq!(status, 400, "{body}: {reply}");
        assert!(
            reply["detail"].as_str().is_some_and(|detail| detail.contains(names)),
            "{body}: {reply}"
        );
    }
    let good = r#"{"image_tag":"v2"}"#;
    let (status, reply) = world.request("POST", ROUTES, OPERATOR, None, good).await;
    assert_eq!(status, 400);
    assert!(reply["detail"].as_str().unwrap().contains("Idempotency-Key"), "{reply}");
    let id = "0831e1a8-a1ac-4257-a1fd-c831bb48c7ad";
    let get = |path: String| {
        let world = &world;
        async move { world.request("GET", &path, READER, None, "").await.0 }
    };
    assert_eq!(get(format!("{ROUTES}/{id}")).await, 404);
    assert_eq!(get(format!("{ROUTES}/nothing")).await, 404);
    assert_eq!(get(format!("{ROUTES}?limit=none")).await, 400);
    assert_eq!(world.post(&format!("{ROUTES}/{id}/rollback"), "k", json!({})).await.0, 404);
    assert_eq!(world.post(&format!("{ROUTES}/{id}/cancel"), "k", json!({})).await.0, 404);
    assert_eq!(world.double.commands().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_of_nobody_can_prove_nothing() {
    let world = World::start(0).await;
    let (status, body) = world.post(ROUTES, "k", json!({ "image_tag": "v2" })).await;
    assert_eq!(status, 409, "{body}");
    assert!(world.records().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_newest_first_and_knows_how_each_ended() {
    let world = World::start(2).await;
    let good = world.deploy("a", json!({ "image_tag": "v2" })).await;
    world.ended(&good).await;
    for id in world.in_service() {
        world.mood(&id, Mood::RollsBack("v3"));
    }
    let bad = world.deploy("b", json!({ "image_tag": "v3" })).await;
    world.ended(&bad).await;
    let (_, body) = world.request("GET", &format!("{ROUTES}?limit=5"), READER, None, "").await;
    let list = body["deployments"].as_array().expect("a list");
    let told: Vec<_> =
        list.iter().map(|d| (d["id"].as_str().unwrap(), d["state"].as_str().unwrap())).collect();
    assert_eq!(told, [(bad.as_str(), "failed"), (good.as_str(), "succeeded")]);
    let (status, body) = world.post(ROUTES, "a", json!({ "image_tag": "v9" })).await;
    assert_eq!((status, &body["id"]), (422, &json!(good)), "{body}");
    let (status, body) = world.post(ROUTES, "a", json!({ "image_tag": "v2" })).await;
    assert_eq!((status, &body["id"]), (202, &json!(good)), "{body}");
    let (status, body) = world.post(&format!("{ROUTES}/{good}/rollback"), "a", json!({})).await;
    assert_eq!((status, &body["id"]), (422, &json!(good)), "{body}");
    assert_eq!(world.begun(), 2, "a key stands for one rollout");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ssm_does_not_list_yet_can_be_looked_at_and_cancelled() {
    let world = World::with(Setup { hosts: 2, asleep: true, ..Setup::default() }).await;
    world.all(&Mood::Held);
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    let unlisted = |times| {
        world.double.faults().fail(
            "ListCommands",
            times,
            400,
            "InvalidCommandId",
            "no such command",
        );
    };
    unlisted(1);
    assert_eq!(world.get(&id).await["state"], "in_progress");
    unlisted(1);
    let (status, body) = world.post(&format!("{ROUTES}/{id}/cancel"), "c", json!({})).await;
    assert_eq!((status, &body["id"]), (202, &json!(id)), "{body}");
    assert_eq!(world.double.parameter(CANCELLED).as_deref(), Some(id.as_str()));
    // Of an order without a record nothing but its id is known: perhaps it is listed soon.
    let (status, cleanup) = world.post("/api/v1/admin/cleanup", "d", json!({})).await;
    assert_eq!(status, 202, "{cleanup}");
    let cleanup = cleanup["id"].as_str().expect("an id");
    unlisted(1);
    let path = format!("{ROUTES}/{cleanup}");
    let (status, body) = world.request("GET", &path, READER, None, "").await;
    assert_eq!((status, &body["retry_after_seconds"]), (404, &json!(5)), "{body}");
    world.all(&Mood::Good);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_aws_is_away_it_says_so_and_begins_nothing() {
    let world = World::with(Setup { hosts: 1, asleep: true, ..Setup::default() }).await;
    world.double.faults().fail("DescribeAutoScalingGroups", 9, 500, "InternalFailure", "away");
    let (status, body) = world.post(ROUTES, "k", json!({ "image_tag": "v2" })).await;
    assert_eq!(status, 503, "{body}");
    assert_eq!((world.double.commands().len(), world.records().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_only_observes_takes_no_order_and_writes_nothing() {
    let settings = vec![
        ("DRY_RUN".to_owned(), "true".to_owned()),
        ("VALET_DEPLOY_WEBHOOK_URL".to_owned(), "http://127.0.0.1:9/".to_owned()),
    ];
    let world = World::with(Setup { hosts: 1, settings, ..Setup::default() }).await;
    // A pass has something to do: VALET was not told yet.
    let stable = json!({
        "image_tag": "v1", "deployment_id": "by-hand", "at": "2026-11-25T00:00:00Z",
        "webhook_pending": true,
    });
    world.double.put_parameter(STABLE, &stable.to_string()).expect("kept");
    let id = "0831e1a8-a1ac-4257-a1fd-c831bb48c7ad";
    let before = world.double.calls().len();
    for (path, body) in [
        (ROUTES.to_owned(), json!({ "image_tag": "v2" })),
        (format!("{ROUTES}/{id}/rollback"), json!({})),
        (format!("{ROUTES}/{id}/cancel"), json!({})),
        ("/api/v1/admin/cleanup".to_owned(), json!({})),
        ("/api/v1/admin/refresh-secrets".to_owned(), json!({})),
        ("/api/v1/admin/drain".to_owned(), json!({ "instance_ids": world.in_service() })),
    ] {
        let (status, reply) = world.post(&path, "k", body).await;
        assert_eq!(status, 409, "{path}: {reply}");
        assert!(reply["detail"].as_str().expect("a text").contains("Mode=act"), "{reply}");
    }
    assert_eq!(world.request("GET", ROUTES, READER, None, "").await.0, 200);
    world
        .until("a pass held something back", || {
            world.function.lock().expect("not poisoned").logs().iter().any(|line| {
                let line: serde_json::Value = serde_json::from_str(&line.text).unwrap_or_default();
                line["dry_run"] == true && line["withheld"][0].is_object()
            })
        })
        .await;
    let function = world.function.lock().expect("not poisoned").clone();
    let survey = include_bytes!("../../../events/deploy-survey.json");
    let answer = function.invoke(survey).await.expect("it answers");
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["summary"], "a dry run asks no host");
    let calls = world.double.calls();
    let changes: Vec<&str> =
        calls[before..].iter().filter(|it| it.is_mutating()).map(|it| it.action.as_str()).collect();
    assert_eq!(changes, [""; 0]);
}
