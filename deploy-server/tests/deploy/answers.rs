//! What the server says: the predecessor's replies, field for field, with the lies taken out.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::host::{Host, SECRET};
use crate::support::http::{self, Reply};
use crate::support::until;

/// The fields that clients of the predecessor read are all there.
#[track_caller]
fn assert_fields(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value.get(name).is_some(), "{name} is missing: {value}");
    }
}

#[test]
fn health_through_the_life_of_a_worker() {
    let host = Host::started();
    let fields = [
        "status",
        "activeWorkers",
        "deploySafe",
        "apiHealthy",
        "workerStatus",
        "currentDeploy",
        "uptimeMs",
    ];
    // Nothing was ever deployed: Docker says so, and nothing runs that a deploy could hurt.
    let nothing = host.get("/health").json();
    assert_fields(&nothing, &fields);
    assert_eq!(nothing["workerStatus"], "stopped");
    assert_eq!((&nothing["status"], &nothing["apiHealthy"]), (&json!("degraded"), &json!(false)));

    assert_eq!(host.deploy("old1").status, 200);
    let seen = |host: &Host| {
        std::thread::sleep(Duration::from_millis(300));
        let health = host.get("/health").json();
        assert_fields(&health, &fields);
        (
            health["workerStatus"].clone(),
            health["activeWorkers"].clone(),
            health["deploySafe"].clone(),
        )
    };
    assert_eq!(seen(&host), (json!("idle"), json!(0), json!(true)));
    assert_eq!(host.get("/health").json()["status"], "ok");
    host.worker("POST", "/test/job");
    assert_eq!(seen(&host), (json!("busy"), json!(1), json!(false)));
    host.worker("POST", "/test/done");
    host.worker("POST", "/worker/drain");
    assert_eq!(seen(&host), (json!("draining"), json!(0), json!(true)));
    // Frozen: it runs and does not answer. Unknown is never safe.
    host.engine.docker(&["pause", &host.container("worker")]);
    std::thread::sleep(Duration::from_millis(300));
    let frozen = host.get("/health").json();
    host.engine.docker(&["unpause", &host.container("worker")]);
    assert_eq!(frozen["workerStatus"], "unknown", "{frozen}");
    assert_eq!((&frozen["activeWorkers"], &frozen["deploySafe"]), (&Value::Null, &json!(false)));
    assert_eq!(frozen["status"], "degraded");
}

#[test]
fn workers_containers_version_and_metrics_are_real() {
    let host = Host::running("v1");
    let workers = host.get("/workers").json();
    let worker = &workers[0];
    assert_eq!(workers.as_array().map(Vec::len), Some(1));
    assert_eq!(worker["workerId"], "w1");
    assert_eq!(worker["containerName"], host.container("worker"));
    assert_eq!(worker["containerId"], host.running_id("worker")[..12]);
    assert_eq!(worker["image"], format!("{}/ghosthands:v1", host.engine.registry));
    assert_eq!(worker["status"], "idle");
    assert_eq!(worker["statusPort"], host.worker_port);
    let seconds = worker["uptime"].as_u64().expect("it says how long it runs");
    assert!(seconds < 600, "seconds, as every client reads it, and not milliseconds: {worker}");

    let containers = host.get("/containers").json();
    let api = containers.as_array().expect("an array").iter();
    let api = api.clone().find(|container| container["name"] == host.container("api"));
    let api = api.unwrap_or_else(|| panic!("{containers}"));
    assert_fields(api, &["id", "name", "image", "status", "state", "ports", "createdAt", "labels"]);
    assert_eq!(api["labels"]["gh.image_tag"], "v1");
    assert_eq!(api["state"], "running");

    let version = host.get("/version").json();
    assert_eq!(version["deployServer"], "ghosthands-deploy-server");
    assert_eq!(version["ghosthands"]["service"], "ghosthands");
    assert_eq!(version["services"][1]["imageTag"], "v1");

    std::thread::sleep(Duration::from_millis(1100));
    let metrics = host.get("/metrics").json();
    for (group, fields) in [
        ("cpu", &["usagePercent", "cores"][..]),
        ("memory", &["usedMb", "totalMb", "usagePercent"]),
        ("disk", &["usedGb", "totalGb", "usagePercent"]),
        ("network", &["rxBytesPerSec", "txBytesPerSec"]),
    ] {
        assert_fields(&metrics[group], fields);
    }
    assert!(metrics["memory"]["totalMb"].as_u64().is_some_and(|mb| mb > 100), "{metrics}");
}

