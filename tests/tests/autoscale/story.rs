//! Jobs become capacity, and capacity goes only where nobody works.

use crate::world::*;
use serde_json::json;

/// The seed's own story: five jobs, five workers claim them, the queue is empty, and the old system
/// scaled in over their heads.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_ended_until_a_job_ends() {
    let mut world = World::start(Setup::desired(1)).await;
    world.send(5);
    let out = world.tick().await;
    assert_eq!(out["decision"]["plan"], json!({ "do": "set_desired", "desired": 5 }));
    assert_eq!(out["action"]["result"], "done");
    assert_eq!(world.group().desired, 5);
    world.double.advance(std::time::Duration::from_secs(30)).await.expect("a manual clock");
    let workers = world.in_service();
    assert_eq!(workers.len(), 5);

    let jobs = world.boss.fetch(QUEUE, 5).expect("five jobs are claimed");
    world.age_running_jobs();
    world.heartbeat(&workers, true);
    for _ in 0..3 {
        let busy = world.tick().await;
        assert_eq!((plan(&busy), rule(&busy)), ("nothing", "need"), "{busy}");
        past_confirmation().await;
    }

    world.boss.complete(QUEUE, &jobs[..1]).expect("one job ends");
    world.heartbeat(&workers[2..3], false);
    let first = world.tick().await;
    assert_eq!(rule(&first), "idle_unconfirmed", "{first}");
    past_confirmation().await;
    let second = world.tick().await;
    assert_eq!(second["decision"]["plan"], json!({ "do": "terminate", "instance": workers[2] }));
    assert_eq!(world.group().desired, 4);
    assert!(!world.in_service().contains(&workers[2]));
    past_confirmation().await;
    assert_eq!(plan(&world.tick().await), "nothing", "the other four work");
}

