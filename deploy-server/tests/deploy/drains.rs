//! Drains: what they prove, what they admit not to know, and what a terminating host remembers.

use std::process::Output;
use std::time::{Duration, Instant};

use fleet_core::drain::{DrainReport, Finding};
use fleet_protocol::ids::InstanceId;
use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::until;

fn line(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The same, as the fleet's drain function reads it: found in the output, and short enough to get
/// there whole.
pub(crate) fn report(output: &Output) -> DrainReport {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.chars().count() <= 2000, "{text}");
    line(output);
    DrainReport::find(&text).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn finding(output: &Output) -> Finding {
    Finding::of(&report(output), &InstanceId::new("i-0123456789abcdef0"))
}

#[test]
fn a_drain_waits_for_the_job_and_shows_the_reading() {
    let host = Host::running("v1");
    host.worker("POST", "/test/job");
    let busy = host.post("/drain", Some(r#"{"timeout_seconds":0.5}"#));
    assert_eq!(busy.status, 409);
    let body = busy.json();
    assert_eq!((&body["drained"], &body["activeJobs"]), (&json!(false), &json!(1)), "{body}");
    assert_eq!(body["message"], "Not drained: the worker still runs 1 job(s)");
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| host.post("/drain", None));
        until("it waits", Duration::from_secs(10), || {
            (host.get("/health").json()["operation"] == "drain").then_some(())
        });
        std::thread::sleep(Duration::from_millis(500));
        host.worker("POST", "/test/done");
        let reply = drain.join().expect("it answers");
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = reply.json();
        assert_eq!((&body["success"], &body["message"]), (&json!(true), &json!("Drain complete")));
        assert_eq!((&body["drained"], &body["accepting"]), (&json!(true), &json!(false)));
        assert!(body["waitedMs"].as_u64().is_some_and(|ms| ms >= 500), "{body}");
    });
    // The way back.
    let resumed = http_delete(&host);
    assert_eq!(resumed, 200);
    assert_eq!(host.worker("GET", "/worker/status").json()["accepting"], true);
}

fn http_delete(host: &Host) -> u16 {
    let secret = [("X-Deploy-Secret", crate::support::host::SECRET)];
    crate::support::http::send(host.port, "DELETE", "/drain", &secret, None).status
}

