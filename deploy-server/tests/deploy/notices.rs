//! What the instance metadata makes a host do, and what it does not.

use std::time::Duration;

use fleet_core::drain::Finding;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::drains::report;
use crate::support::host::Host;
use crate::support::http;
use crate::support::metadata::Metadata;
use crate::support::until;

const STATE: &str = "autoscaling/target-lifecycle-state";
const SPOT: &str = "spot/instance-action";
/// Three looks of the watcher, and what a busy machine needs beside.
const SOON: Duration = Duration::from_secs(40);

fn host_that_reads(metadata: &Metadata) -> Host {
    let mut host = Host::new();
    host.env.remove("AWS_EC2_METADATA_DISABLED");
    let endpoint = metadata.endpoint.clone();
    host.env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), endpoint);
    host.env.insert("GH_DEPLOY_STOP_SECONDS".to_owned(), "20".to_owned());
    host.start();
    let deployed = host.deploy("v1");
    assert_eq!(deployed.status, 200, "{deployed:?}");
    host
}

/// Waits for whole looks that began after this moment.
fn wait_for_looks(metadata: &Metadata, path: &str, looks: usize) {
    let before = metadata.asked(path);
    until("the metadata is asked", SOON, || (metadata.asked(path) > before + looks).then_some(()));
}

fn accepts(host: &Host) -> bool {
    host.worker("GET", "/worker/status").json()["accepting"] == true
}

fn is_terminating(host: &Host) -> bool {
    host.get("/health").json()["terminating"] == true
}

#[test]
fn an_instance_that_its_group_ends_drains_by_itself_and_remembers_it() {
    let metadata = Metadata::start();
    metadata.say(STATE, 200, "InService");
    let mut host = host_that_reads(&metadata);
    host.worker("POST", "/test/job");
    wait_for_looks(&metadata, STATE, 1);
    assert!(!is_terminating(&host) && accepts(&host), "in service, nothing happens");

    metadata.say(STATE, 200, "Terminated");
    until("the intake is closed", SOON, || (!accepts(&host)).then_some(()));
    assert!(is_terminating(&host));
    assert_eq!(host.worker("GET", "/worker/status").json()["active_jobs"], 1, "the job goes on");
    assert_eq!(host.deploy("v2").status, 409);

    // The metadata is away after a restart, and the worker was put back to work by somebody.
    metadata.say(STATE, 500, "");
    host.kill();
    host.worker("POST", "/worker/resume");
    host.start();
    assert!(is_terminating(&host));
    until("it is drained again", SOON, || (!accepts(&host)).then_some(()));
    host.worker("POST", "/test/done");
    let said = report(&host.cli(&["drain", "--terminating", "--timeout", "30", "--json"]));
    let instance = fleet_protocol::ids::InstanceId::new("i-0123456789abcdef0");
    assert_eq!(Finding::of(&said, &instance), Finding::Drained, "{said:?}");
}

#[test]
fn a_notice_given_while_the_server_was_away_is_found_at_its_start() {
    let metadata = Metadata::start();
    let mut host = host_that_reads(&metadata);
    host.kill();
    metadata.say(STATE, 200, "Terminated\n");
    host.start();
    until("the intake is closed", SOON, || (!accepts(&host)).then_some(()));
}

#[test]
fn metadata_that_is_unknown_or_says_something_else_drains_nothing() {
    let metadata = Metadata::start();
    let mut host = host_that_reads(&metadata);
    let answers = [
        (503, "Terminated", 500, r#"{"action":"terminate","time":"2026-01-01T00:00:00Z"}"#),
        (200, "Warmed:Stopped", 200, "<html>Terminated</html>"),
    ];
    for (status, state, spot_status, spot) in answers {
        metadata.say(STATE, status, state);
        metadata.say(SPOT, spot_status, spot);
        wait_for_looks(&metadata, STATE, 1);
        assert!(!is_terminating(&host) && accepts(&host), "{status} {state:?} {spot:?}");
    }
    // Nobody answers at all.
    host.kill();
    let nobody = format!("http://127.0.0.1:{}", crate::support::free_port());
    host.env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), nobody);
    host.start();
    until("it is found out", SOON, || host.log().contains("could not be reached").then_some(()));
    assert!(!is_terminating(&host) && accepts(&host));
    // A host that is told to leave the metadata alone does so.
    host.kill();
    host.env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), metadata.endpoint.clone());
    host.env.insert("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned());
    metadata.say(STATE, 200, "Terminated");
    host.start();
    until("it says so", SOON, || host.log().contains("by commands only").then_some(()));
    assert!(!is_terminating(&host) && accepts(&host));
}

#[test]
fn a_spot_worker_is_told_to_end_in_time_to_end_before_the_machine_does() {
    let metadata = Metadata::start();
    let host = host_that_reads(&metadata);
    host.worker("POST", "/test/job");
    // The grace of this host is 20 s and the reserve 10 s: the job may go on for 15 s of these 45.
    let taken = Timestamp::now() + SignedDuration::from_secs(45);
    let notice =
        json!({ "action": "terminate", "time": taken.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
    metadata.say(SPOT, 200, &notice.to_string());
    until("the intake is closed", SOON, || (!accepts(&host)).then_some(()));
    assert!(is_terminating(&host));
    assert_eq!(host.worker("GET", "/worker/status").json()["active_jobs"], 1, "the job goes on");
    until("the worker has ended", SOON, || {
        http::try_send(host.worker_port, "GET", "/worker/status", &[], None).is_none().then_some(())
    });
    let state = "{{.State.Running}} {{.State.ExitCode}} {{.State.FinishedAt}}";
    let ended = until("the engine knows it", SOON, || {
        let ended = host.inspect(&host.container("worker"), state)?;
        ended.starts_with("false").then_some(ended)
    });
    let mut words = ended.split(' ').skip(1);
    assert_eq!(words.next(), Some("0"), "by SIGTERM and by itself, not killed: {ended}");
    let finished: Timestamp = words.next().expect("a time").parse().expect("RFC 3339");
    assert!(finished < taken, "{finished} is before {taken}");
    // The server hears of the end a moment after the engine does.
    until("it says whose job that cost", SOON, || {
        host.log().contains(r#""stopped_jobs":1"#).then_some(())
    });
    // Nobody asked for that, so whoever asks later is told.
    let said = report(&host.cli(&["drain", "--terminating", "--timeout", "30", "--json"]));
    assert_eq!((said.worker_stopped, said.stopped_jobs), (true, Some(1)), "{said:?}");
}

#[test]
fn a_job_that_the_hosts_own_drain_caught_is_told_to_whoever_asks_later() {
    let metadata = Metadata::start();
    let host = host_that_reads(&metadata);
    let deployed = host.deploy("old-catches");
    assert_eq!(deployed.status, 200, "{deployed:?}");
    metadata.say(STATE, 200, "Terminated");
    until("the old worker is stopped", SOON, || {
        host.log().contains("took work between its last idle answer and its end").then_some(())
    });
    for _ in 0..2 {
        let said = report(&host.cli(&["drain", "--terminating", "--timeout", "30", "--json"]));
        assert_eq!((said.worker_stopped, said.caught_jobs), (true, 1), "{said:?}");
    }
}