#[tokio::test(flavor = "multi_thread")]
async fn deferred_jobs_ask_for_workers_one_boot_time_ahead() {
    let mut world = World::start(Setup::desired(1)).await;
    for start_after in [60, 80, 3_600] {
        let id = world.boss.send(QUEUE, json!({}), json!({ "startAfter": start_after }));
        id.expect("sent").expect("an id");
    }
    let record = world.tick().await;
    // AUTOSCALE_BOOT_SECONDS is 95: two are due within it.
    assert_eq!(record["decision"]["need"], 2, "{record}");
    assert_eq!(record["decision"]["demand"]["due_soon"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_targeted_job_keeps_its_worker() {
    let mut world = World::start(Setup::desired(2)).await;
    let workers = world.in_service();
    let own_queue = format!("{QUEUE}/{}", workers[0]);
    world.boss.create_queue(&own_queue, json!({})).expect("created");
    world.boss.send(&own_queue, json!({}), json!({})).expect("sent").expect("an id");
    world.heartbeat(&workers, false);
    world.tick().await;
    past_confirmation().await;
    let record = world.tick().await;
    assert_eq!(
        record["decision"]["plan"],
        json!({ "do": "terminate", "instance": workers[1] }),
        "{record}"
    );
}

/// All that may go leave in one tick; a call that AWS refuses leaves its instance for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn several_leave_in_one_tick_and_the_next_one_goes_on_where_a_call_failed() {
    let world = World::start(Setup::desired(6).env("AUTOSCALE_MAX_IN_PERCENT", "100")).await;
    world.heartbeat(&world.in_service(), false);
    assert_eq!(rule(&world.tick().await), "idle_unconfirmed");
    past_confirmation().await;
    world.double.faults().lose_reply("TerminateInstanceInAutoScalingGroup", 1);
    let first = world.tick().await;
    assert_eq!(plan(&first), "terminate");
    assert_eq!(first["decision"]["plan"]["also"].as_array().map(Vec::len), Some(4), "{first}");
    assert_eq!(first["action"]["result"], "partly", "{first}");
    assert_eq!(first["action"]["unanswered"], 1, "{first}");
    world.double.faults().clear();
    world.heartbeat(&world.in_service(), false);
    world.tick().await;
    past_confirmation().await;
    let second = world.tick().await;
    let notes = second["decision"]["notes"].to_string();
    assert!(!notes.contains("external_change"), "{second}");
    assert_eq!(world.group().desired, 1);
}

/// A worker that keeps the contract says in its row that it takes jobs; the hook is looked at
/// before it is taken at its word.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_taken_at_its_word_while_the_drain_hook_is_there() {
    let mut world = World::start(Setup::desired(3)).await;
    world.send(1);
    world.boss.fetch(QUEUE, 1).expect("a job is taken just now");
    world.heartbeat(&world.in_service(), false);
    world.sql(
        "UPDATE gh_worker_registry SET metadata = '{\"accepting\": true, \"active_jobs\": 0}'",
    );
    world.tick().await;
    past_confirmation().await;
    assert_eq!(rule(&world.tick().await), "none_idle", "without the hook it has to be proven");
    let hook = [
        ("LifecycleHookName", "ghosthands-drain-hook"),
        ("LifecycleTransition", "autoscaling:EC2_INSTANCE_TERMINATING"),
    ];
    world.aws("PutLifecycleHook", &hook).await;
    let record = world.tick().await;
    assert_eq!((plan(&record), rule(&record)), ("terminate", "idle"), "{record}");
    assert_eq!(record["decision"]["because"]["likely"], 1, "{record}");
}

/// What is printed is enough to decide again.
#[tokio::test(flavor = "multi_thread")]
async fn a_printed_record_replays_bit_for_bit() {
    let mut world = World::start(Setup::desired(2)).await;
    world.send(4);
    world.heartbeat(&world.in_service(), false);
    world.tick().await;
    let line = world.line("decision").await;
    let inputs = serde_json::from_value(line["inputs"].clone()).expect("the inputs are complete");
    let again = fleet_core::scaling::decide(&inputs).decision;
    assert_eq!(serde_json::to_value(again).expect("encodes"), line["decision"]);
    for key in ["at", "version", "config_hash", "ages", "duration_ms", "trigger", "request_id"] {
        assert!(!line[key].is_null(), "{key} is missing in {line}");
    }
    let metrics = world.printed(|line| line.get("_aws").is_some()).await;
    assert_eq!(metrics.len(), 1, "one line of metrics a tick");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_decides_the_same_and_changes_nothing() {
    let mut world = World::start(Setup::desired(3).env("DRY_RUN", "true")).await;
    world.heartbeat(&world.in_service(), false);
    world.tick().await;
    past_confirmation().await;
    let shrink = world.tick().await;
    assert_eq!((plan(&shrink), &shrink["action"]["result"]), ("terminate", &json!("dry_run")));
    world.send(8);
    let grow = world.tick().await;
    assert_eq!(grow["decision"]["plan"], json!({ "do": "set_desired", "desired": 8 }));
    assert_eq!(world.changes(), [""; 0]);
    assert_eq!(world.double.parameter(STATE), None, "not even the memory");
    assert_eq!(world.group().desired, 3);
}

/// What it decided and did not do is not taken for a change that somebody took back.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_goes_on_deciding_as_if_it_had_never_decided() {
    let setup = Setup::desired(3)
        .env("DRY_RUN", "true")
        .env("WAIT_VALUE", "5")
        .env("AUTOSCALE_BOOT_SECONDS", "1")
        .env("AUTOSCALE_HOLD_MIN_SECONDS", "1");
    let world = World::start(setup).await;
    world.heartbeat(&world.in_service(), false);
    let mut ended = 0;
    for _ in 0..60 {
        let record = world.tick().await;
        if plan(&record) == "terminate" {
            ended += 1;
            let notes = &record["decision"]["notes"];
            assert_eq!(*notes, json!([{ "rule": "hook_missing" }]), "{record}");
        } else {
            assert_eq!(ended, 0, "what let a worker go lets it go the next time: {record}");
        }
        if ended == 3 {
            return;
        }
        past_confirmation().await;
        world.heartbeat(&world.in_service(), false);
    }
    panic!("{ended} of 3 times a worker would have gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_nothing_is_looked_at() {
    let world = World::start(Setup::desired(1).env("AUTOSCALE_ASG_ENABLED", "false")).await;
    world.double.clear_calls();
    assert_eq!(world.tick().await["type"], "disabled");
    assert_eq!(world.double.calls().len(), 0);
}

/// Neither the token nor the password is in anything the function printed.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_printed() {
    let world = World::start(Setup::desired(1)).await;
    world.tick().await;
    let password = world.password();
    for line in world.function.logs() {
        assert!(!line.text.contains(TOKEN), "{}", line.text);
        assert!(!line.text.contains(&password), "{}", line.text);
    }
}
