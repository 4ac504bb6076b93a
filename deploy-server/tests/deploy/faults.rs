//! Faults that other people met: an engine that cannot delete, a second tag of the same image, a
//! registry that is away at boot, an engine of the future.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deploy_server::docker::UnixHttp;
use fleet_protocol::action_report::{ActionReport, ActionResult};
use fleet_protocol::drain_report::DrainReport;
use serde_json::{Value, json};

use crate::support::engine::{REGISTRY_PASSWORD, REGISTRY_USER};
use crate::support::host::Host;
use crate::support::{http, until};

/// What a proxy makes of a request line before the engine sees it.
pub(crate) enum Turn {
    /// This request line instead.
    Pass(String),
    /// No engine sees it: status and body.
    Answer(&'static str, String),
}

/// A socket before the engine's.
pub(crate) fn proxy(
    folder: &Path,
    engine: &Path,
    turn: impl Fn(&str) -> Turn + Send + Sync + 'static,
) -> PathBuf {
    let path = folder.join("proxy.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let engine = engine.to_owned();
    let turn = Arc::new(turn);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (engine, turn) = (engine.clone(), Arc::clone(&turn));
            std::thread::spawn(move || pass_on(client, &engine, &*turn));
        }
    });
    path
}

fn pass_on(mut client: UnixStream, engine: &Path, turn: &dyn Fn(&str) -> Turn) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (first, rest) = head.split_once("\r\n").expect("a request line");
    let first = match turn(first) {
        Turn::Pass(first) => first,
        Turn::Answer(status, body) => {
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json");
            let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            drop(client.write_all(text.as_bytes()));
            return;
        }
    };
    let mut server = UnixStream::connect(engine).expect("the engine listens");
    server.write_all(format!("{first}\r\n{rest}").as_bytes()).expect("the engine takes it");
    let (mut from, mut to) =
        (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(std::net::Shutdown::Write));
    });
    drop(std::io::copy(&mut server, &mut client));
    drop(client.shutdown(std::net::Shutdown::Both));
}

/// An engine whose containers' file systems are in use.
fn cannot_delete(line: &str) -> Turn {
    if line.starts_with("DELETE ") && line.contains("/containers/") {
        let body = r#"{"message":"unable to remove filesystem: device or resource busy"}"#;
        return Turn::Answer("500 Internal Server Error", body.to_owned());
    }
    Turn::Pass(line.to_owned())
}

/// An engine that changes no restart policy and lists no images.
fn refuses_to_tidy_up(line: &str) -> Turn {
    if line.contains("/update ") || line.contains("/images/json") {
        let body = r#"{"message":"read-only file system"}"#;
        return Turn::Answer("500 Internal Server Error", body.to_owned());
    }
    Turn::Pass(line.to_owned())
}

/// An engine whose list of containers is so far behind its own answer to a stop.
const BEHIND: Duration = Duration::from_secs(2);

fn lists_what_was(engine: &Path) -> impl Fn(&str) -> Turn + Send + Sync + 'static {
    let engine = engine.to_owned();
    let stopped: Mutex<Vec<(Instant, String)>> = Mutex::default();
    move |line: &str| {
        let path = line.split(' ').nth(1).expect("a path");
        let mut stopped = stopped.lock().expect("no panic holds it");
        if let Some((container, _)) = path.split_once("/stop?") {
            let (_, id) = container.rsplit_once('/').expect("an id");
            stopped.push((Instant::now(), id.to_owned()));
        }
        if !path.contains("/containers/json") {
            return Turn::Pass(line.to_owned());
        }
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--unix-socket"]).arg(&engine).arg(format!("http://engine{path}"));
        let listed = curl.output().expect("curl is installed").stdout;
        let mut listed: Vec<Value> = serde_json::from_slice(&listed).expect("a list");
        for container in &mut listed {
            let behind = |(at, id): &(Instant, String)| {
                at.elapsed() < BEHIND && container["Id"] == id.as_str()
            };
            if stopped.iter().any(behind) {
                container["State"] = json!("running");
            }
        }
        Turn::Answer("200 OK", Value::Array(listed).to_string())
    }
}

