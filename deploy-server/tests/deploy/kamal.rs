//! Hosts of a Kamal set-up: containers by its names and labels, on our ports.

use std::process::Command;
use std::time::Duration;

use crate::support::engine::{self, Engine};
use crate::support::host::Host;
use crate::support::{http, until};

/// A bridge of this machine, until the test ends.
struct Bridge(String);

impl Bridge {
    fn new() -> Self {
        let bridge = Self(format!("ghk{}", std::process::id()));
        let networks = (0..=255).map(|third| format!("10.214.{third}"));
        let is_free = |network: &String| {
            let mut ip = Command::new("ip");
            ip.args(["-4", "route", "show", &format!("{network}.0/24")]);
            ip.output().expect("iproute2 is installed").stdout.is_empty()
        };
        let network = networks.into_iter().find(is_free).expect("a free network");
        for arguments in [
            format!("link add {} type bridge", bridge.0),
            format!("address add {network}.1/24 dev {}", bridge.0),
            format!("link set {} up", bridge.0),
        ] {
            let done = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
            assert!(done.success(), "ip {arguments}");
        }
        bridge
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["link", "delete", &self.0]).status());
    }
}

/// What `kamal app boot` runs for one role: the API on the host's network, the worker with a
/// published port.
fn boot(host: &Host, role: &str, port: u16, network: &[&str]) -> String {
    let service = if role == "web" { "api" } else { "worker" };
    let name = format!("{}-{role}-staging-0ecc742", host.name);
    let image = format!("{}/ghosthands:v1", host.engine.registry);
    let labels = [
        format!("--label=service={}", host.name),
        format!("--label=role={role}"),
        "--label=destination=staging".to_owned(),
        format!("--env=GH_{}_PORT={port}", service.to_uppercase()),
    ];
    host.engine.docker(&["pull", "-q", &image]);
    let mut arguments = vec!["run", "-d", "--restart", "unless-stopped", "--name", &name];
    arguments.extend(labels.iter().map(String::as_str));
    arguments.extend(network);
    arguments.extend([image.as_str(), "/run.sh", service]);
    host.engine.docker(&arguments);
    until("it answers", Duration::from_secs(20), || {
        let path = if role == "web" { "/health" } else { "/worker/status" };
        http::try_send(port, "GET", path, &[], None)
    });
    name
}

#[test]
fn a_host_of_a_kamal_set_up_is_taken_over_by_a_deploy_and_can_go_back() {
    let bridge = Bridge::new();
    let shared = engine::shared();
    let folder = tempfile::Builder::new().prefix("gh-kamal").tempdir().expect("a folder").keep();
    let engine = Engine::start_on(folder, shared.registry.clone(), &bridge.0);
    let engine: &'static Engine = Box::leak(Box::new(engine));
    engine.login();
    let mut host = Host::on(engine);
    host.env.insert("GH_DEPLOY_KAMAL_SERVICE".to_owned(), host.name.clone());
    let published = format!("127.0.0.1:{0}:{0}", host.worker_port);
    let web = boot(&host, "web", host.api_port, &["--network", "host"]);
    let worker = ["-p", &published, "-e", "STANDIN_ADDRESS=0.0.0.0"];
    let worker = boot(&host, "workers", host.worker_port, &worker);
    host.start();

    let running = |names: [&str; 2]| names.map(|name| host.inspect(name, "{{.State.Running}}"));
    let yes = || Some("true".to_owned());
    assert_eq!(host.worker("POST", "/test/job").status, 200);
    let reply = host.deploy("v2").json();
    assert_eq!(reply["failedStep"], "drain-worker", "a job is waited for: {reply}");
    assert_eq!(running([&web, &worker]), [yes(), yes()]);
    host.worker("POST", "/test/done");

    let reply = host.deploy("worker-crashes").json();
    assert_eq!(reply["status"], "rolled_back", "{reply} {}", host.log());
    assert_eq!(running([&web, &worker]), [yes(), yes()], "under their own names");
    let policy = host.inspect(&worker, "{{.HostConfig.RestartPolicy.Name}}");
    assert_eq!(policy.as_deref(), Some("unless-stopped"));

    let reply = host.deploy("v2").json();
    assert_eq!(reply["status"], "deployed", "{reply} {}", host.log());
    host.assert_serves("v2");
    assert_eq!(reply["previous"]["imageTag"], "v1", "the way back is known: {reply}");
    let reply = host.post("/rollback", Some("{}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    host.assert_serves("v1");
    drop(host);
    engine.stop_daemon();
}
