//! Deploys that go well and deploys that do not.

use std::time::Duration;

use serde_json::json;

use crate::support::host::Host;
use crate::support::until;

#[test]
fn a_good_deploy_replaces_both_services_and_says_what_it_did() {
    let host = Host::running("v1");
    host.assert_serves("v1");
    let first = host.running_id("worker");
    let reply = host.deploy("v2");
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    assert_eq!(body["success"], true);
    assert_eq!(body["message"], "Deploy successful: v2");
    assert_eq!(body["imageTag"], "v2");
    assert!(body["duration"].as_u64().is_some_and(|ms| ms > 1000), "{body}");
    assert!(body["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{body}");
    assert_eq!(body["previous"]["imageTag"], "v1");
    host.assert_serves("v2");
    // The way back is kept, stopped, and does not come up by itself.
    let kept = format!("{}.prev", host.container("worker"));
    let kept = host.inspect(&kept, "{{.Id}} {{.State.Running}} {{.HostConfig.RestartPolicy.Name}}");
    assert_eq!(kept, Some(format!("{first} false no")));
}

#[test]
fn failures_before_the_swap_touch_nothing() {
    let host = Host::running("v1");
    let before = host.running_id("worker");
    let reply = host.deploy("no-such-tag");
    assert_eq!(reply.status, 500);
    let body = reply.json();
    assert_eq!(body["failedStep"], "pull-image", "{body}");
    assert_eq!(body["status"], "failed");
    // An engine with its own store speaks of the manifest, one with containerd's of the name.
    let words = ["manifest", "not found"];
    let error = body["error"].as_str().unwrap_or_default();
    assert!(words.iter().any(|word| error.contains(word)), "{body}");
    assert_eq!(host.running_id("worker"), before);
    host.assert_serves("v1");
}

/// Each of these images fails in its own way; the old containers run again, and the reply says why.
#[test]
fn a_version_that_does_not_work_is_rolled_back() {
    // Longer than the life of the one that dies, and than a busy machine takes to start the one
    // that never listens.
    let settings = [("GH_DEPLOY_START_SECONDS", "20"), ("GH_DEPLOY_HEALTHY_SECONDS", "2")];
    let host = Host::running_with("v1", &settings);
    for (tag, service, reason) in [
        ("api-crashes", "api", "the container went down: exit code 7"),
        ("worker-crashes", "worker", "the container went down: exit code 7"),
        ("worker-dies", "worker", "the container went down: exit code 9"),
        ("api-sick", "api", "its health answers 500"),
        ("worker-mute", "worker", "nothing listens on port"),
    ] {
        let reply = host.deploy(tag);
        assert_eq!(reply.status, 500, "{tag}");
        let body = reply.json();
        assert_eq!(body["status"], "rolled_back", "{tag}: {body}");
        assert_eq!(body["failedStep"], "start-services", "{tag}: {body}");
        assert_eq!(body["failedService"], host.container(service), "{tag}: {body}");
        assert!(
            body["error"].as_str().is_some_and(|error| error.contains(reason)),
            "{tag}: {body}"
        );
        let log = body["log"].to_string();
        assert!(log.contains(&format!("standin {service} starts")), "{tag}: {log}");
        // A record is shown to everybody, and a service may log what it was given.
        assert!(!reply.body.contains("postgres://canary"), "{tag}: {log}");
        assert_eq!(log.contains("[DATABASE_URL]"), tag.ends_with("crashes"), "{tag}: {log}");
        host.assert_serves("v1");
    }
}

/// Its health never becomes good, and it has a job that it cannot tell of for a while.
#[test]
fn a_new_worker_that_does_not_answer_is_not_ended_at_its_job() {
    let settings = [("GH_DEPLOY_START_SECONDS", "15"), ("GH_DEPLOY_DRAIN_SECONDS", "600")];
    let mut host = Host::running("v1");
    host.kill();
    host.env.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    host.start();
    std::thread::scope(|scope| {
        let deploy = scope.spawn(|| host.deploy("worker-deaf"));
        until("the way back begins", Duration::from_secs(60), || {
            let health = host.get("/health").json();
            (health["currentDeploy"]["step"] == "restore-services").then_some(())
        });
        // More than the grace of a worker that is told to end.
        std::thread::sleep(Duration::from_secs(5));
        host.worker("POST", "/test/hear");
        assert_eq!(host.worker("GET", "/worker/status").json()["active_jobs"], 1);
        host.worker("POST", "/test/done");
        let body = deploy.join().expect("it answers").json();
        assert_eq!(body["status"], "rolled_back", "{body}");
        assert_eq!(body["caughtJobs"], 0, "{body}");
    });
    host.assert_serves("v1");
}

#[test]
fn a_worker_that_takes_a_job_at_once_is_healthy() {
    let host = Host::running("v1");
    let reply = host.deploy("worker-busy");
    assert_eq!(reply.status, 200, "{reply:?}");
    host.assert_serves("worker-busy");
    let health = host.get("/health").json();
    assert_eq!(health["workerStatus"], "busy");
    assert_eq!(health["deploySafe"], false);
    assert_eq!(health["activeWorkers"], 1);
}

/// Waits until the deploy in progress waits for the worker.
pub(crate) fn until_it_drains(host: &Host) {
    until("the deploy waits for the job", Duration::from_secs(30), || {
        let health = host.get("/health").json();
        (health["currentDeploy"]["step"] == "drain-worker").then_some(())
    });
}

#[test]
fn a_running_job_is_waited_for() {
    let host = Host::running_with("v1", &[("GH_DEPLOY_DRAIN_SECONDS", "300")]);
    host.worker("POST", "/test/job");
    std::thread::scope(|scope| {
        let deploy = scope.spawn(|| host.deploy("v2"));
        until_it_drains(&host);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(host.running_tag("worker").as_deref(), Some("v1"));
        host.worker("POST", "/test/done");
        let reply = deploy.join().expect("the deploy answers");
        assert_eq!(reply.status, 200, "{reply:?}");
    });
    host.assert_serves("v2");
}

#[test]
fn a_worker_that_will_not_drain_keeps_its_job_and_goes_on_working() {
    let host = Host::running("v1");
    let before = host.running_id("worker");
    host.worker("POST", "/test/job");
    let reply = host.deploy("v2");
    assert_eq!(reply.status, 500);
    let body = reply.json();
    assert_eq!((&body["status"], &body["failedStep"]), (&json!("failed"), &json!("drain-worker")));
    assert_eq!(body["error"], "not drained within 3 s: the worker still runs 1 job(s)");
    assert_eq!(host.running_id("worker"), before);
    let status = host.worker("GET", "/worker/status").json();
    assert_eq!((&status["accepting"], &status["active_jobs"]), (&json!(true), &json!(1)));

    let forced = host.post("/deploy", Some(r#"{"image_tag":"v2","force":true}"#));
    assert_eq!(forced.status, 200, "{forced:?}");
    assert_eq!(forced.json()["caughtJobs"], 1);
    host.assert_serves("v2");
}

#[test]
fn a_worker_without_a_drain_is_not_stopped_unless_forced() {
    let host = Host::running("nodrain");
    let reply = host.deploy("v2");
    assert_eq!(reply.status, 500);
    let error = reply.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("404 to POST /worker/drain"), "{error}");
    host.assert_serves("nodrain");
}

#[test]
fn a_worker_that_cannot_be_asked_is_left_alone() {
    let host = Host::running("v1");
    let before = host.running_id("worker");
    host.engine.docker(&["pause", &host.container("worker")]);
    let reply = host.deploy("v2").json();
    host.engine.docker(&["unpause", &host.container("worker")]);
    assert_eq!(
        (&reply["status"], &reply["failedStep"]),
        (&json!("failed"), &json!("drain-worker"))
    );
    let error = reply["error"].as_str().unwrap_or_default();
    assert!(error.contains("the worker's state is unknown"), "{error}");
    assert_eq!(host.running_id("worker"), before);
    until("it takes work again", Duration::from_secs(10), || {
        let port = host.worker_port;
        let reading = crate::support::http::try_send(port, "GET", "/worker/status", &[], None)?;
        (reading.json()["accepting"] == true).then_some(())
    });
    host.assert_serves("v1");
}

#[test]
fn a_container_whose_name_begins_like_ours_is_a_stranger() {
    let host = Host::running("v1");
    let image = format!("{}/ghosthands:v1", host.engine.registry);
    let other = format!("{}-2", host.container("worker"));
    let port = crate::support::free_port();
    let variable = format!("GH_WORKER_PORT={port}");
    let run = ["run", "-d", "--name", &other, "--net", "host", "-e", &variable, &image];
    host.engine.docker(&[&run[..], &["/run.sh", "worker"]].concat());
    let before = host.inspect(&other, "{{.Id}}");
    assert_eq!(host.get("/workers").json()[0]["containerName"], host.container("worker"));
    assert_eq!(host.deploy("v2").status, 200);
    assert_eq!(host.post("/drain", None).status, 200);
    assert_eq!(host.inspect(&other, "{{.Id}}"), before);
    assert_eq!(host.inspect(&other, "{{.State.Running}}").as_deref(), Some("true"));
    let untouched = crate::support::http::send(port, "GET", "/worker/status", &[], None).json();
    assert_eq!(untouched["accepting"], true);
}

#[test]
fn the_old_worker_is_stopped_at_the_instant_it_is_idle() {
    let host = Host::running_with("old1", &[("GH_DEPLOY_DRAIN_SECONDS", "300")]);
    host.worker("POST", "/test/job");
    std::thread::scope(|scope| {
        let deploy = scope.spawn(|| host.deploy("old2"));
        until_it_drains(&host);
        host.worker("POST", "/test/done");
        let reply = deploy.join().expect("the deploy answers");
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.json()["caughtJobs"], 0);
    });
    host.assert_serves("old2");
}

#[test]
fn a_job_that_the_old_worker_took_in_the_last_instant_is_counted() {
    let host = Host::running("old-catches");
    let reply = host.deploy("v2");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["caughtJobs"], 1);
}

