//! SIGKILL at every journal record, one after the other, and a reboot at every one of them:
//! afterwards there is exactly one healthy container per service, old or new, and the history says
//! which and why.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::support::engine::{self, Engine};
use crate::support::host::Host;
use crate::support::{http, until};

const SIDE_BY_SIDE: usize = 3;

/// The library that ends the server at a chosen record.
fn crashpoint() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = engine::shared().folder.join("crashpoint.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/deploy/crashpoint.c");
        let arguments = ["-shared", "-fPIC", "-O1", "-o"];
        let built =
            Command::new("cc").args(arguments).arg(&library).args([source, "-ldl"]).status();
        assert!(built.expect("a C compiler").success());
        library
    })
}

fn quick(mut host: Host) -> Host {
    host.env.insert("GH_DEPLOY_HEALTHY_SECONDS".to_owned(), "0.3".to_owned());
    host
}

/// How many records a whole deploy of `tag` writes. No step is announced twice, so that every such
/// deploy writes as many.
fn records_of(host: &Host, tag: &str) -> usize {
    host.deploy(tag);
    let journal = std::fs::read_to_string(host.state("journal.jsonl")).expect("a journal");
    assert!(journal.lines().last().is_some_and(|line| line.contains("\"end\"")), "{journal}");
    let mut announced = BTreeSet::new();
    for line in journal.lines().filter(|line| line.contains(r#""doing""#)) {
        let step = line.split_once("doing").expect("it is in there").1;
        assert!(announced.insert(step.to_owned()), "{step} twice: {journal}");
    }
    journal.lines().count()
}

/// Restarts the server so that something happens at the given record.
fn restart_with(host: &mut Host, record: usize, when: &str) {
    host.kill();
    let library = crashpoint().display().to_string();
    let at = record.to_string();
    host.start_with(&[("LD_PRELOAD", &library), ("CRASH_AT", &at), ("CRASH_WHEN", when)]);
    host.wait_until_up();
}

/// Deploys `tag` with a server that dies at the given record.
fn die_at(host: &mut Host, tag: &str, record: usize, when: &str) {
    restart_with(host, record, when);
    let body = format!("{{\"image_tag\":\"{tag}\",\"wait\":false}}");
    let secret = [("X-Deploy-Secret", crate::support::host::SECRET)];
    until("the deploy is taken up", Duration::from_secs(30), || {
        // It may die before it answers. A worker that is being put back to work has the lock for a
        // moment.
        let reply = http::try_send(host.port, "POST", "/deploy", &secret, Some(&body));
        reply.is_none_or(|reply| reply.status == 202).then_some(())
    });
    let status = host.wait_for_end(Duration::from_secs(60));
    assert!(!status.success(), "it was to die at record {record}");
}

/// Waits for the recovery and checks what it left. Returns the tag that is in service.
#[track_caller]
fn assert_recovered(host: &Host, old: &str, new: &str, context: &str) -> String {
    until(&format!("{context}: recovered"), Duration::from_secs(90), || {
        let health = http::try_send(host.port, "GET", "/health", &[], None)?.json();
        health["operation"].is_null().then_some(())
    });
    let serving = until(&format!("{context}: it serves"), Duration::from_secs(20), || {
        host.running_tag("worker")
    });
    assert!(serving == old || serving == new, "{context}: {serving}");
    host.assert_serves(&serving);
    let last = host.last_deploy();
    if last["imageTag"] == new && last["status"] == "deployed" {
        assert_eq!(serving, new, "{context}: {last}");
    } else {
        assert_eq!(serving, old, "{context}: {last}");
        if last["imageTag"] == new {
            assert!(
                last["error"].as_str().is_some_and(|error| !error.is_empty()),
                "{context}: {last}"
            );
        }
    }
    let status = host.worker("GET", "/worker/status").json();
    assert_eq!(status["accepting"], true, "{context}: the worker takes work");
    serving
}

/// Works through `points` with a few hosts side by side.
fn work_through(
    points: Vec<(usize, &'static str)>,
    work: impl Fn(&mut Host, usize, &'static str) + Sync,
) {
    let points = Mutex::new(VecDeque::from(points));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                let mut host = quick(Host::new());
                host.start();
                assert_eq!(host.deploy("v1").status, 200);
                loop {
                    let next = points.lock().expect("no panic holds it").pop_front();
                    let Some((record, when)) = next else { break };
                    work(&mut host, record, when);
                }
            });
        }
    });
}

