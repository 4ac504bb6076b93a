//! Real hosts: the shipped deploy-server on each, with containers of its own, ordered by the
//! document of the template.

use crate::world::*;
use fleet_local::host::{Behaviour, Host, HostOptions, Registry, Service, Version, registry};
use fleet_local::paths;
use fleet_local::template::Template;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Real hosts in service with `v1`, and `v2` and a broken version to be had.
struct Fleet {
    hosts: Vec<Arc<Host>>,
    images: Registry,
    world: World,
}

impl Fleet {
    async fn boot(size: u32) -> Fleet {
        let world = World::start(size).await;
        let broken = Version { worker: Behaviour::Crashes, ..Version::new("broken") };
        let images = registry(&[Version::new("v1"), Version::new("v2"), broken]).expect("images");
        let boots = world.in_service().into_iter().map(|id| {
            let images = images.clone();
            let boot = move || {
                let options = HostOptions {
                    image_tag: Some("v1".to_owned()),
                    ..HostOptions::new(&id, images)
                };
                Arc::new(Host::start(options).expect("the host boots to v1"))
            };
            tokio::task::spawn_blocking(boot)
        });
        let mut hosts = Vec::new();
        for boot in boots.collect::<Vec<_>>() {
            let host = boot.await.expect("joins");
            let runner = host.runner().env("GH_DEPLOY_RETRY_SECONDS", "0,0,0");
            world.double.set_runner_of(host.instance_id(), runner);
            hosts.push(host);
        }
        Fleet { hosts, images, world }
    }

    /// On how many hosts this version is in both services, as their engines know it.
    fn run(&self, version: &str) -> usize {
        let runs = |host: &&Arc<Host>| {
            let runs = host.in_service();
            [runs.api, runs.worker].iter().all(|tag| tag.as_deref() == Some(version))
        };
        self.hosts.iter().filter(runs).count()
    }

