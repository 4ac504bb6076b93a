//! The fleet itself: workers, jobs, scaling, versions, and a fleet in which nothing is wrong.

use crate::world::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;

/// What docs/policies/doctor.json allows.
fn allowed() -> BTreeSet<String> {
    let policy: Value =
        serde_json::from_str(include_str!("../../../docs/policies/doctor.json")).expect("JSON");
    let statements = policy["Statement"].as_array().expect("a list");
    let actions = statements.iter().flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        one => vec![one.clone()],
    });
    actions.map(|action| action.as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_in_which_nothing_is_wrong_ends_with_0() {
    let world = World::start().await;
    let found = world.doctor().await;
    assert_eq!(found.troubles(), [""; 0]);
    assert_eq!(found.code, 0);
    let ran = world.run(&["doctor"], &[]).await;
    assert_eq!(ran.code, 0);
    assert!(ran.text.lines().all(|line| line.chars().count() <= 80), "{}", ran.text);
}

/// The calls of the status function are not doctor's, and are of another service's role.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_makes_the_calls_of_its_policy_and_every_one_of_them_reads() {
    let world = World::start().await;
    let found = world.doctor_with(&["--group", GROUP, "--environment", "test"], &[DOWN]).await;
    assert_eq!(found.code, 69, "{:#?}", found.troubles());
    let calls = world.double.calls();
    let writing: Vec<_> = calls.iter().filter(|call| call.is_mutating()).collect();
    assert!(writing.is_empty(), "{writing:?}");
    let made: BTreeSet<String> = calls
        .iter()
        .map(|call| {
            // CloudWatch's policies have another name than its signatures.
            let service = if call.service == "monitoring" { "cloudwatch" } else { &call.service };
            format!("{service}:{}", call.action)
        })
        .collect();
    assert_eq!(made, allowed());
    assert_eq!(calls.len(), 14, "{made:?}");
}

/// An address where nobody listens.
const DOWN: (&str, &str) = ("GHFLEET_URL", "http://127.0.0.1:9");

/// Its calls do not grow with the fleet, but for the pages of SSM's list of agents.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_machines_take_three_calls_more() {
    let group = Setup::default().group.desired(200);
    let settings = vec![("AUTOSCALE_MIN", "200"), ("AUTOSCALE_MAX", "250")];
    let group = aws_double::GroupSpec { max: 300, ..group };
    let world = World::of(Setup { group, settings, ..Setup::default() }).await;
    let mut took = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let ran = world.run(&["doctor", "--json"], &[]).await;
        took.push(begun.elapsed());
        assert_eq!(ran.code, 0, "{}", ran.text);
    }
    took.sort_unstable();
    println!("doctor of 200 machines: p50 {:?}, {:?} to {:?}", took[2], took[0], took[4]);
    world.double.clear_calls();
    let found = world.doctor_with(&["--group", GROUP, "--environment", "test"], &[DOWN]).await;
    assert_eq!(found.code, 69, "{:#?}", found.troubles());
    assert_eq!(world.double.calls().len(), 14 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_did_not_register_and_one_that_fell_silent_are_named() {
    let world = World::start().await;
    let [first, second] = <[String; 2]>::try_from(world.instances()).expect("two");
    world.sql(&format!("DELETE FROM gh_worker_registry WHERE worker_id = '{first}'"));
    world.sql(&format!(
        "UPDATE gh_worker_registry SET last_heartbeat = now() - interval '10 minutes' \
         WHERE worker_id = '{second}'"
    ));
    let found = world.doctor().await;
    assert_eq!(found.code, 1);
    let shell = format!("ghfleet shell {first} --run");
    found.names("workers", "registration", &format!("registered from {first}"), &shell);
    found.names("workers", "heartbeats", &second, "docker logs ghosthands-worker-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_take_nothing_are_named_and_those_that_may_not() {
    let mut world = World::start().await;
    world.boss.insert(QUEUE, 3, json!({}), json!({})).expect("sent");
    world.sql("UPDATE pgboss.job SET start_after = now() - interval '5 minutes'");
    let [first, second] = <[String; 2]>::try_from(world.instances()).expect("two");
    world.sql(&format!(
        "UPDATE gh_worker_registry SET status = 'draining', metadata = '{{}}' \
         WHERE worker_id = '{second}'"
    ));
    let found = world.doctor().await;
    assert_eq!(found.code, 1);
    found.names("jobs", "takers", &format!("of these take nothing: {first}"), "ghfleet shell");
    found.is("warning", "jobs", "oldest wait", "3 jobs are ready", "ghfleet explain --now");
    found.is("warning", "workers", "intake", &second, "sudo deploy-server resume");
    found.is("warning", "workers", "contract", &second, "WORKER-CONTRACT.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_capacity_from_growing_is_named() {
    let settings = vec![("AUTOSCALE_ASG_ENABLED", "false")];
    let world = World::of(Setup { settings, ..Setup::default() }).await;
    let found = world.doctor().await;
    found.names("scaling", "mode", "AUTOSCALE_ASG_ENABLED is not true", "Mode=act");
    let settings = vec![("DRY_RUN", "true")];
    let world = World::of(Setup { settings, ..Setup::default() }).await;
    let found = world.doctor().await;
    found.is("warning", "scaling", "mode", "Mode is observe", "Mode=act");
    // Ticks that change nothing keep no memory either.
    assert_eq!(found.of("access", "control plane").0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_a_full_group_and_a_suspended_launch_are_named() {
    let settings = vec![("AUTOSCALE_MAX", "2")];
    let mut world = World::of(Setup { settings, ..Setup::default() }).await;
    world.boss.insert(QUEUE, 5, json!({}), json!({})).expect("sent");
    let ran = world.run(&["scale", "--pause", "--for", "60m"], &[]).await;
    assert_eq!(ran.code, 0, "{}", ran.text);
    world.auto_scaling("SuspendProcesses", "&ScalingProcesses.member.1=Launch").await;
    let found = world.doctor().await;
    found.is("warning", "scaling", "set by hand", "paused", "ghfleet scale --no-pause");
    found.is("warning", "scaling", "capacity", "there may be no more workers", "Max=N");
    found.names("group", "processes", "somebody suspended Launch", "resume-processes");
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_that_stopped_are_named() {
    let world = World::start().await;
    assert!(world.double.delete_parameter("/ghosthands/test/autoscale/state"));
    let found = world.doctor().await;
    found.names("scaling", "ticks", "no tick is remembered", "runbooks/autoscale-silent.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_beside_the_stable_version_and_a_fleet_without_one_are_named() {
    let world = World::start().await;
    let hosts = world.instances();
    world.survey(&hosts[..1], "v0").await;
    let found = world.doctor().await;
    assert_eq!(found.code, 14, "{:#?}", found.troubles());
    found.is("warning", "versions", "hosts", &hosts[0], "ghfleet deploy v1");
    world.double.put_parameter(STABLE, "v1").expect("kept");
    let found = world.doctor().await;
    found.names("versions", "stable version", "no stable version", "ghfleet deploy TAG");
    assert!(world.double.delete_parameter(STABLE));
    let found = world.doctor().await;
    found.is("warning", "versions", "stable version", "there is none", "ghfleet deploy TAG");
}
