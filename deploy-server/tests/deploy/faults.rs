//! Faults that other people met: an engine that cannot delete, a second tag of the same image, a
//! registry that is away at boot, containers that a machine image brought along.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use deploy_server::docker::UnixHttp;
use fleet_protocol::action_report::{ActionReport, ActionResult};
use serde_json::json;

use crate::support::host::Host;
use crate::support::until;

/// A socket before the engine's that answers every `DELETE` of a container as an engine does whose
/// container's file system is in use.
fn engine_that_cannot_delete(folder: &Path, engine: &Path) -> PathBuf {
    let path = folder.join("proxy.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let engine = engine.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = engine.clone();
            std::thread::spawn(move || pass_on(client, &engine));
        }
    });
    path
}

fn pass_on(mut client: UnixStream, engine: &Path) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    if first.starts_with("DELETE ") && first.contains("/containers/") {
        let body = r#"{"message":"unable to remove filesystem: device or resource busy"}"#;
        let head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json";
        let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        drop(client.write_all(text.as_bytes()));
        return;
    }
    let mut server = UnixStream::connect(engine).expect("the engine listens");
    server.write_all(&head).expect("the engine takes it");
    let (mut from, mut to) =
        (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(std::net::Shutdown::Write));
    });
    drop(std::io::copy(&mut server, &mut client));
    drop(client.shutdown(std::net::Shutdown::Both));
}

#[test]
fn what_the_engine_cannot_delete_keeps_no_service_down() {
    let mut host = Host::new();
    let proxy = engine_that_cannot_delete(host.folder.path(), &host.engine.socket);
    host.env.insert("DOCKER_SOCKET".to_owned(), proxy.display().to_string());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);

    let reply = host.deploy("worker-crashes");
    assert_eq!(reply.json()["status"], "rolled_back", "{reply:?}");
    host.assert_serves("v1");

    for tag in ["v2", "v3"] {
        let reply = host.deploy(tag);
        assert_eq!(reply.status, 200, "a deploy works around the leftovers: {reply:?}");
        host.assert_serves(tag);
    }
    let filter = format!("name=^/?{}-worker.leftover-", host.name);
    let names = || host.engine.docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
    assert!(!names().is_empty(), "they are set aside");

    host.kill();
    host.env.insert("DOCKER_SOCKET".to_owned(), host.engine.socket.display().to_string());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    assert_eq!(names(), "", "an engine that can delete again is asked to");
}

#[test]
fn a_second_tag_of_the_running_image_is_proven_with_its_digest() {
    let host = Host::running("v1");
    let (old, new) = ("ghosthands:v1", "ghosthands:v1-promoted");
    let [old, new] = [old, new].map(|name| format!("{}/{name}", host.engine.registry));
    host.engine.docker(&["tag", &old, &new]);
    host.engine.docker(&["push", "-q", &new]);
    host.engine.docker(&["rmi", &new]);
    let worker = host.running_id("worker");

    let output = host.cli(&["deploy", "v1-promoted", "--fleet"]);
    let report = ActionReport::find(&String::from_utf8_lossy(&output.stdout)).expect("a report");
    assert_eq!(report.result, ActionResult::AlreadyCurrent, "{report:?}");
    assert_eq!(report.image_tag.as_deref(), Some("v1-promoted"), "{report:?}");
    assert!(report.digest.as_deref().is_some_and(|digest| digest.starts_with("sha256:")));
    assert_eq!(host.running_id("worker"), worker, "nothing was replaced");
}

#[test]
fn an_image_on_the_disk_that_is_the_proven_one_needs_no_registry() {
    let mut host = Host::running("v2");
    let digest = host.last_deploy()["digest"].as_str().expect("it was pulled").to_owned();
    host.kill();
    for service in ["api", "worker"] {
        host.engine.docker(&["rm", "-f", &host.container(service)]);
    }
    // Nothing listens there.
    host.env.insert("REGISTRY_PASSWORD".to_owned(), "wrong".to_owned());
    host.start();
    assert_eq!(host.deploy("v2").status, 500, "the registry lets nobody in");

    let socket = host.env["GH_DEPLOY_SOCKET"].clone();
    let body = json!({ "image_tag": "v2", "digest": digest }).to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
    let answer = runtime.block_on(async {
        let http = UnixHttp::new(Path::new(&socket));
        let within = Duration::from_secs(60);
        http.call("POST", "/bootstrap", &[], Some(body.into()), within).await
    });
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
    host.assert_serves("v2");
}

#[test]
fn a_container_of_another_machine_is_stopped_at_start_and_replaced() {
    let mut host = Host::running("v1");
    host.kill();
    host.env.insert("EC2_INSTANCE_ID".to_owned(), "i-0aaaaaaaaaaaaaaaa".to_owned());
    host.start();
    until("the other machine's worker is stopped", Duration::from_secs(20), || {
        let running = host.inspect(&host.container("worker"), "{{.State.Running}}")?;
        (running == "false").then_some(())
    });
    until("the lock is free", Duration::from_secs(20), || {
        host.get("/health").json()["operation"].is_null().then_some(())
    });
    assert_eq!(host.get("/health").json()["status"], "degraded", "a host without a worker");
    assert_eq!(host.deploy("v1").status, 200);
    host.assert_serves("v1");
    let environment = host.worker("GET", "/environment").body;
    assert!(environment.contains("EC2_INSTANCE_ID=i-0aaaaaaaaaaaaaaaa"), "{environment}");
}

#[test]
fn a_bootstrap_that_fails_is_tried_again_and_says_so() {
    let host = Host::started();
    let output = host.cli(&["bootstrap", "--tag", "not-there", "--timeout", "3"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(said.contains("bootstrap: try 1 failed (") && said.contains("gave up"), "{said}");
}