    async fn shut(self) {
        let Fleet { hosts, world, .. } = self;
        tokio::task::spawn_blocking(move || drop(hosts)).await.expect("joins");
        drop(world);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_real_host_and_fifty_take_a_version_and_give_a_broken_one_back() {
    for size in [1, 50] {
        let fleet = Fleet::boot(size).await;
        let world = &fleet.world;
        let all = size as usize;
        let id = world.deploy("good", json!({ "image_tag": "v2" })).await;
        let view = world.ended(&id).await;
        assert_eq!(view["state"], "succeeded", "{view}");
        assert_eq!((count(&view, "succeeded"), fleet.run("v2")), (size.into(), all), "{view}");
        let id = world.deploy("bad", json!({ "image_tag": "broken" })).await;
        let view = world.ended(&id).await;
        assert_eq!(view["state"], "failed", "{view}");
        assert_eq!((count(&view, "rolled_back"), fleet.run("v2")), (1, all), "{view}");
        assert_eq!(world.stable()["image_tag"], "v2");
        fleet.shut().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_real_hosts_take_a_version_and_give_a_broken_one_back() {
    let fleet = Fleet::boot(3).await;
    let Fleet { hosts, world, .. } = &fleet;
    let run = |version: &str| fleet.run(version);

    let id = world.deploy("good", json!({ "image_tag": "v2" })).await;
    let view = world.ended(&id).await;
    assert_eq!((&view["state"], count(&view, "succeeded")), (&json!("succeeded"), 3), "{view}");
    assert_eq!((run("v2"), &world.stable()["image_tag"]), (3, &json!("v2")));
    assert_eq!(view["hosts"][0]["version_before"], "v1");

    // The canary goes back by itself, and nobody else ever saw it.
    let id = world.deploy("bad", json!({ "image_tag": "broken" })).await;
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "failed", "{view}");
    assert_eq!((count(&view, "rolled_back"), count(&view, "not_started")), (1, 2), "{view}");
    assert_eq!((run("v2"), &world.stable()["image_tag"]), (3, &json!("v2")));
    let canary = view["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|host| host["state"] == "rolled_back")
        .unwrap();
    assert_eq!(
        (&canary["version_after"], &canary["step"]),
        (&json!("v2"), &json!("start-services")),
        "{canary}"
    );

    // A tag that nobody pushed touches nothing.
    let id = world.deploy("none", json!({ "image_tag": "no-such-tag" })).await;
    let view = world.ended(&id).await;
    assert_eq!(
        (&view["state"], count(&view, "refused"), run("v2")),
        (&json!("failed"), 1, 3),
        "{view}"
    );

    // A server that died has no word; the next order finds it alive again and completes the fleet.
    let dead = Arc::clone(&hosts[1]);
    let killed = Arc::clone(&dead);
    tokio::task::spawn_blocking(move || killed.kill_server())
        .await
        .expect("joins")
        .expect("killed");
    let id = world.deploy("back", json!({ "image_tag": "v1", "strategy": "all-at-once" })).await;
    world.until("the others have it", || run("v1") == 2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.stable()["image_tag"], "v2", "one host proved nothing");
    tokio::task::spawn_blocking(move || dead.start_server())
        .await
        .expect("joins")
        .expect("started");
    let view = world.ended(&id).await;
    assert_eq!((&view["state"], run("v1")), (&json!("succeeded"), 3), "{view}");

    for (path, kind) in [("cleanup", "cleanup"), ("drain", "drain")] {
        let body = if kind == "drain" {
            json!({ "instance_ids": [hosts[0].instance_id()] })
        } else {
            json!({})
        };
        let (status, body) = world.post(&format!("/api/v1/admin/{path}"), kind, body).await;
        assert_eq!(status, 202, "{body}");
        let sent = world.double.commands().len();
        world
            .until("it is over", || {
                world.double.commands()[sent - 1].invocations.iter().all(|i| i.state.is_terminal())
            })
            .await;
        let view = world.get(body["id"].as_str().unwrap()).await;
        assert_eq!(view["state"], "succeeded", "{view}");
    }
    fleet.shut().await;
}

/// As a version is promoted that was built and tried under another name.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_tag_of_the_running_image_goes_through_a_whole_rollout() {
    let fleet = Fleet::boot(3).await;
    let Fleet { hosts, images, world } = &fleet;
    let mut promoted = Version::new("v1").image().expect("an image");
    "v1-promoted".clone_into(&mut promoted.tag);
    let digest = promoted.digest();
    images.push(promoted);
    let containers = || {
        let of = |host: &Arc<Host>| {
            [Service::Api, Service::Worker].map(|service| {
                let container = host.engine().container(service.container());
                container.expect("it is in service").id
            })
        };
        hosts.iter().map(of).collect::<Vec<_>>()
    };
    let before = containers();

    for (tag, was) in [("v1-promoted", "v1"), ("v1", "v1-promoted")] {
        let id = world.deploy(tag, json!({ "image_tag": tag })).await;
        let view = world.ended(&id).await;
        assert_eq!(view["state"], "succeeded", "{view}");
        assert_eq!(count(&view, "already_current"), 3, "{view}");
        for host in view["hosts"].as_array().expect("hosts") {
            assert_eq!(host["version_after"], tag, "{view}");
            assert_eq!(host["version_before"], was, "{view}");
        }
        let stable = world.stable();
        assert_eq!((&stable["image_tag"], &stable["digest"]), (&json!(tag), &json!(digest)));
        for host in hosts {
            let host = Arc::clone(host);
            let asked = tokio::task::spawn_blocking(move || host.command(&["status", "--fleet"]));
            let proof = asked.await.expect("joins").expect("it runs").reply;
            let said = [&proof["imageTag"], &proof["digest"]];
            assert_eq!(said, [&json!(tag), &json!(digest)], "{proof}");
        }
    }
    assert_eq!(containers(), before, "no container was replaced");
    fleet.shut().await;
}

/// What the status says of the version of each host: version, drift, and why there is none.
async fn versions(endpoint: &str) -> BTreeMap<String, [Value; 3]> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-H", &format!("Authorization: Bearer {READER}")]);
    curl.arg(format!("{endpoint}/api/v1/admin/fleet-status"));
    let output = tokio::task::spawn_blocking(move || curl.output().expect("curl runs"));
    let status: Value = serde_json::from_slice(&output.await.expect("joins").stdout).expect("JSON");
    let hosts = status["instances"].as_array().expect("the group is known").iter();
    let told = |host: &Value| ["version", "drift", "unproven"].map(|at| host[at].clone());
    hosts
        .map(|host| (host["instance_id"].as_str().expect("an id").to_owned(), told(host)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_over_a_hosts_own_http_is_seen_with_the_next_survey() {
    let fleet = Fleet::boot(2).await;
    let Fleet { hosts, world, .. } = &fleet;
    let template = Template::read(GROUP).expect("it is YAML");
    // Its database is down, which costs nothing that is asked for here.
    let settings = [
        ("GH_ENVIRONMENT", "test"),
        ("AWS_ASG_NAME", GROUP),
        ("AUTOSCALE_ASG_ENABLED", "true"),
        ("DATABASE_URL", "postgresql://fleet:none@127.0.0.1:9/none"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    template.start("fleet-status", &world.double, settings).await.expect("starts");
    let api = world.double.http_api(template.routes("fleet-status"), 0).await.expect("listens");
    let id = world.deploy("good", json!({ "image_tag": "v2" })).await;
    assert_eq!(world.ended(&id).await["state"], "succeeded");
    let proven = [json!("v2"), json!(false), Value::Null];
    let in_service = world.in_service().into_iter();
    let mut expected: BTreeMap<_, _> = in_service.map(|id| (id, proven.clone())).collect();
    assert_eq!(versions(&api.endpoint()).await, expected);

    // As the guide's second path has it: nothing of it goes through the control plane.
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-X", "POST", "-H", "Content-Type: application/json"]);
    curl.args(["-H", &format!("X-Deploy-Secret: {}", hosts[0].secret())]);
    curl.args(["-d", r#"{"image_tag":"v1"}"#]);
    curl.arg(format!("http://127.0.0.1:{}/deploy", hosts[0].deploy_port()));
    let output = tokio::task::spawn_blocking(move || curl.output().expect("curl runs"));
    let said = String::from_utf8(output.await.expect("joins").stdout).expect("UTF-8");
    world.until(&format!("it runs v1: {said}"), || fleet.run("v1") == 1).await;
    let commands = world.double.commands().len();
    let survey = include_bytes!("../../../events/deploy-survey.json");
    let function = world.function.lock().expect("unharmed").clone();
    drop(function.invoke(survey).await.expect("it asks"));
    world
        .until("every host has answered", || {
            let commands = world.double.commands();
            commands[commands.len() - 1].invocations.iter().all(|i| i.state.is_terminal())
        })
        .await;
    assert_eq!(world.double.commands().len(), commands + 1, "one command for the whole group");

    let by_hand = [json!("v1"), json!(true), Value::Null];
    expected.insert(hosts[0].instance_id().to_owned(), by_hand);
    assert_eq!(versions(&api.endpoint()).await, expected);
    let (_, list) = world.request("GET", ROUTES, READER, None, "").await;
    assert_eq!(list["deployments"].as_array().map(Vec::len), Some(1), "a survey is none: {list}");
    fleet.shut().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_host_boots_to_what_the_fleet_has_proven() {
    let world = World::start(0).await;
    let images = registry(&[Version::new("v1")]).expect("images");
    let aws = world.double.aws_env();
    let boot = move |more: &'static [&'static str], environment: Option<&'static str>| {
        let (images, aws) = (images.clone(), aws.clone());
        tokio::task::spawn_blocking(move || {
            let host =
                Host::start(HostOptions::new("i-0a1b2c3d4e5f60718", images)).expect("it starts");
            let mut bootstrap =
                Command::new(paths::built("deploy-server", "deploy-server").expect("built"));
            bootstrap
                .arg("bootstrap")
                .args(more)
                .env_clear()
                .envs(host.shell_environment())
                .envs(aws);
            if let Some(name) = environment {
                bootstrap.env("GH_ENVIRONMENT", name);
            }
            let output = bootstrap.output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            (output.status.code(), said, host.in_service().worker)
        })
    };
    let (code, said, runs) = boot(&["--environment", "test"], None).await.expect("joins");
    assert_eq!((code, runs.as_deref()), (Some(0), Some("v1")), "{said}");
    // Nothing was ever proven there: somebody has to say what to begin with.
    let (code, said, runs) = boot(&[], Some("elsewhere")).await.expect("joins");
    assert_eq!((code, runs), (Some(64), None), "{said}");
    assert!(said.contains("/ghosthands/elsewhere/stable") && said.contains("--tag"), "{said}");
    let (code, said, _) = boot(&["--tag", "v1"], None).await.expect("joins");
    assert_eq!(code, Some(0), "{said}");
}
