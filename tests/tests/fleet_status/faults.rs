//! Sources that are down: named, their fields null, and the rest still told.

use crate::world::*;
use fleet_local::postgres::{Options, Postgres};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn sources(status: &Value) -> Vec<String> {
    unavailable(status).into_iter().map(|(source, _)| source).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_costs_its_own_fields_only() {
    let server = Arc::new(Postgres::start(Options::default()).expect("PostgreSQL starts"));
    let mut world = World::of(2, server).await;
    world
        .double
        .put_parameter(
            STATE,
            r#"{"v":1,"seq":1,"at":1,"desired":2,"hold":[],"idle":[],"ring":[],"told":[]}"#,
        )
        .expect("kept");
    assert_eq!(world.status().await["queueDepth"], 0);
    Arc::get_mut(&mut world.postgres).expect("ours alone").stop().expect("stops");
    let status = world.status().await;
    assert_eq!(sources(&status), ["queue"]);
    for field in ["queueDepth", "activeWorkers", "idleWorkers", "queue", "workers"] {
        assert_eq!(status[field], Value::Null, "{field}");
    }
    assert_eq!(status["currentCapacity"], 2);
    assert_eq!(status["instances"].as_array().map(Vec::len), Some(2));
    let (_, reason) = unavailable(&status).remove(0);
    assert!(!reason.contains("password") && !reason.contains(OPERATOR), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aws_that_refuses_costs_its_own_fields_only() {
    let mut world = World::start(2).await;
    world.enqueue(5);
    // With the group the hosts are unknown, so that nobody asks for their versions.
    world.double.faults().fail("DescribeAutoScalingGroups", 10, 400, "AccessDenied", "not allowed");
    let status = world.status().await;
    assert_eq!(sources(&status), ["group", "memory", "versions"]);
    for field in ["currentCapacity", "capacity", "instances", "cost"] {
        assert_eq!(status[field], Value::Null, "{field}");
    }
    assert_eq!((&status["queueDepth"], &status["versions"]["unknown"]), (&json!(5), &Value::Null));
    world.double.faults().clear();

    world.double.faults().fail("GetParameter", 20, 400, "AccessDeniedException", "not allowed");
    world.double.faults().fail("ListCommandInvocations", 10, 400, "AccessDeniedException", "no");
    let status = world.status().await;
    assert_eq!(sources(&status), ["memory", "versions", "stable"]);
    assert_eq!((&status["decisions"], &status["series"]), (&Value::Null, &Value::Null));
    assert_eq!(status["versions"], json!({ "stable": null, "drifted": 0, "unknown": 2 }));
    assert_eq!((&status["currentCapacity"], &status["queueDepth"]), (&json!(2), &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_is_told_no_figure_of_a_source_that_is_down() {
    let mut world = World::start(2).await;
    world.enqueue(5);
    world.double.faults().fail("DescribeAutoScalingGroups", 10, 400, "AccessDenied", "not allowed");
    world.double.faults().fail("GetParameter", 20, 400, "AccessDeniedException", "not allowed");
    let reply = world.get(METRICS, Some(READER)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    for (source, up) in
        [("group", 0), ("queue", 1), ("workers", 1), ("memory", 0), ("versions", 0), ("stable", 0)]
    {
        let line = format!("ghosthands_fleet_source_up{{source=\"{source}\"}} {up}\n");
        assert!(reply.text.contains(&line), "{line}: {}", reply.text);
    }
    for absent in ["_instances", "_cost", "_converging", "_last_tick", "_stable", "_paused"] {
        let name = format!("ghosthands_fleet{absent}");
        assert!(!reply.text.contains(&name), "{name}: {}", reply.text);
    }
    assert!(reply.text.contains("ghosthands_fleet_queue_jobs{state=\"ready\"} 5\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_unknown_and_not_empty() {
    let world = World::start(1).await;
    world.double.put_parameter(STATE, "{\"v\":1}").expect("kept");
    world.double.put_parameter(STABLE, "v2").expect("kept");
    let status = world.status().await;
    assert_eq!(sources(&status), ["memory", "stable"]);
    assert_eq!(status["versions"]["stable"], Value::Null);
    world.sql("DROP TABLE gh_worker_registry");
    // The catalog is read again after the first failure.
    world.status().await;
    let status = world.status().await;
    assert!(sources(&status).contains(&"workers".to_owned()), "{status}");
    assert_eq!((&status["workers"], &status["activeWorkers"]), (&Value::Null, &Value::Null));
    assert_eq!(status["queueDepth"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_is_given_up_and_the_rest_is_told() {
    let world = World::start(1).await;
    world.status().await;
    world.double.faults().delay("GetParameter", 20, Duration::from_secs(20));
    let began = Instant::now();
    let status = world.status().await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(sources(&status), ["memory", "stable"]);
    let reasons = unavailable(&status);
    assert!(reasons.iter().all(|(_, reason)| reason.contains("within")), "{reasons:?}");
    assert_eq!((&status["currentCapacity"], &status["queueDepth"]), (&json!(1), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_said_anything_does_not_cost_what_the_others_said() {
    let world = World::start(201).await;
    let hosts = world.instances();
    for _ in 0..3 {
        world.command(&hosts[1..], |_| deployed("v1")).await;
    }
    // It is looked for in every page, and these take longer together than a status may.
    world.double.faults().delay("ListCommandInvocations", 50, Duration::from_millis(500));
    let status = world.status().await;
    assert!(!sources(&status).contains(&"versions".to_owned()), "{}", status["unavailable"]);
    let unknown = status["versions"]["unknown"].as_u64();
    assert!(unknown.is_some_and(|unknown| (1..=151).contains(&unknown)), "{}", status["versions"]);
}