#[test]
fn prometheus_is_told_in_its_own_format_and_everybody_else_in_json() {
    let host = Host::running("v1");
    let asked =
        |accept: &str| http::send(host.port, "GET", "/metrics", &[("Accept", accept)], None);
    let told = asked(
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    );
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(told.status, 200);
    assert!(told.head.contains(kind), "{}", told.head);
    for line in [
        "docker_up 1",
        "api_healthy 1",
        "worker_state{state=\"idle\"} 1",
        "worker_state{state=\"busy\"} 0",
        "worker_active_jobs 0",
        "worker_image_info{image_tag=\"v1\"} 1",
        "last_deploy_outcome{outcome=\"deployed\"} 1",
        "terminating 0",
        "operation{operation=\"deploy\"} 0",
    ] {
        let line = format!("\nghosthands_host_{line}\n");
        assert!(told.body.contains(&line), "{line}: {}", told.body);
    }
    for accept in ["*/*", "application/json", "application/json, text/plain, */*"] {
        let json = asked(accept);
        assert!(json.head.contains("content-type: application/json;charset=utf-8"), "{accept}");
        let fields: Vec<String> =
            json.json().as_object().expect("an object").keys().cloned().collect();
        assert_eq!(fields, ["cpu", "disk", "memory", "network"], "{accept}");
    }
    host.engine.docker(&["pause", &host.container("worker")]);
    std::thread::sleep(Duration::from_millis(300));
    let frozen = asked("text/plain").body;
    host.engine.docker(&["unpause", &host.container("worker")]);
    assert!(frozen.contains("ghosthands_host_worker_state{state=\"unknown\"} 1\n"), "{frozen}");
    assert!(!frozen.contains("worker_active_jobs"), "{frozen}");
}