fn every_point(records: usize) -> Vec<(usize, &'static str)> {
    let both = (1..=records).flat_map(|record| ["before", "after"].map(|when| (record, when)));
    // A torn line is read as one that was never written; a few of them show that it is.
    both.chain((1..=records).step_by(6).map(|record| (record, "torn"))).collect()
}

#[test]
fn killed_at_every_record_of_a_good_deploy() {
    let mut host = quick(Host::new());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    let records = records_of(&host, "v2");
    assert!(records > 20, "{records}");
    work_through(every_point(records), |host, record, when| {
        let old = host.running_tag("worker").expect("it serves");
        let new = if old == "v1" { "v2" } else { "v1" };
        die_at(host, new, record, when);
        host.start();
        assert_recovered(host, &old, new, &format!("record {record}, {when}"));
    });
}

#[test]
fn killed_at_every_record_of_a_deploy_that_is_rolled_back() {
    let mut host = quick(Host::new());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    let records = records_of(&host, "worker-crashes");
    assert!(records > 25, "{records}");
    work_through(every_point(records), |host, record, when| {
        die_at(host, "worker-crashes", record, when);
        host.start();
        let context = format!("record {record}, {when}");
        assert_eq!(assert_recovered(host, "v1", "worker-crashes", &context), "v1");
    });
}

/// From some record on there is no space for the journal: the way forward is closed, the way back
/// is not.
#[test]
fn a_disk_that_is_full_from_any_record_on_never_leaves_a_service_down() {
    let mut host = quick(Host::new());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    let records = records_of(&host, "v2");
    work_through((1..=records).map(|record| (record, "full")).collect(), |host, record, when| {
        let old = host.running_tag("worker").expect("it serves");
        let new = if old == "v1" { "v2" } else { "v1" };
        restart_with(host, record, when);
        let reply = host.deploy(new).json();
        let context = format!("full from record {record}: {reply}");
        let serving = host.running_tag("worker").unwrap_or_else(|| panic!("{context}"));
        host.assert_serves(&serving);
        if serving == old {
            assert!(
                reply["error"].as_str().is_some_and(|error| error.contains("No space left")),
                "{context}"
            );
        } else {
            assert_eq!(record, records, "only the end was not written: {context}");
        }
        host.kill();
        host.start();
        assert_recovered(host, &old, new, &context);
    });
}

/// Each host dies at another record, then the machine restarts under all of them.
#[test]
fn rebooted_at_every_record_of_a_good_deploy() {
    let shared = engine::shared();
    let folder = tempfile::Builder::new().prefix("gh-reboot").tempdir().expect("a folder").keep();
    let engine: &'static Engine =
        Box::leak(Box::new(Engine::start(folder, shared.registry.clone())));
    let mut first = quick(Host::on(engine));
    first.start();
    assert_eq!(first.deploy("v1").status, 200);
    let records = records_of(&first, "v2");

    let points = Mutex::new((1..=records).collect::<VecDeque<_>>());
    let hosts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let next = points.lock().expect("no panic holds it").pop_front();
                    let Some(record) = next else { break };
                    let mut host = quick(Host::on(engine));
                    host.start();
                    assert_eq!(host.deploy("v1").status, 200);
                    die_at(&mut host, "v2", record, "after");
                    hosts.lock().expect("no panic holds it").push((record, host));
                }
            });
        }
    });
    let mut hosts = hosts.into_inner().expect("no panic holds it");
    first.kill();
    engine.stop_daemon();
    // The server comes up before the engine does.
    for (_, host) in &mut hosts {
        host.start_with(&[]);
    }
    engine.start_daemon();
    for (record, host) in &hosts {
        assert_recovered(host, "v1", "v2", &format!("reboot at record {record}"));
    }
}