/// An engine of the future: it speaks nothing older than 1.50.
fn speaks_only_newer(line: &str) -> Turn {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    if path.starts_with("/version ") {
        let body = r#"{"Version":"99.0","ApiVersion":"1.60","MinAPIVersion":"1.50"}"#;
        return Turn::Answer("200 OK", body.to_owned());
    }
    match path.strip_prefix("/v1.50/") {
        Some(path) => Turn::Pass(format!("{method} /v1.41/{path}")),
        None => {
            let body = r#"{"message":"client version 1.44 is too old. Minimum supported API version is 1.50"}"#;
            Turn::Answer("400 Bad Request", body.to_owned())
        }
    }
}

#[test]
fn what_the_engine_cannot_delete_keeps_no_service_down() {
    let mut host = Host::new();
    let proxy = proxy(host.folder.path(), &host.engine.socket, cannot_delete);
    host.env.insert("DOCKER_SOCKET".to_owned(), proxy.display().to_string());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);

    let filter = format!("name=^/?{}-worker.leftover-", host.name);
    let names = || host.engine.docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
    let reply = host.deploy("worker-crashes");
    assert_eq!(reply.json()["status"], "rolled_back", "{reply:?}");
    host.assert_serves("v1");
    let (note, aside) = (reply.json()["notes"][0].to_string(), names());
    assert!(!aside.is_empty() && note.contains(&aside), "{note}: {aside}");
    assert!(note.contains("docker rm -f") && note.contains("resource busy"), "{note}");
    assert_eq!(host.last_deploy()["notes"], reply.json()["notes"]);

    for tag in ["v2", "v3"] {
        let output = host.cli(&["deploy", tag, "--fleet"]);
        let report = said(&output);
        assert_eq!(report.result, ActionResult::Deployed, "it works around leftovers: {report:?}");
        let told = report.notes.iter().any(|note| note.contains(".leftover-"));
        assert!(told, "a success says so too: {report:?}");
        host.assert_serves(tag);
    }
    assert!(host.log().contains("it is set aside under this name"), "{}", host.log());

    host.kill();
    host.env.insert("DOCKER_SOCKET".to_owned(), host.engine.socket.display().to_string());
    host.start();
    let reply = host.deploy("v1");
    assert_eq!((reply.status, &reply.json()["notes"]), (200, &json!([])), "{reply:?}");
    assert_eq!(names(), "", "an engine that can delete again is asked to");
}

#[test]
fn what_a_drain_or_a_cleanup_could_not_tidy_up_is_in_its_answer() {
    let mut host = Host::running("v1");
    let proxy = proxy(host.folder.path(), &host.engine.socket, refuses_to_tidy_up);
    host.kill();
    let log = host.folder.path().join("no-folder/cleanup.log").display().to_string();
    for (name, value) in [
        ("DOCKER_SOCKET", proxy.display().to_string()),
        ("GH_CLEANUP_TMP_DIR", host.folder.path().join("tmp").display().to_string()),
        ("GH_LOG_DIR", host.folder.path().join("logs").display().to_string()),
        ("GH_CLEANUP_JOURNALCTL", "/no/journalctl".to_owned()),
        ("GH_CLEANUP_LOG", log.clone()),
    ] {
        host.env.insert(name.to_owned(), value);
    }
    host.start();
    let report = said(&host.cli(&["cleanup", "--fleet"]));
    let notes = report.notes.join("\n");
    assert_eq!(report.result, ActionResult::Failed, "{report:?}");
    let images = notes.contains("not finished: dangling_images, unused_images");
    assert!(images && notes.contains("read-only"), "{notes}");
    assert!(notes.contains(&log), "{notes}");

    let output = host.cli(&["drain", "--terminating", "--json"]);
    let report = DrainReport::find(&String::from_utf8_lossy(&output.stdout)).expect("a report");
    assert!(report.drained, "{report:?}");
    let [note] = report.notes.as_slice() else { panic!("{report:?}") };
    assert!(note.contains("restart policy") && note.contains("read-only"), "{note}");
}

