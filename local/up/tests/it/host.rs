//! Whole hosts: the shipped deploy-server over process containers.

use fleet_local::host::{Behaviour, Host, HostOptions, InService, Registry, Version, registry};
use fleet_local::http::call;
use serde_json::{Value, json};

/// Good ones, and one for each way to be broken.
fn images() -> Registry {
    let broken = Version { worker: Behaviour::Crashes, ..Version::new("crashes") };
    let sick = Version { api: Behaviour::NeverHealthy, ..Version::new("sick") };
    let words = Some("toomanyrequests: Rate exceeded".to_owned());
    let breaks = Version { broken_pull: words, ..Version::new("breaks") };
    registry(&[Version::new("v1"), Version::new("v2"), Version::old("old"), broken, sick, breaks])
        .unwrap()
}

fn running(tag: &str) -> Host {
    Host::start(HostOptions {
        image_tag: Some(tag.to_owned()),
        ..HostOptions::new("i-0a", images())
    })
    .unwrap()
}

fn both(tag: &str) -> InService {
    InService { api: Some(tag.to_owned()), worker: Some(tag.to_owned()) }
}

async fn get(port: u16, path: &str) -> Value {
    call(port, "GET", path, "").await.unwrap().1
}

/// The newest deploy in the history: its tag, how it ended, and the step that failed.
async fn last_deploy(host: &Host) -> [Value; 3] {
    let deploys = get(host.deploy_port(), "/deploys").await;
    ["imageTag", "status", "failedStep"].map(|field| deploys["deploys"][0][field].clone())
}

#[tokio::test]
async fn a_host_boots_deploys_and_goes_back_from_what_is_broken() {
    let host = running("v1");
    assert_eq!(host.in_service(), both("v1"));
    assert_eq!(get(host.worker_port(), "/worker/health").await["image_tag"], "v1");
    assert_eq!(host.command(&["deploy", "v2"]).unwrap().exit_code, 0, "{}", host.log());
    assert_eq!(host.in_service(), both("v2"));
    assert_eq!(last_deploy(&host).await, [json!("v2"), json!("deployed"), Value::Null]);

    let crashed = host.command(&["deploy", "crashes"]).unwrap();
    assert_eq!(crashed.exit_code, 10, "{crashed:?}");
    let step = json!("start-services");
    assert_eq!(last_deploy(&host).await, [json!("crashes"), json!("rolled_back"), step]);
    assert_eq!(host.in_service(), both("v2"));
    let log = crashed.reply["log"].to_string();
    assert!(log.contains("this version crashes at its start"), "{crashed:?}");

    for (tag, words) in [
        ("missing", "manifest for registry.local/ghosthands:missing not found: manifest unknown"),
        ("breaks", "pull failed: toomanyrequests: Rate exceeded"),
    ] {
        let failed = host.command(&["deploy", tag]).unwrap();
        assert_eq!(failed.exit_code, 13, "{failed:?}");
        assert!(failed.reply["error"].as_str().unwrap().contains(words), "{failed:?}");
    }
    assert_eq!(host.command(&["rollback"]).unwrap().exit_code, 0);
    assert_eq!(host.in_service(), both("v1"));
}