#[test]
fn a_clock_that_is_set_back_in_mid_deploy_keeps_it_waiting_no_longer() {
    let mut host = quick(Host::new());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    records_of(&host, "v2");
    let journal = std::fs::read_to_string(host.state("journal.jsonl")).expect("a journal");
    let gate = journal.lines().position(|line| line.contains(r#""gate":"api""#));
    restart_with(&mut host, gate.expect("a gate") + 1, "back");
    let reply = host.deploy("v1");
    assert_eq!(reply.status, 200, "{reply:?}");
    host.assert_serves("v1");
}

#[test]
fn a_crash_before_the_last_record_leaves_no_word_of_a_drain_of_the_former_worker() {
    let mut host = quick(Host::new());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    // Twice: only from the second on there is a container of before to clear away, which is a
    // record more.
    records_of(&host, "v2");
    let records = records_of(&host, "v1");
    let former = serde_json::json!({ "container": host.running_id("worker") });
    let marker = host.state("stopped-by-drain.json");
    std::fs::write(&marker, former.to_string()).expect("a marker");
    die_at(&mut host, "v2", records, "before");
    host.start();
    assert_eq!(assert_recovered(&host, "v1", "v2", "the last record"), "v2");
    assert!(!marker.exists());
}

/// An old worker is put back to work by a stop and a start; the server dies between the two.
#[test]
fn a_restart_of_the_drained_worker_is_finished_after_a_crash() {
    let mut host = Host::running("old-catches");
    host.worker("POST", "/test/job");
    assert_eq!(host.deploy("v2").json()["failedStep"], "drain-worker");
    host.worker("POST", "/test/done");
    let undrain = host.state("undrain.json");
    until("the worker is told to end", Duration::from_secs(30), || {
        let reply = http::try_send(host.worker_port, "GET", "/worker/status", &[], None);
        // This worker takes a job when it is told to end. On a slow machine it may be over already.
        let told = reply.is_some_and(|reply| reply.json()["active_jobs"] == 1);
        (told || !undrain.exists()).then_some(())
    });
    host.kill();
    until("the worker ends, or was restarted already", Duration::from_secs(30), || {
        let state = host.inspect(&host.container("worker"), "{{.State.Status}}");
        (state.as_deref() == Some("exited") || !undrain.exists()).then_some(())
    });
    host.start();
    until("it works again", Duration::from_secs(30), || {
        let reply = http::try_send(host.worker_port, "GET", "/worker/status", &[], None)?;
        (reply.json()["is_draining"] == false).then_some(())
    });
    until("nothing is left to do", Duration::from_secs(30), || (!undrain.exists()).then_some(()));
    host.assert_serves("old-catches");
}

#[test]
fn an_engine_that_restarts_in_mid_deploy_is_waited_for() {
    let shared = engine::shared();
    let folder = tempfile::Builder::new().prefix("gh-restart").tempdir().expect("a folder").keep();
    let engine: &'static Engine =
        Box::leak(Box::new(Engine::start(folder, shared.registry.clone())));
    let mut host = Host::on(engine);
    host.env.insert("GH_DEPLOY_HEALTHY_SECONDS".to_owned(), "4".to_owned());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    std::thread::scope(|scope| {
        let deploy = scope.spawn(|| host.deploy("v2"));
        until("the gate is reached", Duration::from_secs(30), || {
            let health = host.get("/health").json();
            (health["currentDeploy"]["step"] == "start-services").then_some(())
        });
        let next = format!("{}.next", host.container("api"));
        until("the new container runs", Duration::from_secs(30), || {
            let running = host.inspect(&next, "{{.State.Running}}");
            (running.as_deref() == Some("true")).then_some(())
        });
        engine.stop_daemon();
        engine.start_daemon();
        let reply = deploy.join().expect("it answers");
        assert_eq!(reply.json()["status"], "rolled_back", "{reply:?}");
    });
    host.assert_serves("v1");
}
