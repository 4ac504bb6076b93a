//! Cleanup, refreshed secrets and drain: the same machinery without a version.

use crate::world::*;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_and_secrets_reach_every_host() {
    let world = World::start(3).await;
    for (path, kind) in [("cleanup", "cleanup"), ("refresh-secrets", "refresh-secrets")] {
        let (status, body) = world.post(&format!("/api/v1/admin/{path}"), kind, json!({})).await;
        assert_eq!((status, &body["kind"]), (202, &json!(kind)), "{body}");
        assert_eq!(body["targets"].as_array().map(Vec::len), Some(3));
        let id = body["id"].as_str().unwrap();
        world
            .until("it is over", || {
                world.double.commands().iter().all(|c| c.state.status() == "Success")
            })
            .await;
        let view = world.get(id).await;
        assert_eq!((&view["state"], count(&view, "succeeded")), (&json!("succeeded"), 3), "{view}");
        let (_, again) = world.post(&format!("/api/v1/admin/{path}"), kind, json!({})).await;
        assert_eq!(again["id"], body["id"], "the same key");
    }
    assert!(world.hosts.lock().values().all(|host| host.orders == ["cleanup", "refresh-secrets"]));
    // Without a key each request stands for itself, and a body is not needed either.
    let ask = || world.request("POST", "/api/v1/admin/cleanup", OPERATOR, None, "");
    let (one, two) = (ask().await, ask().await);
    assert_eq!((one.0, two.0), (202, 202), "{one:?} {two:?}");
    assert_ne!(one.1["id"], two.1["id"]);
    assert!(world.records().is_empty(), "no lock is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_for_named_hosts_and_can_be_undone() {
    let world = World::start(3).await;
    let hosts = world.in_service();
    let (status, body) =
        world.post("/api/v1/admin/drain", "d", json!({ "instance_ids": [hosts[0]] })).await;
    assert_eq!((status, &body["targets"]), (202, &json!([hosts[0]])), "{body}");
    let command = &world.double.commands()[0];
    assert_eq!(command.parameters["Leaving"], ["false"]);
    let unknown = json!({ "instance_ids": [hosts[1], "i-0000000000000dead"] });
    let (status, body) = world.post("/api/v1/admin/drain", "e", unknown).await;
    assert_eq!(status, 409, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("i-0000000000000dead"), "{body}");
    assert_eq!(world.double.commands().len(), 1);
}