#[test]
fn the_old_worker_that_was_drained_for_nothing_is_restarted_once_it_is_idle() {
    let host = Host::running("old1");
    host.worker("POST", "/test/job");
    let reply = host.deploy("v2");
    assert_eq!(reply.status, 500);
    assert_eq!(host.worker("GET", "/worker/status").json()["is_draining"], true);
    // The version that runs is ordered again: nothing is replaced, so the restart is still due.
    let worker = host.running_id("worker");
    assert_eq!(host.deploy("old1").status, 200);
    assert_eq!(host.running_id("worker"), worker);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(host.worker("GET", "/worker/status").json()["active_jobs"], 1, "it still works");
    host.worker("POST", "/test/done");
    until("the worker was restarted", Duration::from_secs(15), || {
        let port = host.worker_port;
        let reply = crate::support::http::try_send(port, "GET", "/worker/status", &[], None)?;
        (reply.json()["is_draining"] == false).then_some(())
    });
    host.assert_serves("old1");
}

#[test]
fn a_stranger_on_the_port_is_noticed_before_anything_stops() {
    let host = Host::started();
    let stranger = std::net::TcpListener::bind(("127.0.0.1", host.api_port)).expect("it is free");
    let reply = host.deploy("v1");
    assert_eq!(reply.status, 500);
    let body = reply.json();
    assert_eq!(body["failedStep"], "port-preflight", "{body}");
    let error = body["error"].as_str().unwrap_or_default();
    let expected = format!("port_conflict: port {} belongs to process", host.api_port);
    assert!(error.starts_with(&expected), "{error}");
    drop(stranger);
    assert_eq!(host.deploy("v1").status, 200);
    host.assert_serves("v1");
}