#[test]
fn an_engine_that_is_away_is_not_an_empty_host() {
    let mut host = Host::new();
    host.env.insert("DOCKER_SOCKET".to_owned(), "/nonexistent/docker.sock".to_owned());
    host.start();
    let containers = host.get("/containers");
    assert_eq!(containers.status, 503);
    let health = host.get("/health").json();
    assert_eq!(
        (&health["dockerReachable"], &health["workerStatus"]),
        (&json!(false), &json!("unknown"))
    );
    assert_eq!(health["deploySafe"], false);
    let drain = host.post("/drain", Some(r#"{"timeout_seconds":0.2}"#));
    assert_eq!(drain.status, 503);
    assert_eq!(drain.json()["activeJobs"], Value::Null);
    let deploy = host.deploy("v1").json();
    assert_eq!(
        (&deploy["status"], &deploy["failedStep"]),
        (&json!("failed"), &json!("pull-image"))
    );
}

#[test]
fn golden_refusals() {
    let host = Host::started();
    let said = |reply: Reply| (reply.status, reply.json());
    let unauthorized = json!({"success": false, "message": "Unauthorized"});
    for path in ["/drain", "/cleanup", "/rollback", "/admin/refresh-secrets"] {
        assert_eq!(
            said(http::send(host.port, "POST", path, &[], None)),
            (401, unauthorized.clone())
        );
    }
    let words =
        json!({"success": false, "message": "Unauthorized: invalid or missing X-Deploy-Secret"});
    for secret in ["", "wrong", &SECRET[1..], &format!("{SECRET}x")] {
        let headers = [("X-Deploy-Secret", secret)];
        let reply = http::send(host.port, "POST", "/deploy", &headers, Some("{{"));
        assert_eq!(said(reply), (401, words.clone()), "{secret:?}");
    }
    let bad_json = json!({"success": false, "message": "Invalid JSON body"});
    assert_eq!(said(host.post("/deploy", Some("{{"))), (400, bad_json));
    let bad_tag = json!({"success": false, "message": "Invalid image_tag format"});
    assert_eq!(said(host.deploy("a b")), (400, bad_tag.clone()));
    assert_eq!(said(host.deploy("other.registry/image:v1")), (400, bad_tag));
    let not_found = json!({"error": "not_found"});
    for (method, path) in
        [("GET", "/nope"), ("GET", "/deploy"), ("PUT", "/health"), ("GET", "/status")]
    {
        let reply = http::send(host.port, method, path, &[], None);
        assert_eq!(said(reply), (404, not_found.clone()), "{method} {path}");
    }
    assert_eq!(http::send(host.port, "HEAD", "/health", &[], None).status, 404);
    let unknown = json!({"error": "Deploy record not found"});
    assert_eq!(said(host.get("/deploys/zzz")), (404, unknown));
    let health = host.get("/health");
    assert!(
        health.head.contains("content-type: application/json;charset=utf-8"),
        "{}",
        health.head
    );
    // `latest` was deployed when the field's name was wrong; now the field is named.
    let trap = host.post("/deploy", Some(r#"{"imageTag":"; rm -rf /"}"#));
    assert_eq!(trap.status, 400);
    assert!(trap.body.contains("unknown field `imageTag`"), "{}", trap.body);
    let big = format!("{{\"image_tag\":\"{}\"}}", "a".repeat(17_000));
    assert_eq!(host.post("/deploy", Some(&big)).status, 413);
    let chunked = [("X-Deploy-Secret", SECRET), ("Transfer-Encoding", "chunked")];
    assert_eq!(http::send(host.port, "POST", "/deploy", &chunked, None).status, 400);
    assert_eq!(host.post("/drain", Some(r#"{"terminating":true}"#)).status, 403);
    assert_eq!(host.get("/deploys").json(), json!({"running": null, "deploys": []}));
}

#[test]
fn the_previous_secret_and_that_of_atm_are_valid() {
    let mut host = Host::new();
    let old = "the-secret-before-this-one";
    host.env.insert("GH_DEPLOY_SECRET_PREVIOUS".to_owned(), old.to_owned());
    // As VALET and ATM name it.
    let atm = "the-secret-by-its-other-name";
    host.env.insert("ATM_DEPLOY_SECRET".to_owned(), atm.to_owned());
    host.start();
    for secret in [SECRET, old, atm] {
        let reply =
            http::send(host.port, "POST", "/rollback", &[("X-Deploy-Secret", secret)], None);
        assert_eq!(reply.status, 409, "{reply:?}");
    }
}

#[test]
fn a_refresh_that_fails_says_so() {
    let host = Host::started();
    let reply = host.post("/admin/refresh-secrets", None);
    assert_ne!(reply.status, 200);
    assert_eq!(reply.json()["success"], false);
    assert!(reply.body.contains("Secrets were not refreshed: "), "{}", reply.body);
}

#[test]
fn a_deploy_without_waiting_is_followed_by_its_id() {
    let host = Host::started();
    let reply = host.post("/deploy", Some(r#"{"image_tag":"v1","wait":false}"#));
    assert_eq!(reply.status, 202);
    let body = reply.json();
    assert_eq!((&body["success"], &body["message"]), (&json!(true), &json!("Deploy started: v1")));
    let id = body["deployId"].as_str().expect("an id").to_owned();
    let path = format!("/deploys/{id}");
    let status = until("it ends", Duration::from_secs(30), || {
        let deploy = host.get(&path).json();
        (deploy["status"] != "running").then(|| deploy["status"].clone())
    });
    assert_eq!(status, "deployed");
}

#[test]
fn a_wrong_configuration_is_reported_as_a_whole_and_stops_the_start() {
    let mut host = Host::new();
    host.env.insert("GH_DEPLOY_SECRET".to_owned(), String::new());
    host.env.insert("GH_API_PORT".to_owned(), "many".to_owned());
    host.start_with(&[]);
    assert_eq!(host.wait_for_end(Duration::from_secs(10)).code(), Some(64));
    let log = host.log();
    assert!(
        log.contains("GH_DEPLOY_SECRET is not set") && log.contains("GH_API_PORT=\"many\""),
        "{log}"
    );
}

#[test]
fn a_second_server_on_the_same_state_does_not_start() {
    let host = Host::started();
    let mut second = Host::new();
    let state = host.env["GH_DEPLOY_STATE_DIR"].clone();
    second.env.insert("GH_DEPLOY_STATE_DIR".to_owned(), state);
    second.start_with(&[]);
    assert_eq!(second.wait_for_end(Duration::from_secs(10)).code(), Some(1));
    assert!(second.log().contains("another deploy-server already uses"), "{}", second.log());
}

#[test]
fn a_stranger_on_the_workers_port_is_no_stopped_worker() {
    let host = Host::started();
    let health = host.get("/health").json();
    assert_eq!((&health["workerStatus"], &health["deploySafe"]), (&json!("stopped"), &json!(true)));
    let _stranger =
        std::net::TcpListener::bind(("127.0.0.1", host.worker_port)).expect("it is free");
    until("it is noticed", Duration::from_secs(30), || {
        let health = host.get("/health").json();
        let unknown = health["workerStatus"] == "unknown" && health["activeWorkers"].is_null();
        (unknown && health["deploySafe"] == false).then_some(())
    });
}
