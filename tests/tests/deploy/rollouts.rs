//! Whole rollouts, good and bad.

use crate::world::*;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn one_three_and_fifty_hosts_prove_it_and_the_pointer_moves() {
    for hosts in [1, 3, 50] {
        let world = World::start(hosts).await;
        let id = world.deploy("k", json!({ "image_tag": "v2", "reason": "release" })).await;
        let view = world.ended(&id).await;
        assert_eq!(view["state"], "succeeded", "{view}");
        assert_eq!(count(&view, "succeeded"), u64::from(hosts));
        assert_eq!((&view["kind"], &view["strategy"]), (&json!("deploy"), &json!("canary")));
        assert_eq!(view["reason"], "release");
        assert!(
            view["requested_by"].as_str().is_some_and(|by| by.starts_with("operator:")),
            "{view}"
        );
        assert!(view["ended_at"].is_string());
        let host = &view["hosts"][0];
        assert_eq!((&host["version_before"], &host["version_after"]), (&json!("v1"), &json!("v2")));
        let stable = world.stable();
        assert_eq!((&stable["image_tag"], &stable["deployment_id"]), (&json!("v2"), &json!(id)));
        assert_eq!(stable["before"], "v1");
        assert_eq!(world.run("v2"), hosts as usize);
        // Once more: nobody has anything to do, and that is a success too.
        let again = world.deploy("again", json!({ "image_tag": "v2" })).await;
        let view = world.ended(&again).await;
        assert_eq!(
            (&view["state"], count(&view, "already_current")),
            (&json!("succeeded"), u64::from(hosts))
        );
        assert_eq!(world.stable()["before"], "v1", "the way back is not forgotten");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_version_of_all_needs_no_pointer() {
    let world = World::with(Setup { hosts: 2, fresh: true, ..Setup::default() }).await;
    let id = world.deploy("k", json!({ "image_tag": "v1" })).await;
    assert_eq!(world.ended(&id).await["state"], "succeeded");
    assert_eq!(world.stable()["image_tag"], "v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_is_the_only_one_that_saw_it() {
    let world = World::start(5).await;
    for id in world.in_service() {
        world.mood(&id, Mood::RollsBack("v2"));
    }
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "failed", "{view}");
    assert_eq!((count(&view, "rolled_back"), count(&view, "not_started")), (1, 4), "{view}");
    let failed =
        view["hosts"].as_array().unwrap().iter().find(|h| h["state"] == "rolled_back").unwrap();
    assert_eq!(failed["step"], "start-services");
    assert_eq!(failed["log"], json!(["the version's last words"]));
    assert_eq!((world.run("v1"), world.stable()["image_tag"].as_str()), (5, Some("v1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_later_host_fails_those_before_it_go_back() {
    let world = World::start(6).await;
    let hosts = world.in_service();
    world.mood(&hosts[3], Mood::RollsBack("v2"));
    let id = world.deploy("k", json!({ "image_tag": "v2", "strategy": "one-at-a-time" })).await;
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "rolled_back", "{view}");
    assert_eq!(world.run("v1"), 6);
    assert_eq!(world.stable()["image_tag"], "v1");
    let orders = world.hosts.lock()[&hosts[0]].orders.clone();
    assert_eq!(orders.last().map(String::as_str), Some("deploy v1"));
    assert!(count(&view, "rolled_back") >= 2 && count(&view, "succeeded") == 0, "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_brought_back() {
    let world = World::start(2).await;
    for id in world.in_service() {
        world.mood(&id, Mood::Down("v2"));
    }
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "rolled_back", "{view}");
    assert_eq!(world.run("v1"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_agent_is_offline_is_unreachable_and_no_success() {
    let world = World::start(3).await;
    let dead = world.in_service()[1].clone();
    world.double.set_agent_online(&dead, false);
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    // It is waited for, for ten minutes since it was missed.
    let record = || world.record().unwrap_or_default();
    world.until("it is missed", || record()["missed"].is_i64()).await;
    assert_eq!((world.run("v2"), &world.get(&id).await["state"]), (2, &json!("in_progress")));
    let mut older = record();
    older["missed"] = json!(older["missed"].as_i64().expect("a time") - 600_000);
    let (name, _) = world.records().remove(0);
    world.double.put_parameter(name, &older.to_string()).expect("kept");
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "partial", "{view}");
    assert_eq!(states(&view)[&dead], "unreachable");
    assert_eq!((world.run("v2"), world.stable()["image_tag"].as_str()), (2, Some("v1")));
    // It comes back, and the same order completes the fleet.
    world.double.set_agent_online(&dead, true);
    let id = world.deploy("again", json!({ "image_tag": "v2" })).await;
    let view = world.ended(&id).await;
    assert_eq!(
        (&view["state"], count(&view, "already_current")),
        (&json!("succeeded"), 2),
        "{view}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_in_service_before_its_agent_is_waited_for() {
    let world = World::start(3).await;
    let hosts = world.in_service();
    world.mood(&hosts[0], Mood::Held);
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    world.double.lose_instance(&hosts[2]).expect("it is there");
    let born = || {
        let group = world.double.group(GROUP).expect("the group");
        group.instances.iter().map(|one| one.id.clone()).find(|id| !hosts.contains(id))
    };
    world.until("its successor boots", || born().is_some()).await;
    let born = born().expect("it boots");
    world.double.set_agent_online(&born, false);
    world.until("it is in service", || world.in_service().contains(&born)).await;
    world.mood(&hosts[0], Mood::Good);
    let missed = || world.record().is_some_and(|record| record["missed"].is_i64());
    world.until("it is missed", missed).await;
    assert_eq!(world.stable()["image_tag"], "v1");
    world.double.set_agent_online(&born, true);
    let view = world.ended(&id).await;
    assert_eq!((&view["state"], world.run("v2")), (&json!("succeeded"), 3), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_host_is_asked_again_and_stops_nobody() {
    let world = World::start(3).await;
    let busy = world.in_service()[0].clone();
    world.mood(&busy, Mood::Busy);
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    world.until("the others have it", || world.run("v2") == 2).await;
    let view = world.get(&id).await;
    assert_eq!(view["state"], "in_progress", "{view}");
    assert_eq!(world.stable()["image_tag"], "v1", "not before the last one");
    world.mood(&busy, Mood::Good);
    let view = world.ended(&id).await;
    assert_eq!((&view["state"], count(&view, "succeeded")), (&json!("succeeded"), 3), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_is_a_lie_is_none() {
    let world = World::start(2).await;
    let liar = world.in_service()[1].clone();
    world.mood(&liar, Mood::Lies);
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    let view = world.ended(&id).await;
    // It never proves anything, however often it is asked, so the other one goes back.
    assert_eq!(view["state"], "rolled_back", "{view}");
    assert_eq!((world.run("v1"), world.stable()["image_tag"].as_str()), (2, Some("v1")));
    assert!(world.double.commands().iter().all(|command| command.state.status() == "Success"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_without_a_word_is_asked_again() {
    let world = World::start(2).await;
    let mute = world.in_service()[0].clone();
    world.mood(&mute, Mood::Mute(1));
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "succeeded", "{view}");
    assert_eq!(states(&view)[&mute], "already_current");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_in_the_middle_it_ends_where_it_is() {
    let world = World::start(6).await;
    let second = world.in_service()[1].clone();
    world.mood(&second, Mood::Held);
    let id = world.deploy("k", json!({ "image_tag": "v2", "strategy": "one-at-a-time" })).await;
    world.until("the second has begun", || !world.hosts.lock()[&second].orders.is_empty()).await;
    let (status, body) = world.post(&format!("{ROUTES}/{id}/cancel"), "c", json!({})).await;
    assert_eq!((status, &body["id"]), (202, &json!(id)), "{body}");
    world.mood(&second, Mood::Good);
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "cancelled", "{view}");
    assert!(world.run("v2") >= 1 && world.run("v1") >= 4, "{view}");
    assert_eq!(world.stable()["image_tag"], "v1");
    let (status, body) = world.post(&format!("{ROUTES}/{id}/cancel"), "c", json!({})).await;
    assert_eq!(status, 409, "{body}");
    // And back to what is stable.
    let (status, body) = world.post(&format!("{ROUTES}/{id}/rollback"), "b", json!({})).await;
    assert_eq!(
        (status, &body["image_tag"], &body["kind"]),
        (202, &json!("v1"), &json!("rollback")),
        "{body}"
    );
    let view = world.ended(body["id"].as_str().unwrap()).await;
    assert_eq!((&view["state"], world.run("v1")), (&json!("succeeded"), 6), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_version_can_be_taken_back() {
    let world = World::start(3).await;
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    assert_eq!(world.ended(&id).await["state"], "succeeded");
    let path = format!("{ROUTES}/{id}/rollback");
    let (status, body) = world.post(&path, "b", json!({ "strategy": "all-at-once" })).await;
    assert_eq!((status, &body["image_tag"]), (202, &json!("v1")), "{body}");
    let back = body["id"].as_str().unwrap().to_owned();
    let view = world.ended(&back).await;
    assert_eq!(
        (&view["state"], &view["kind"]),
        (&json!("succeeded"), &json!("rollback")),
        "{view}"
    );
    assert_eq!((world.run("v1"), world.stable()["image_tag"].as_str()), (3, Some("v1")));
    let (status, body) = world.post(&path, "b", json!({ "strategy": "all-at-once" })).await;
    assert_eq!((status, &body["id"]), (202, &json!(back)), "the same request again: {body}");
    let third = world.deploy("third", json!({ "image_tag": "v3" })).await;
    assert_eq!(world.ended(&third).await["state"], "succeeded");
    let (status, body) = world.post(&path, "b", json!({ "strategy": "all-at-once" })).await;
    assert_eq!(
        (status, &body["id"], &body["image_tag"]),
        (202, &json!(back), &json!("v1")),
        "wherever the pointer went since: {body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn born_terminated_and_leaving_meanwhile() {
    let world = World::start(4).await;
    let hosts = world.in_service();
    world.mood(&hosts[2], Mood::Held);
    let id = world.deploy("k", json!({ "image_tag": "v2", "strategy": "one-at-a-time" })).await;
    world.until("the third has begun", || !world.hosts.lock()[&hosts[2]].orders.is_empty()).await;
    // The machine in the middle of it dies, and the last one, and the group replaces both.
    world.double.lose_instance(&hosts[2]).expect("it is there");
    world.double.lose_instance(&hosts[3]).expect("it is there");
    world
        .until("the group is full again", || {
            let now = world.in_service();
            now.len() == 4 && !now.contains(&hosts[2]) && !now.contains(&hosts[3])
        })
        .await;
    let view = world.ended(&id).await;
    assert_eq!(view["state"], "succeeded", "{view}");
    assert_eq!(world.run("v2"), 4, "{view}");
    let states = states(&view);
    for gone in &hosts[2..] {
        assert_eq!(states.get(gone).map(String::as_str), Some("terminated"), "{view}");
    }
    assert_eq!(world.stable()["image_tag"], "v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rollouts_at_once_are_one() {
    let world = World::start(3).await;
    world.all(&Mood::Held);
    // SSM has no compare-and-swap: whoever writes second takes it back, and is told to send the
    // same again.
    let ask = async |key: &'static str, tag: &'static str| loop {
        let answer = world.post(ROUTES, key, json!({ "image_tag": tag })).await;
        if answer.0 != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let answers = tokio::join!(ask("a", "v2"), ask("b", "v3"), ask("c", "v4"));
    let answers = [answers.0, answers.1, answers.2];
    let (winners, losers): (Vec<_>, Vec<_>) =
        answers.iter().partition(|(status, _)| *status == 202);
    assert_eq!((winners.len(), losers.len()), (1, 2), "{answers:?}");
    assert!(losers.iter().all(|(status, _)| *status == 409), "{answers:?}");
    let id = winners[0].1["id"].as_str().unwrap();
    let (status, body) = ask("d", "v5").await;
    assert_eq!((status, &body["running"]), (409, &json!(id)), "{body}");
    world.all(&Mood::Good);
    let view = world.ended(id).await;
    assert_eq!(view["state"], "succeeded");
    assert_eq!(world.run(view["image_tag"].as_str().unwrap()), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_twice_is_one_rollout() {
    let world = World::start(2).await;
    let body = json!({ "image_tag": "v2" });
    // Who comes second may be told to send the same again, and never gets another id.
    let ask = async || loop {
        let (status, answer) = world.post(ROUTES, "same", body.clone()).await;
        if status != 503 {
            assert_eq!(status, 202, "{answer}");
            return answer["id"].clone();
        }
        // API Gateway itself says no time.
        let wait_s = answer["retry_after_seconds"].as_u64().unwrap_or(1);
        tokio::time::sleep(Duration::from_secs(wait_s)).await;
    };
    let ids = tokio::join!(ask(), ask());
    assert_eq!(ids.0, ids.1);
    let id = ids.0.as_str().unwrap();
    assert_eq!(world.ended(id).await["state"], "succeeded");
    let (status, again) = world.post(ROUTES, "same", body.clone()).await;
    assert_eq!(
        (status, &again["id"], &again["state"]),
        (202, &json!(id), &json!("succeeded")),
        "{again}"
    );
    assert_eq!(world.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_event_the_tick_alone_brings_it_to_its_end() {
    let world = World::with(Setup { hosts: 3, asleep: true, ..Setup::default() }).await;
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    let answered =
        || world.double.commands().iter().all(|command| command.state.status() == "Success");
    world.until("every host has said what it runs", answered).await;
    assert_eq!(world.get(&id).await["state"], "in_progress", "looking moves nothing");
    assert_eq!((world.run("v2"), world.stable()["image_tag"].as_str()), (0, Some("v1")));
    world.double.schedule("deploy", "rate(1 second)", "deploy").expect("a rate");
    assert_eq!(world.ended(&id).await["state"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_boots_holds_neither_the_success_nor_the_next_rollout() {
    let world = World::start(3).await;
    world.double.set_boot(GROUP, Duration::from_secs(20)).expect("the group");
    world.double.lose_instance(&world.in_service()[0]).expect("it is there");
    world
        .until("its successor boots", || {
            let group = world.double.group(GROUP).expect("the group");
            group
                .instances
                .iter()
                .filter(|i| i.state == aws_double::LifecycleState::Pending)
                .count()
                == 1
                && world.in_service().len() == 2
        })
        .await;
    let id = world.deploy("k", json!({ "image_tag": "v2" })).await;
    world.until("the pointer moves", || world.stable()["image_tag"] == "v2").await;
    assert_eq!(world.get(&id).await["state"], "succeeded");
    let next = world.deploy("next", json!({ "image_tag": "v3" })).await;
    let view = world.ended(&next).await;
    assert_eq!((&view["state"], world.run("v3")), (&json!("succeeded"), 3), "{view}");
    assert_eq!(world.get(&id).await["state"], "succeeded", "what was proven was proven");
}