#[test]
fn the_same_tag_again_changes_nothing_and_forced_it_replaces() {
    let host = Host::running("v1");
    let before = host.running_id("worker");
    let again = host.deploy("v1");
    assert_eq!(again.status, 200);
    assert_eq!(host.running_id("worker"), before);
    let forced = host.post("/deploy", Some(r#"{"image_tag":"v1","force":true}"#));
    assert_eq!(forced.status, 200);
    assert_ne!(host.running_id("worker"), before);
    host.assert_serves("v1");
}

#[test]
fn one_deploy_at_a_time_and_the_same_tag_joins_it() {
    let host = Host::running("v1");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| host.deploy("v2"));
        until("it runs", Duration::from_secs(5), || {
            let health = host.get("/health").json();
            health["currentDeploy"].is_object().then_some(())
        });
        let joined = scope.spawn(|| host.deploy("v2"));
        let other = host.deploy("v3");
        assert_eq!(other.status, 409);
        let message = other.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with("Deploy already in progress: v2 (started "), "{message}");
        for path in ["/drain", "/cleanup", "/rollback"] {
            assert_eq!(host.post(path, None).status, 409, "{path}");
        }
        let first = first.join().expect("it answers").json();
        let joined = joined.join().expect("it answers").json();
        assert_eq!(first["deployId"], joined["deployId"]);
        assert_eq!(first["success"], true);
    });
    let deploys = host.get("/deploys").json();
    assert_eq!(deploys["deploys"].as_array().map(Vec::len), Some(2), "{deploys}");
    host.assert_serves("v2");
}