/// The report of a command that was given with `--fleet`.
fn said(output: &Output) -> ActionReport {
    let text = String::from_utf8_lossy(&output.stdout);
    ActionReport::find(&text).unwrap_or_else(|what| panic!("{what}: {output:?}"))
}

#[test]
fn a_list_that_is_behind_the_engines_own_answer_lets_no_container_be_stopped_twice() {
    let mut host = Host::new();
    let engine = &host.engine.socket;
    let proxy = proxy(host.folder.path(), engine, lists_what_was(engine));
    host.env.insert("DOCKER_SOCKET".to_owned(), proxy.display().to_string());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    for (tag, status) in [("v2", 200), ("worker-crashes", 500)] {
        let reply = host.deploy(tag);
        assert_eq!(reply.status, status, "{reply:?}");
        host.assert_serves("v2");
        let journal = std::fs::read_to_string(host.state("journal.jsonl")).expect("a journal");
        let begun = |step: &str| journal.matches(&format!(r#""doing","step":{step}"#)).count();
        assert_eq!([r#"{"stop":"api"}"#, r#"{"stop":"worker"}"#].map(begun), [1, 1], "{journal}");
        assert!(begun(r#"{"stop-new":"api"}"#) <= 1, "{journal}");
    }
}

#[test]
fn an_engine_that_speaks_only_newer_versions_is_spoken_to_in_its_oldest() {
    let mut host = Host::new();
    let proxy = proxy(host.folder.path(), &host.engine.socket, speaks_only_newer);
    host.env.insert("DOCKER_SOCKET".to_owned(), proxy.display().to_string());
    host.start();
    let reply = host.deploy("v1");
    assert_eq!(reply.status, 200, "{reply:?}");
    host.assert_serves("v1");
    assert!(host.log().contains("newer than this server was tested with"), "{}", host.log());
}

/// What a registry says of a manifest: its digest and its type, and the text itself.
fn manifest(host: &Host, tag: &str) -> (String, String, String) {
    let types = "application/vnd.docker.distribution.manifest.v2+json, \
                 application/vnd.oci.image.manifest.v1+json";
    let answer = registry(host, tag, &["-i", "-H", &format!("Accept: {types}")]);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().unwrap_or_else(|| panic!("no {name}: {answer}")).1.trim().to_owned()
    };
    (header("Docker-Content-Digest"), header("Content-Type"), body.to_owned())
}

fn registry(host: &Host, tag: &str, more: &[&str]) -> String {
    let login = format!("{REGISTRY_USER}:{REGISTRY_PASSWORD}");
    let url = format!("http://{}/v2/ghosthands/manifests/{tag}", host.engine.registry);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "-u", &login, &url]).args(more);
    let output = curl.output().expect("curl is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A build with attestations makes an index of the image's manifest and of a statement about the
/// build; the next build of the same sources makes another index of the same image.
fn rebuild(host: &Host, tag: &str, rebuilt: &str) -> String {
    let (digest, kind, text) = manifest(host, tag);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": kind, "digest": digest, "size": text.len(),
            "platform": { "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"), "os": "linux" },
        }],
        "annotations": { "build": rebuilt },
    });
    let kind = "Content-Type: application/vnd.oci.image.index.v1+json";
    let answer =
        registry(host, rebuilt, &["-i", "-X", "PUT", "-H", kind, "-d", &index.to_string()]);
    let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
    let digest = lines.find(|(name, _)| name.eq_ignore_ascii_case("Docker-Content-Digest"));
    digest.unwrap_or_else(|| panic!("no digest: {answer}")).1.trim().to_owned()
}

