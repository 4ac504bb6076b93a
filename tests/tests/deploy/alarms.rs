//! A rollout that a CloudWatch alarm stops.

use crate::world::*;
use aws_double::Alarm;
use serde_json::json;

fn alarm(name: &str, state: &str) -> Alarm {
    Alarm {
        name: name.to_owned(),
        state: state.to_owned(),
        reason: "Threshold Crossed: 1 datapoint [7.0]".to_owned(),
        actions_enabled: true,
        actions: Vec::new(),
    }
}

async fn world(named: &str) -> World {
    let settings = [("ROLLOUT_ALARMS".to_owned(), named.to_owned())].into();
    World::with(Setup { hosts: 4, settings, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_fires_takes_the_version_back_and_the_answer_names_it() {
    let world = world("errors,old").await;
    // It fires since before, and says nothing of this version.
    world.double.put_alarm(alarm("old", "ALARM"));
    world.double.put_alarm(alarm("errors", "OK"));
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    world.until("a host runs it", || world.run("v2") > 0).await;
    world.double.put_alarm(alarm("errors", "ALARM"));
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "rolled_back", "{view}");
    assert_eq!(view["alarm"]["name"], "errors", "{view}");
    let note = view["note"].as_str().expect("a note");
    assert!(note.contains("CloudWatch alarm errors has been in ALARM since 20"), "{note}");
    assert_eq!((world.run("v1"), world.stable()["image_tag"].as_str()), (4, Some("v1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_cloudwatch_has_no_such_alarm_no_host_gets_the_version() {
    let world = world("erors").await;
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert!(world.hosts.lock().values().all(|host| host.orders.is_empty()), "none is asked to");
    assert_eq!(world.get(&id).await["state"], "in_progress");
    world.double.put_alarm(alarm("erors", "OK"));
    let view = world.ended(&id).await;
    assert_eq!((&view["state"], world.run("v2")), (&json!("succeeded"), 4), "{view}");
}