#[test]
fn a_drain_as_valet_asks_for_it_is_taken() {
    let host = Host::running("v1");
    let reply = host.post("/drain", Some(r#"{"worker_id":"w1"}"#));
    assert_eq!((reply.status, reply.json()["drained"].clone()), (200, json!(true)), "{reply:?}");
}

#[test]
fn a_silent_worker_is_not_drained() {
    let host = Host::running("v1");
    host.engine.docker(&["pause", &host.container("worker")]);
    let reply = host.post("/drain", Some(r#"{"timeout_seconds":0.5}"#));
    host.engine.docker(&["unpause", &host.container("worker")]);
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.json()["drained"], false);
    assert_eq!(reply.json()["activeJobs"], Value::Null);
}

#[test]
fn the_wrong_path_of_the_predecessor_is_not_taken_for_a_drain() {
    let host = Host::running("nodrain");
    let reply = host.post("/drain", Some(r#"{"timeout_seconds":0.5}"#));
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.body.contains("404 to POST /worker/drain"), "{reply:?}");
}

#[test]
fn an_old_worker_is_stopped_when_it_is_idle_and_started_again_on_resume() {
    let host = Host::running("old1");
    let reply = host.post("/drain", None);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["workerStopped"], true);
    let running = |host: &Host| host.inspect(&host.container("worker"), "{{.State.Running}}");
    assert_eq!(running(&host).as_deref(), Some("false"));
    let again = host.post("/drain", None);
    assert_eq!((again.status, again.json()["workerStopped"].clone()), (200, json!(true)));
    assert_eq!(http_delete(&host), 200);
    until("it works again", Duration::from_secs(10), || host.running_tag("worker"));
    // A deploy that fails after such a drain brings the stopped worker back as well.
    assert_eq!(host.post("/drain", None).status, 200);
    let failed = host.deploy("worker-crashes");
    assert_eq!(failed.json()["status"], "rolled_back", "{failed:?}");
    host.assert_serves("old1");
}

#[test]
fn a_worker_that_crashes_again_and_again_is_stopped_before_its_host_counts_as_drained() {
    let host = Host::started();
    let name = host.container("worker");
    let image = format!("{}/ghosthands:worker-crashes", host.engine.registry);
    let run = ["run", "-d", "--name", &name, "--net", "host", "--restart", "always", &image];
    host.engine.docker(&[&run[..], &["/run.sh", "worker"]].concat());
    let state = || host.inspect(&name, "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}");
    let comes_and_goes = || {
        until("it waits for its next start", Duration::from_secs(30), || {
            (state().as_deref() == Some("restarting always")).then_some(())
        });
    };
    comes_and_goes();
    let reply = host.post("/drain", None);
    assert_eq!((reply.status, reply.json()["workerStopped"].clone()), (200, json!(true)));
    assert_eq!(state().as_deref(), Some("exited always"), "{reply:?}");
    assert_eq!(http_delete(&host), 200);
    comes_and_goes();
    let drained = host.cli(&["drain", "--terminating", "--timeout", "20", "--json"]);
    assert_eq!(finding(&drained), Finding::Drained, "{drained:?}");
    assert_eq!(state().as_deref(), Some("exited no"), "{drained:?}");
}

/// `always` would start it at the engine's next start, stopped or not.
#[test]
fn a_terminating_drain_takes_the_restart_policy_of_a_worker_that_it_stops() {
    let host = Host::running("old1");
    let name = host.container("worker");
    host.engine.docker(&["update", "--restart", "always", &name]);
    let drained = host.cli(&["drain", "--terminating", "--timeout", "20", "--json"]);
    assert_eq!(finding(&drained), Finding::Drained, "{drained:?}");
    let state = host.inspect(&name, "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}");
    assert_eq!(state.as_deref(), Some("exited no"));
}

#[test]
fn a_drain_takes_back_the_restart_that_would_undo_it() {
    let host = Host::running("old1");
    host.worker("POST", "/test/job");
    assert_eq!(host.deploy("v2").json()["failedStep"], "drain-worker");
    assert!(host.state("undrain.json").exists(), "it is to be restarted once it is idle");
    assert_eq!(host.post("/drain", Some(r#"{"timeout_seconds":0}"#)).status, 409);
    assert!(!host.state("undrain.json").exists());
}

#[test]
fn a_worker_that_was_replaced_since_its_drain_is_not_started_beside_the_new_one() {
    let host = Host::running("v1");
    let first = host.running_id("worker");
    assert_eq!(host.deploy("v2").status, 200);
    let marker = host.state("stopped-by-drain.json");
    std::fs::write(&marker, json!({ "container": first }).to_string()).expect("a marker");
    let started = host.inspect(&first, "{{.State.StartedAt}}");
    assert_eq!(http_delete(&host), 200);
    host.assert_serves("v2");
    assert_eq!(host.inspect(&first, "{{.State.StartedAt}}"), started);
    assert!(!marker.exists());
}

#[test]
fn a_terminating_drain_outlives_restarts_deploys_and_new_containers() {
    let mut host = Host::running("v1");
    host.worker("POST", "/test/job");
    let busy = host.cli(&["drain", "--terminating", "--timeout", "0.3", "--json"]);
    assert_eq!(busy.status.code(), Some(75));
    let said = line(&busy);
    assert_eq!((&said["terminating"], &said["activeJobs"]), (&json!(true), &json!(1)), "{said}");
    assert_eq!(said["instanceId"], "i-0123456789abcdef0");
    assert_eq!(finding(&busy), Finding::Busy { jobs: 1 });
    host.engine.docker(&["pause", &host.container("worker")]);
    let silent = host.cli(&["drain", "--terminating", "--timeout", "0.3", "--json"]);
    host.engine.docker(&["unpause", &host.container("worker")]);
    assert_eq!(silent.status.code(), Some(69));
    assert!(matches!(finding(&silent), Finding::Unsure { .. }), "{:?}", report(&silent));

    let refused = host.deploy("v2");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("terminating"), "{refused:?}");
    let resume = host.cli(&["resume"]);
    assert_eq!(resume.status.code(), Some(12));

    host.kill();
    host.start();
    host.worker("POST", "/test/done");
    let drained = host.cli(&["drain", "--terminating", "--timeout", "20", "--json"]);
    assert_eq!(drained.status.code(), Some(0));
    let said = line(&drained);
    assert_eq!((&said["drained"], &said["accepting"]), (&json!(true), &json!(false)), "{said}");
    assert_eq!(finding(&drained), Finding::Drained);
    let policy = "{{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(host.inspect(&host.container("worker"), policy).as_deref(), Some("no"));

    // Somebody restarts the worker all the same.
    host.engine.docker(&["restart", &host.container("worker")]);
    until("it is drained again", Duration::from_secs(15), || {
        let port = host.worker_port;
        let reply = crate::support::http::try_send(port, "GET", "/worker/status", &[], None)?;
        (reply.json()["accepting"] == false).then_some(())
    });
    // A machine image made of this disk is another machine.
    host.kill();
    host.env.insert("EC2_INSTANCE_ID".to_owned(), "i-0ffffffffffffffff".to_owned());
    host.start();
    assert_eq!(host.get("/health").json()["terminating"], false);
}

#[test]
fn a_terminating_drain_whose_time_is_up_ends_the_worker_beside_one_that_waits() {
    let host = Host::running("v1");
    host.worker("POST", "/test/job");
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| host.cli(&["drain", "--terminating", "--timeout", "60", "--json"]));
        until("it waits", Duration::from_secs(10), || {
            (host.get("/health").json()["operation"] == "drain").then_some(())
        });
        let began = Instant::now();
        let stop = ["drain", "--terminating", "--timeout", "0", "--stop", "--json"];
        let stopped = host.cli(&stop);
        assert!(began.elapsed() < Duration::from_secs(45), "it does not wait with the other");
        let said = line(&stopped);
        assert_eq!(stopped.status.code(), Some(0), "{said}");
        assert_eq!(
            (&said["workerStopped"], &said["stoppedJobs"]),
            (&json!(true), &json!(1)),
            "{said}"
        );
        assert_eq!(finding(&stopped), Finding::Drained);
        assert_eq!(report(&stopped).stopped_jobs, Some(1));
        let first = waiting.join().expect("it answers");
        assert_eq!(first.status.code(), Some(0));
        assert_eq!(line(&first)["drained"], true);
    });
}

#[test]
fn a_terminating_drain_waits_for_the_deploy_in_progress() {
    let host = Host::running("v1");
    std::thread::scope(|scope| {
        let deploy = scope.spawn(|| host.deploy("v2"));
        until("the api was replaced", Duration::from_secs(20), || {
            let health = host.get("/health").json();
            (health["currentDeploy"]["step"] == "start-services").then_some(())
        });
        let drained = host.cli(&["drain", "--terminating", "--timeout", "60", "--json"]);
        assert_eq!(drained.status.code(), Some(0), "{drained:?}");
        // No worker was started on a host that goes away, or it was drained; either way the host is
        // proved idle.
        assert_eq!(line(&drained)["drained"], true);
        deploy.join().expect("it answers");
    });
    let running = host.inspect(&host.container("worker"), "{{.State.Running}}");
    if running.as_deref() == Some("true") {
        assert_eq!(host.worker("GET", "/worker/status").json()["accepting"], false);
    }
}

/// A host whose deploy waits for the running job.
fn in_mid_wait(test: impl FnOnce(&Host)) -> Value {
    let host = Host::running_with("v1", &[("GH_DEPLOY_DRAIN_SECONDS", "600")]);
    host.worker("POST", "/test/job");
    std::thread::scope(|scope| {
        let deploy = scope.spawn(|| host.deploy("v2"));
        crate::deploys::until_it_drains(&host);
        test(&host);
        let deploy = deploy.join().expect("it answers");
        assert_eq!(deploy.status, 500, "{deploy:?}");
        deploy.json()
    })
}

#[test]
fn a_deploy_that_waits_for_a_job_gives_way_to_a_terminating_drain() {
    let failed = in_mid_wait(|host| {
        let busy = host.cli(&["drain", "--terminating", "--timeout", "0", "--json"]);
        assert_eq!(busy.status.code(), Some(75));
        until("the deploy gives way", Duration::from_secs(30), || {
            host.get("/health").json()["currentDeploy"].is_null().then_some(())
        });
        let reading = host.worker("GET", "/worker/status").json();
        assert_eq!((&reading["accepting"], &reading["active_jobs"]), (&json!(false), &json!(1)));
        host.worker("POST", "/test/done");
        let drained = host.cli(&["drain", "--terminating", "--timeout", "30", "--json"]);
        assert_eq!(finding(&drained), Finding::Drained, "{drained:?}");
    });
    assert_eq!(failed["error"], "the host is terminating");
}

#[test]
fn a_stop_whose_time_is_up_waits_for_no_deploy() {
    in_mid_wait(|host| {
        let stop = host.cli(&["drain", "--terminating", "--timeout", "0", "--stop", "--json"]);
        assert_eq!(finding(&stop), Finding::Drained, "{stop:?}");
        assert_eq!(report(&stop).stopped_jobs, Some(1));
    });
}