#[test]
fn a_rollback_goes_to_the_version_before_and_never_to_the_current_one() {
    let host = Host::running("v1");
    let nowhere = host.post("/rollback", None);
    assert_eq!(nowhere.status, 409, "{nowhere:?}");
    assert_eq!(host.deploy("v2").status, 200);
    assert_eq!(host.deploy("api-crashes").status, 500);
    let reply = host.post("/rollback", None);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["rollbackImageTag"], "v1");
    host.assert_serves("v1");
}

#[test]
fn containers_that_compose_made_are_adopted_and_come_back_when_the_deploy_fails() {
    let host = Host::started();
    for (service, port) in [("api", host.api_port), ("worker", host.worker_port)] {
        let name = format!("{}-1", host.container(service));
        let image = format!("{}/ghosthands:v1", host.engine.registry);
        let variable = format!("GH_{}_PORT={port}", service.to_uppercase());
        host.engine.docker(&[
            "run",
            "-d",
            "--name",
            &name,
            "--net",
            "host",
            "--restart",
            "always",
            "-e",
            &variable,
            "--label",
            &format!("com.docker.compose.project={}", host.name),
            "--label",
            &format!("com.docker.compose.service={service}"),
            &image,
            "/run.sh",
            service,
        ]);
    }
    until("they listen", Duration::from_secs(10), || {
        crate::support::http::try_send(host.worker_port, "GET", "/worker/status", &[], None)
    });
    let failed = host.deploy("worker-crashes");
    assert_eq!(failed.json()["status"], "rolled_back", "{failed:?}");
    let policy = "{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}";
    let name = format!("{}-1", host.container("worker"));
    assert_eq!(host.inspect(&name, policy).as_deref(), Some("true always"));

    assert_eq!(host.deploy("v2").status, 200);
    host.assert_serves("v2");
    let reply = host.post("/rollback", None);
    assert_eq!(reply.json()["rollbackImageTag"], "v1", "{reply:?}");
    host.assert_serves("v1");
}

#[test]
fn containers_get_their_own_environment_limits_and_never_the_deploy_secret() {
    let host = Host::running("v1");
    for service in ["api", "worker"] {
        let name = host.container(service);
        let all = host.inspect(&name, "{{json .}}").expect("it is there");
        assert!(!all.contains(crate::support::host::SECRET), "{service}");
        assert!(!all.contains(crate::support::engine::REGISTRY_PASSWORD), "{service}");
        assert!(all.contains("DATABASE_URL=postgres://canary"), "{service}");
        assert!(all.contains("EC2_INSTANCE_ID=i-0123456789abcdef0"), "{service}");
        let limits = host.inspect(&name, "{{.HostConfig.Memory}} {{.HostConfig.LogConfig}}");
        let megabytes: u64 = if service == "api" { 512 } else { 2048 };
        let expected =
            format!("{} {{json-file map[max-file:3 max-size:10m]}}", megabytes * 1024 * 1024);
        assert_eq!(limits, Some(expected));
    }
    for secret in [crate::support::host::SECRET, crate::support::engine::REGISTRY_PASSWORD] {
        assert!(!host.log().contains(secret));
        let journal = std::fs::read_to_string(host.state("journal.jsonl")).expect("a journal");
        assert!(!journal.contains(secret) && !journal.contains("postgres://canary"));
    }
}
