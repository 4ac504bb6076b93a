//! The fleet's figures for Prometheus: the same as the status's, and none of a source that is down.

use crate::status::*;
use fleet_core::rollout;
use fleet_core::scaling::{Memory, State, Tag, WorkerStatus};
use fleet_core::status::{Inputs, LastRollout, assemble, exposition};
use fleet_protocol::reading::Reading;
use fleet_protocol::time::UnixMs;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Each sample's name and labels, and its value.
fn samples(readings: &Inputs) -> BTreeMap<String, f64> {
    let text = exposition(readings, "1.2.3").into_text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let name = name.strip_prefix("ghosthands_fleet_").expect("the fleet's own");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

fn state_of(readings: &mut Inputs) -> &mut State {
    match &mut readings.memory {
        Reading::Known(Memory::Kept(state)) => state,
        _ => panic!("the memory is known"),
    }
}

#[test]
fn the_fleets_figures_are_those_of_its_status() {
    let mut readings = readings();
    let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
    group_of(&mut readings).tags = vec![
        tag("ghosthands:floor", "3@2026-11-24T00:00:01Z"),
        tag("ghosthands:paused", "true@2026-11-24T00:00:01Z"),
    ];
    group_of(&mut readings).suspended = vec!["Launch".to_owned()];
    state_of(&mut readings).at = UnixMs(NOW.0 - 60_500);
    state_of(&mut readings).converging = Some(false);
    let ended = UnixMs(NOW.0 - 3_600_000);
    readings.last_rollout = Some(LastRollout { state: rollout::State::RolledBack, at: ended });
    let told = samples(&readings);
    let now = 1_795_478_400.0;
    for (name, value) in [
        ("info{environment=\"test\",group=\"asg\",version=\"1.2.3\"}", 1.0),
        ("scaling_enabled", 1.0),
        ("dry_run", 0.0),
        ("wait_target_seconds", 180.0),
        ("desired_instances", 4.0),
        ("min_instances", 3.0),
        ("max_instances", 8.0),
        ("floor_instances", 3.0),
        ("paused", 1.0),
        ("suspended_processes", 1.0),
        ("instances{lifecycle=\"InService\"}", 3.0),
        ("instances{lifecycle=\"Pending\"}", 1.0),
        ("instances{lifecycle=\"Terminating:Wait\"}", 1.0),
        ("instances{lifecycle=\"Standby\"}", 0.0),
        ("instances{lifecycle=\"other\"}", 0.0),
        ("unhealthy_instances", 0.0),
        ("workers{state=\"busy\"}", 1.0),
        ("workers{state=\"idle\"}", 1.0),
        ("workers{state=\"silent\"}", 1.0),
        ("workers{state=\"draining\"}", 1.0),
        ("workers{state=\"offline\"}", 0.0),
        ("queue_jobs{state=\"ready\"}", 5.0),
        ("queue_jobs{state=\"due_soon\"}", 2.0),
        ("queue_jobs{state=\"deferred\"}", 4.0),
        ("queue_jobs{state=\"active\"}", 3.0),
        ("queue_jobs{state=\"expired\"}", 2.0),
        ("queue_oldest_wait_seconds", 6.0),
        ("last_tick_timestamp_seconds", now - 60.5),
        ("last_decision_timestamp_seconds", now),
        ("last_decision_failed", 0.0),
        ("converging", 0.0),
        ("drifted_instances", 1.0),
        ("unproven_instances", 3.0),
        ("stable_version_info{image_tag=\"v2\"}", 1.0),
        ("last_rollout_state{state=\"rolled_back\"}", 1.0),
        ("last_rollout_state{state=\"succeeded\"}", 0.0),
        ("last_rollout_timestamp_seconds", now - 3600.0),
        ("cost_usd_per_hour", 0.442_301),
        ("source_up{source=\"group\"}", 1.0),
        ("source_up{source=\"stable\"}", 1.0),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name}: {told:#?}");
    }
}

#[test]
fn what_nobody_knows_is_left_out() {
    let mut readings = readings();
    queue_of(&mut readings).targeted[0].counts.active = unknown("too many");
    queue_of(&mut readings).general.deferred = None;
    group_of(&mut readings).max = 0;
    readings.stable = Reading::Known(None);
    let told = samples(&readings);
    for absent in [
        "queue_jobs{state=\"active\"}",
        "queue_jobs{state=\"expired\"}",
        "queue_jobs{state=\"deferred\"}",
        "min_instances",
        "max_instances",
        "floor_instances",
        "converging",
        "drifted_instances",
        "last_rollout_timestamp_seconds",
    ] {
        assert!(!told.contains_key(absent), "{absent}: {told:#?}");
    }
    assert!(!told.keys().any(|name| name.starts_with("stable_") || name.contains("rollout")));
    assert_eq!(told["source_up{source=\"active_jobs\"}"], 0.0);
    assert_eq!(
        (told["source_up{source=\"queue\"}"], told["queue_jobs{state=\"ready\"}"]),
        (1.0, 5.0)
    );
}

#[test]
fn nothing_that_the_status_leaves_out_is_missing_in_the_counts() {
    let mut readings = readings();
    let many = (1..=1_500).map(|n| instance(n, "InService")).collect();
    group_of(&mut readings).instances = many;
    let rows = (1..=400).map(|n| row(n, WorkerStatus::Active, false, 5)).collect();
    queue_of(&mut readings).workers = Reading::Known(rows);
    let status = assemble(&readings);
    assert_eq!((status.instances_omitted, status.workers_omitted), (500, 100));
    let told = samples(&readings);
    assert_eq!(told["instances{lifecycle=\"InService\"}"], 1_500.0);
    assert_eq!(told["workers{state=\"idle\"}"], 400.0);
}

#[test]
fn how_the_last_rollout_ended_is_read_from_beside_the_stable_pointer() {
    let ended = r#"{"image_tag":"v2","ended":[{"id":"c-2","key":"k","state":"partial","at":1764000000000},{"id":"c-1","key":"j","state":"succeeded","at":1763000000000}]}"#;
    let last = LastRollout { state: rollout::State::Partial, at: UnixMs(1_764_000_000_000) };
    assert_eq!(LastRollout::read(ended), Some(last));
    for none in [
        r#"{"image_tag":"v2"}"#,
        r#"{"image_tag":"v2","ended":[]}"#,
        r#"{"image_tag":"v2","ended":[{"state":"undone","at":1764000000000}]}"#,
        "v2",
    ] {
        assert_eq!(LastRollout::read(none), None, "{none}");
    }
}

proptest! {
    /// Whichever sources are down: none of their figures is there, and those of the others are as
    /// they were.
    #[test]
    fn a_source_that_is_down_costs_its_own_figures_only(
        group in any::<bool>(), queue in any::<bool>(), registry in any::<bool>(),
        memory in any::<bool>(), proofs in any::<bool>(), stable in any::<bool>(),
    ) {
        let mut readings = readings();
        let whole = samples(&readings);
        if !registry { queue_of(&mut readings).workers = unknown("registry"); }
        if !group { readings.group = unknown("group"); }
        if !queue { readings.queue = unknown("queue"); }
        if !memory { readings.memory = unknown("memory"); }
        if !proofs { readings.proofs = unknown("versions"); }
        if !stable { readings.stable = unknown("stable"); }
        let told = samples(&readings);
        let source = |name: &str| f64::from(u8::from(match name {
            "group" => group,
            "queue" | "active_jobs" => queue,
            "workers" => queue && registry,
            "memory" => memory,
            "versions" => proofs,
            _ => stable,
        }));
        for (name, value) in &whole {
            let asked = name.strip_prefix("source_up{source=\"").and_then(|it| it.strip_suffix("\"}"));
            if let Some(asked) = asked {
                prop_assert_eq!(told[name], source(asked), "{}", name);
                continue;
            }
            let metric = name.split('{').next().unwrap_or_default();
            let known = match metric {
                "info" | "scaling_enabled" | "dry_run" | "wait_target_seconds" => true,
                "workers" => queue && registry,
                "queue_jobs" | "queue_oldest_wait_seconds" => queue,
                "last_tick_timestamp_seconds" | "last_decision_timestamp_seconds"
                | "last_decision_failed" | "converging" => memory,
                "drifted_instances" => group && proofs && stable,
                "unproven_instances" => group && proofs,
                "stable_version_info" => stable,
                _ => group,
            };
            // The queue's numbers are the group's own workers' where the group is known.
            if known && (group || !metric.starts_with("queue")) {
                prop_assert_eq!(told.get(name), Some(value), "{}", name);
            } else {
                prop_assert_eq!(told.contains_key(name), known, "{}", name);
            }
        }
        prop_assert!(told.keys().all(|name| whole.contains_key(name)));
    }
}
