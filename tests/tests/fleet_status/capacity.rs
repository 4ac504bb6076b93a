//! The floor and the pause that an operator sets.

use crate::world::*;
use fleet_core::scaling::{Overrides, Tag};
use fleet_protocol::time::UnixMs;
use serde_json::{Value, json};

/// The group's tags, as the scaling function will read them.
fn overrides(world: &World) -> Overrides {
    let group = world.double.group(GROUP).expect("the group is there");
    let tags = group.tags.into_iter();
    let tags: Vec<Tag> = tags.map(|(key, tag)| Tag { key, value: tag.value }).collect();
    Overrides::read(&tags, UnixMs(jiff::Timestamp::now().as_millisecond()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_and_removes_what_the_scaling_reads() {
    let world = World::start(1).await;
    let body = r#"{"floor": {"workers": 5, "for_minutes": 60}, "paused": {"for_minutes": 30}}"#;
    let reply = world.put(Some(OPERATOR), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let set = overrides(&world);
    assert_eq!(set.floor.map(|floor| floor.value), Some(5));
    assert!(set.paused_until().is_some() && set.problems.is_empty(), "{set:?}");
    let status = world.status().await;
    assert_eq!(status["capacity"]["floor"], reply.json()["floor"]);
    assert_eq!(status["capacity"]["paused"], reply.json()["paused"]);
    assert_eq!(status["capacity"]["min"], 5, "the floor is the least there may be");

    let reply = world.put(Some(OPERATOR), r#"{"floor": null}"#).await;
    assert_eq!((reply.status, &reply.json()["floor"]), (200, &Value::Null));
    assert!(reply.json()["paused"]["until"].is_string(), "what is left out stays");
    let set = overrides(&world);
    assert!(set.floor.is_none() && set.paused_until().is_some());
    // Removing what is not there is no error.
    assert_eq!(world.put(Some(OPERATOR), r#"{"floor": null, "paused": null}"#).await.status, 200);
    assert_eq!(overrides(&world), Overrides::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_wish_changes_nothing_and_names_its_field() {
    let world = World::start(1).await;
    for (body, field, says) in [
        (r#"{"floor": {"workers": 251, "for_minutes": 60}}"#, "floor.workers", "maximum of 250"),
        (r#"{"floor": {"workers": 5}}"#, "floor.expires_at", "is missing"),
        (r#"{"paused": {"for_minutes": 20000}}"#, "paused.for_minutes", "7 days"),
        (r#"{}"#, "the body", "asks for nothing"),
        (r#"{"floor": "many"}"#, "", "neither an object nor null"),
        ("{", "", "cannot be used"),
        ("", "", "cannot be used"),
    ] {
        let reply = world.put(Some(OPERATOR), body).await;
        assert_eq!(reply.status, 400, "{body}");
        let problem = reply.json();
        assert!(problem["detail"].as_str().expect("a text").contains(says), "{problem}");
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{problem}");
    }
    assert_eq!(overrides(&world), Overrides::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sets_nothing_and_every_try_is_in_the_audit() {
    let world = World::start(1).await;
    let wish = r#"{"floor": {"workers": 2, "for_minutes": 60}}"#;
    assert_eq!(world.put(None, wish).await.status, 401);
    assert_eq!(world.put(Some(READER), wish).await.status, 403);
    assert_eq!(overrides(&world), Overrides::default());
    assert_eq!(world.put(Some(OPERATOR), wish).await.status, 200);
    world.printed(|line| line["type"] == "audit" && line["result"] == "done").await;
    let audit = world.printed(|line| line["type"] == "audit").await;
    let told: Vec<Value> =
        audit.iter().map(|line| json!([line["what"], line["result"], line["status"]])).collect();
    let expected = json!([
        ["capacity.set", "refused", 401],
        ["capacity.set", "refused", 403],
        ["capacity.set", "done", 200]
    ]);
    assert_eq!(json!(told), expected);
    assert_eq!(audit[2]["asked"]["floor"]["workers"], 2);
    let who: Vec<&str> = audit.iter().filter_map(|line| line["who"].as_str()).collect();
    assert!(who[0].starts_with("reader:") && who[1].starts_with("operator:"), "{who:?}");
    for secret in [OPERATOR, READER] {
        assert!(!world.function.logs().iter().any(|line| line.text.contains(secret)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_aws_refuses_is_told_as_not_made() {
    let world = World::start(1).await;
    world.double.faults().fail("CreateOrUpdateTags", 10, 400, "ResourceContention", "busy");
    let wish = r#"{"floor": {"workers": 2, "for_minutes": 60}}"#;
    let reply = world.put(Some(OPERATOR), wish).await;
    assert_eq!(reply.status, 502);
    let detail = reply.json()["detail"].as_str().expect("a text").to_owned();
    assert!(
        detail.starts_with("nothing was changed") && detail.contains("ResourceContention"),
        "{detail}"
    );
    world.double.faults().clear();
    world.double.faults().fail("DescribeAutoScalingGroups", 10, 400, "AccessDenied", "not allowed");
    assert_eq!(world.put(Some(OPERATOR), wish).await.status, 503);
    assert_eq!(overrides(&world), Overrides::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_only_observes_takes_no_floor_and_still_shows_itself() {
    let world = World::observing(1).await;
    let reply = world.put(Some(OPERATOR), r#"{"floor": {"workers": 2, "for_minutes": 60}}"#).await;
    assert_eq!(reply.status, 409);
    assert!(reply.json()["detail"].as_str().expect("a text").contains("Mode=act"));
    assert_eq!(overrides(&world), Overrides::default());
    assert_eq!(world.status().await["dry_run"], true);
}
