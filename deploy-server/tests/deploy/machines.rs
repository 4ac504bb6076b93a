//! Containers that a machine image brought along from the machine it was made of.

use std::time::Duration;

use crate::support::engine::{self, Engine};
use crate::support::host::Host;
use crate::support::metadata::Metadata;
use crate::support::until;

const OTHER: &str = "i-0aaaaaaaaaaaaaaaa";

#[test]
fn a_container_of_another_machine_is_stopped_at_start_and_replaced() {
    let mut host = Host::running("v1");
    host.kill();
    host.env.insert("EC2_INSTANCE_ID".to_owned(), OTHER.to_owned());
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
    assert!(environment.contains(&format!("EC2_INSTANCE_ID={OTHER}")), "{environment}");
}

/// The engine starts its containers before it answers anybody, so before any server can look.
#[test]
fn containers_of_another_machine_do_not_start_with_the_engine() {
    let shared = engine::shared();
    let folder = tempfile::Builder::new().prefix("gh-machine").tempdir().expect("a folder").keep();
    let engine: &'static Engine =
        Box::leak(Box::new(Engine::start(folder, shared.registry.clone())));
    let mut host = Host::on(engine);
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    let ours = host.env["EC2_INSTANCE_ID"].clone();
    host.kill();

    let metadata = Metadata::start();
    host.env.remove("AWS_EC2_METADATA_DISABLED");
    let endpoint = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    host.env.insert(endpoint.to_owned(), metadata.endpoint.clone());
    let root = engine.folder.join("data").display().to_string();
    let boot = |instance: &str| {
        engine.stop_daemon();
        metadata.say("instance-id", 200, instance);
        let output = host.cli(&["boot-check", "--docker-root", &root, "--timeout", "5", "--json"]);
        assert!(output.status.success(), "{output:?}");
        engine.start_daemon();
        ["api", "worker"].map(|service| {
            host.inspect(&host.container(service), "{{.State.Running}}").expect("it is there")
        })
    };
    assert_eq!(boot(&ours), ["true", "true"], "its own machine's start");
    assert_eq!(boot(OTHER), ["false", "false"]);

    host.env.insert("EC2_INSTANCE_ID".to_owned(), OTHER.to_owned());
    host.start();
    assert_eq!(host.deploy("v1").status, 200, "{}", host.log());
    host.assert_serves("v1");
    assert_eq!(boot_again(&mut host, &metadata, &root), "true", "what was made here starts");
}

fn boot_again(host: &mut Host, metadata: &Metadata, root: &str) -> String {
    host.kill();
    host.engine.stop_daemon();
    metadata.say("instance-id", 200, OTHER);
    let output = host.cli(&["boot-check", "--docker-root", root]);
    assert!(output.status.success(), "{output:?}");
    host.engine.start_daemon();
    host.inspect(&host.container("worker"), "{{.State.Running}}").expect("it is there")
}