#[test]
fn one_image_behind_several_manifests_is_proven_with_the_digest_that_the_tag_means() {
    let host = Host::running("v3");
    let first = manifest(&host, "v3").0;
    assert_eq!(host.last_deploy()["digest"], first);
    // In the order that a list sorted by digest would not give, whatever the digests are: there and
    // back again.
    let rebuilds = ["v3-b", "v3-c"].map(|tag| (tag, rebuild(&host, "v3", tag)));
    let [(b, digest_b), (c, digest_c)] = &rebuilds;
    for (tag, digest) in [(*b, digest_b), (*c, digest_c), ("v3", &first), (*b, digest_b)] {
        let output = host.cli(&["deploy", tag, "--fleet"]);
        let report = said(&output);
        assert_eq!(report.digest.as_ref(), Some(digest), "{tag}: {report:?}");
        assert_eq!(report.image_tag.as_deref(), Some(tag), "{report:?}");
        // What identifies an image is its configuration in one store and its manifest in the other.
        let kept = matches!(report.result, ActionResult::AlreadyCurrent | ActionResult::Deployed);
        assert!(kept, "{report:?}");
        host.assert_serves("v3");
    }
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
    let report = said(&output);
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
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let note = answer["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains(&digest) && note.contains("no registry was asked"), "{answer}");
    assert!(host.log().contains("no registry was asked"), "{}", host.log());
    host.assert_serves("v2");
}

#[test]
fn a_bootstrap_that_fails_is_tried_again_and_says_so() {
    let host = Host::started();
    let output = host.cli(&["bootstrap", "--tag", "not-there", "--timeout", "3"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(said.contains("bootstrap: try 1 failed (") && said.contains("gave up"), "{said}");
}

#[test]
fn a_bootstrap_beside_other_work_goes_on_until_the_host_has_its_worker() {
    let host = Host::running_with("v1", &[("GH_DEPLOY_DRAIN_SECONDS", "60")]);
    host.worker("POST", "/test/job");
    std::thread::scope(|scope| {
        // It holds the host's lock until the job ends.
        let deploy = scope.spawn(|| host.deploy("v2"));
        until("the deploy waits", Duration::from_secs(30), || {
            (!host.get("/health").json()["operation"].is_null()).then_some(())
        });
        let boot = scope.spawn(|| host.cli(&["bootstrap", "--tag", "v1", "--timeout", "60"]));
        std::thread::sleep(Duration::from_secs(2));
        assert!(!boot.is_finished(), "one try is not all");
        host.worker("POST", "/test/done");
        assert_eq!(deploy.join().expect("it answers").status, 200);
        let output = boot.join().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("bootstrap: try 1 failed ("), "{said}");
    });
    host.assert_serves("v1");
}

/// The new API answers, and dies while the new worker is at work already: the old API comes back at
/// once, and the new worker finishes its job.
#[test]
fn an_api_that_dies_in_its_gate_is_restored_before_the_new_workers_job_ends() {
    let host = Host::running_with("v1", &[("GH_DEPLOY_HEALTHY_SECONDS", "10")]);
    let old = host.running_id("api");
    std::thread::scope(|scope| {
        let deploy = scope.spawn(|| host.deploy("worker-busy"));
        let new = format!("{}.next", host.container("worker"));
        until("the new worker works", Duration::from_secs(30), || {
            let running = host.inspect(&new, "{{.State.Running}}")?;
            (running == "true").then_some(())
        });
        http::try_send(host.api_port, "POST", "/test/die", &[], None);
        until("the old API is back", Duration::from_secs(30), || {
            let running = host.inspect(&old, "{{.State.Running}}")?;
            let answers = http::try_send(host.api_port, "GET", "/health", &[], None)?;
            (running == "true" && answers.status == 200).then_some(())
        });
        assert_eq!(host.inspect(&new, "{{.State.Running}}").as_deref(), Some("true"), "at work");
        host.worker("POST", "/test/done");
        let reply = deploy.join().expect("it answers").json();
        assert_eq!(reply["status"], "rolled_back", "{reply}");
        assert_eq!(reply["failedService"], host.container("api"), "{reply}");
    });
    host.assert_serves("v1");
}
