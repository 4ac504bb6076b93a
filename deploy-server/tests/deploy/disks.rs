//! Disks that are full: the engine's, and the server's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fleet_core::drain::Finding;
use fleet_protocol::ids::InstanceId;
use serde_json::json;

use crate::drains::report;
use crate::support::engine::{self, Engine};
use crate::support::host::Host;
use crate::support::until;

/// A small disk in memory, gone with its owner.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(folder: &Path, size: &str) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let option = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &option, "tmpfs"])
            .arg(folder)
            .status();
        assert!(mounted.expect("mount runs").success(), "the tests run as root");
        Self(folder.to_owned())
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut noise = std::fs::File::open("/dev/zero").expect("there is one");
        let mut ballast = std::fs::File::create(self.0.join("ballast")).expect("a file");
        std::io::copy(&mut noise, &mut ballast).expect_err("it fills up");
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_pull_that_fills_the_disk_fails_inside_its_stream_and_touches_nothing() {
    let shared = engine::shared();
    let folder = tempfile::Builder::new().prefix("gh-disk").tempdir().expect("a folder").keep();
    let _disk = SmallDisk::new(&folder.join("data"), "80m");
    let engine: &'static Engine =
        Box::leak(Box::new(Engine::start(folder, shared.registry.clone())));
    let mut host = Host::on(engine);
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    let before = host.running_id("worker");
    let reply = host.deploy("large");
    assert_eq!(reply.status, 500, "{reply:?}");
    let body = reply.json();
    assert_eq!(
        (&body["status"], &body["failedStep"]),
        (&json!("failed"), &json!("pull-image")),
        "{body}"
    );
    assert!(body["error"].as_str().is_some_and(|error| error.contains("no space left")), "{body}");
    assert_eq!(host.running_id("worker"), before);
    host.assert_serves("v1");
    drop(host);
    engine.stop_daemon();
}

#[test]
fn a_server_that_cannot_write_its_journal_does_nothing_and_says_why() {
    let mut host = Host::new();
    let state = host.folder.path().join("state");
    let disk = SmallDisk::new(&state, "256k");
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    disk.fill();
    let reply = host.deploy("v2").json();
    assert_eq!(
        (&reply["status"], &reply["failedStep"]),
        (&json!("failed"), &json!("journal")),
        "{reply}"
    );
    assert!(
        reply["error"].as_str().is_some_and(|error| error.contains("No space left")),
        "{reply}"
    );
    host.assert_serves("v1");

    disk.free();
    assert_eq!(host.deploy("v2").status, 200);
    host.assert_serves("v2");
}

#[test]
fn a_journal_that_cannot_be_read_is_waited_for_and_nothing_is_deployed_meanwhile() {
    let mut host = Host::new();
    let journal = host.state("journal.jsonl");
    std::fs::create_dir_all(&journal).expect("a folder where the journal belongs");
    host.start();
    assert_eq!(host.get("/health").json()["operation"], "recovery");
    assert_eq!(host.deploy("v1").status, 409);
    std::fs::remove_dir(&journal).expect("it is empty");
    until("the disk is mended", Duration::from_secs(30), || {
        host.get("/health").json()["operation"].is_null().then_some(())
    });
    assert_eq!(host.deploy("v1").status, 200);
}

/// The worker of a machine that goes away takes no more jobs, though the disk keeps no word of it.
#[test]
fn a_server_that_cannot_write_the_terminating_marker_drains_all_the_same() {
    for (tag, stop) in [("v1", false), ("v1", true), ("old1", false)] {
        let mut host = Host::new();
        let disk = SmallDisk::new(&host.folder.path().join("state"), "256k");
        host.start();
        assert_eq!(host.deploy(tag).status, 200);
        if tag == "v1" {
            host.worker("POST", "/test/job");
        }
        disk.fill();
        let mut order = vec!["drain", "--terminating", "--timeout", "1", "--json"];
        order.extend(stop.then_some("--stop"));
        let said = report(&host.cli(&order));
        assert!(!said.terminating, "a restart would undo it: {said:?}");
        assert!(said.message.contains("cannot be written"), "{said:?}");
        assert_eq!(said.accepting, Some(false), "{said:?}");
        assert_eq!(said.worker_stopped, stop || tag == "old1", "{said:?}");
        assert_eq!(host.deploy("v2").status, 409, "nobody starts a worker here any more");
        if tag == "v1" && !stop {
            assert_eq!(said.active_jobs, Some(1), "its job goes on: {said:?}");
            // Put back to work by somebody, it is drained again by the server itself.
            host.worker("POST", "/worker/resume");
            until("it is drained again", Duration::from_secs(60), || {
                let status = host.worker("GET", "/worker/status").json();
                (status["accepting"] == false).then_some(())
            });
            host.worker("POST", "/test/done");
        }

        disk.free();
        let said = report(&host.cli(&["drain", "--terminating", "--timeout", "30", "--json"]));
        let instance = InstanceId::new("i-0123456789abcdef0");
        assert_eq!(Finding::of(&said, &instance), Finding::Drained, "{said:?}");
    }
}
