//! What is told when everything answers.

use crate::world::*;
use aws_double::{CommandOutput, CommandSettings};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_fleet_is_told_with_what_each_host_proved() {
    let mut world = World::start(4).await;
    let hosts = world.instances();
    world.enqueue(3);
    world.register(&hosts[..1], true);
    world.register(&hosts[1..3], false);
    world.sql("UPDATE gh_worker_registry SET last_heartbeat = now() - interval '10 minutes' WHERE current_job_id IS NULL AND ctid = (SELECT max(ctid) FROM gh_worker_registry)");
    world
        .double
        .put_parameter(
            STABLE,
            r#"{"image_tag":"v2","deployment_id":"c-1","at":"2026-11-24T00:00:00Z"}"#,
        )
        .expect("kept");
    world.double.put_parameter(STATE, r#"{"v":1,"seq":9,"at":1764000000000,"desired":4,"hold":[],"idle":[],"ring":[[29400000,3,1,4,null]],"told":[[1764000000,3,4,"need","4 jobs need 4 workers",0]]}"#).expect("kept");
    let second = hosts[1].clone();
    world.command(&hosts[..3], |_| deployed("v2")).await;
    world
        .command(&hosts[1..3], move |host| match host == second {
            true => CommandOutput::exit(10).stdout(r#"{"deployId":"d","status":"rolled_back","imageTag":"v3","previous":{"imageTag":"v1","imageId":"sha256:1"},"success":false}"#),
            false => CommandOutput::exit(0).stdout(r#"{"success":true,"message":"Cleanup completed","targets":[]}"#),
        })
        .await;

    let status = world.status().await;
    assert_eq!(status["unavailable"], json!([]));
    let old =
        ["enabled", "asgName", "currentCapacity", "queueDepth", "activeWorkers", "idleWorkers"];
    let old: Vec<&Value> = old.iter().map(|name| &status[*name]).collect();
    assert_eq!(json!(old), json!([true, GROUP, 4, 3, 2, 1]), "as getFleetStatus() had it");
    assert_eq!((&status["queue"]["ready"], &status["queue"]["active"]), (&json!(3), &json!(0)));
    let capacity = &status["capacity"];
    assert_eq!((&capacity["desired"], &capacity["in_service"]), (&json!(4), &json!(4)));
    assert_eq!((&capacity["min"], &capacity["max"]), (&json!(1), &json!(250)));
    let versions: Vec<Value> = status["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|host| json!([host["version"], host["drift"]]))
        .collect();
    let expected = json!([["v2", false], ["v1", true], ["v2", false], [null, null]]);
    assert_eq!(json!(versions), expected, "a host without proof has no version");
    assert_eq!(status["versions"]["drifted"], 1);
    assert_eq!(status["versions"]["unknown"], 1);
    assert_eq!(status["versions"]["stable"]["image_tag"], "v2");
    let mut states: Vec<&str> = status["workers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|worker| worker["state"].as_str().expect("a text"))
        .collect();
    states.sort_unstable();
    assert_eq!(states, ["busy", "idle", "silent"]);
    assert!(status["workers"][0]["registered_at"].is_string());
    assert_eq!(status["decisions"][0]["because"], "4 jobs need 4 workers");
    let series = json!({ "at": [1_764_000_000], "ready": [3], "active": [1], "desired": [4], "in_service": [null] });
    assert_eq!(status["series"], series);
    assert_eq!(status["cost"]["month_micros"], 4 * (83_200 * 730 + 3_200_000) + 3_200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_under_way_hides_no_proven_version_in_either_spelling() {
    let world = World::start(1).await;
    let hosts = world.instances();
    world.command(&hosts, |_| deployed("v2")).await;
    world.command(&hosts, |_| deployed("v3").took(Duration::from_secs(600))).await;
    for spaced_details in [false, true] {
        let settings = CommandSettings { spaced_details, ..world.double.command_settings() };
        world.double.set_command_settings(settings).expect("settings");
        assert_eq!(world.status().await["instances"][0]["version"], "v2", "{spaced_details}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_said_expires_unless_a_survey_finds_it_again() {
    let hours = Duration::from_secs(3 * 3600);
    let world = World::ago(2, hours).await;
    let hosts = world.instances();
    let pointer = r#"{"image_tag":"v2","deployment_id":"c-1","at":"2026-11-24T00:00:00Z"}"#;
    world.double.put_parameter(STABLE, pointer).expect("kept");
    world.command(&hosts, |_| deployed("v2")).await;
    // Every survey since is lost.
    let status = world.status().await;
    let host = &status["instances"][0];
    assert_eq!((&host["version"], &host["drift"]), (&Value::Null, &Value::Null), "{host}");
    let why = host["unproven"].as_str().expect("a reason");
    assert!(why.starts_with("it last said that it runs v2 at 20"), "{why}");
    assert!(why.ends_with("more than 32 minutes ago"), "{why}");
    assert_eq!(
        (&status["versions"]["unknown"], &status["versions"]["drifted"]),
        (&json!(2), &json!(0))
    );

    // One comes through; the other host was deployed by hand meanwhile and prints nothing at all.
    world.double.advance(hours).await.expect("a manual clock");
    let second = hosts[1].clone();
    world
        .survey(&hosts, move |host| match host == second {
            true => CommandOutput::exit(1),
            false => surveyed(host, "v1"),
        })
        .await;
    let told = world.status().await["instances"].clone();
    assert_eq!((&told[0]["version"], &told[0]["drift"]), (&json!("v1"), &json!(true)));
    assert_eq!((&told[1]["version"], &told[1]["drift"]), (&Value::Null, &Value::Null));
    // An order that ended after the survey is newer than it.
    world.command(&hosts, |_| deployed("v4")).await;
    let told = world.status().await["instances"].clone();
    assert_eq!((&told[0]["version"], &told[1]["version"]), (&json!("v4"), &json!("v4")));
    // A question without an answer changes nothing of what is known.
    world.survey(&hosts, |_| CommandOutput::exit(1)).await;
    assert_eq!(world.status().await["instances"], told);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_is_in_no_ticks_way_and_changes_nothing() {
    let world = World::start(1).await;
    world.status().await;
    let locks = "DO $$ BEGIN ASSERT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) = 0; END $$";
    world.sql(locks);
    let changing = world.double.calls().iter().filter(|call| call.is_mutating()).count();
    assert_eq!(changing, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_operators_may_look_and_nobody_else() {
    let world = World::start(1).await;
    for path in [STATUS, METRICS, "/openapi.json"] {
        for token in [READER, OPERATOR] {
            assert_eq!(world.get(path, Some(token)).await.status, 200);
        }
        for token in [None, Some("wrong"), Some("")] {
            let reply = world.get(path, token).await;
            assert_eq!(reply.status, 401);
            assert!(reply.headers.contains("www-authenticate: bearer"), "{}", reply.headers);
            assert!(reply.headers.contains("application/problem+json"), "{}", reply.headers);
        }
    }
    let role = world.get(STATUS, Some(READER)).await.headers;
    assert!(role.contains("x-fleet-role: reader"), "{role}");
    world.double.faults().throttle("GetSecretValue", 50);
    let health = world.get("/healthz", None).await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_is_told_the_same_by_the_same_calls() {
    let mut world = World::start(3).await;
    world.enqueue(2);
    world.register(&world.instances()[..1], true);
    world.register(&world.instances()[1..2], false);
    let ended = r#"{"image_tag":"v2","at":"2026-11-24T00:00:00Z","ended":[{"id":"c-1","key":"k","state":"succeeded","at":1764000000000}]}"#;
    world.double.put_parameter(STABLE, ended).expect("kept");
    world.double.put_parameter(STATE, r#"{"v":1,"seq":9,"at":1764000000000,"desired":3,"hold":[],"idle":[],"converging":true,"ring":[],"told":[]}"#).expect("kept");
    // The first request reads the secrets, which are kept.
    world.status().await;
    world.double.clear_calls();
    world.status().await;
    let actions = |world: &World| {
        let mut actions: Vec<_> =
            world.double.calls().iter().map(|call| call.action.clone()).collect();
        actions.sort();
        actions
    };
    let for_the_status = actions(&world);
    world.double.clear_calls();
    let reply = world.get(METRICS, Some(READER)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(actions(&world), for_the_status);
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(reply.headers.contains(kind), "{}", reply.headers);
    for line in [
        "info{environment=\"test\",group=\"ghosthands-worker-asg\",version=\"",
        "desired_instances 3\n",
        "min_instances 1\n",
        "max_instances 250\n",
        "instances{lifecycle=\"InService\"} 3\n",
        "workers{state=\"busy\"} 1\n",
        "workers{state=\"idle\"} 1\n",
        "queue_jobs{state=\"ready\"} 2\n",
        "wait_target_seconds 180\n",
        "converging 1\n",
        "last_tick_timestamp_seconds 1764000000\n",
        "last_rollout_state{state=\"succeeded\"} 1\n",
        "stable_version_info{image_tag=\"v2\"} 1\n",
        "unproven_instances 3\n",
        "source_up{source=\"memory\"} 1\n",
    ] {
        let line = format!("\nghosthands_fleet_{line}");
        assert!(reply.text.contains(&line), "{line}: {}", reply.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_no_token_and_may_do_nothing_but_ask_its_own_server() {
    let world = World::start(0).await;
    let page = world.get("/", None).await;
    assert_eq!(page.status, 200);
    assert!(page.text.starts_with("<!doctype html>"));
    for promise in [
        "content-type: text/html; charset=utf-8",
        "default-src 'none'; script-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "strict-transport-security:",
        "cache-control: no-store",
    ] {
        assert!(page.headers.contains(promise), "{promise}: {}", page.headers);
    }
    assert_eq!(world.double.calls().len(), 0, "nobody was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_hosts_are_told_at_once() {
    let world = World::start(200).await;
    let hosts = world.instances();
    world.register(&hosts[..150], true);
    world.register(&hosts[150..], false);
    world.command(&hosts, |_| deployed("v2")).await;
    let reply = world.get(STATUS, Some(READER)).await;
    let status = reply.json();
    assert_eq!(status["instances"].as_array().map(Vec::len), Some(200));
    assert_eq!(status["versions"]["unknown"], 0);
    assert_eq!((&status["activeWorkers"], &status["idleWorkers"]), (&json!(200), &json!(50)));
    assert!(reply.text.len() < 100_000, "{} bytes", reply.text.len());
    let listed = |calls: &[aws_double::Call]| {
        calls.iter().filter(|call| call.action == "ListCommandInvocations").count()
    };
    assert_eq!(listed(&world.double.calls()), 5, "fifty at a time, and one page of no surveys");

    // Surveys that were missed and orders of long ago are not looked through again.
    for _ in 0..3 {
        world.survey(&hosts, |host| surveyed(host, "v3")).await;
    }
    world.double.clear_calls();
    let status = world.status().await;
    assert_eq!(status["instances"][199]["version"], "v3");
    let listed = listed(&world.double.calls());
    assert_eq!(listed, 8, "the newest survey, and beside it the orders of the last half hour");
}
