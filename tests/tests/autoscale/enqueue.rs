//! Ticks between those of the schedule: by interval, and by whoever enqueues jobs.

use crate::api::{PATH, Reply, post, serve};
use crate::world::*;
use aws_double::HttpApi;
use fleet_clients::queue::lock_key;
use fleet_protocol::ids::GroupName;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A world whose function has a few places, and its API.
async fn world() -> (World, Arc<HttpApi>) {
    let setup = Setup::desired(1).env("JOBS_PER_WORKER", "5").env("AUTOSCALE_MAX", "20");
    let world = World::start(setup.concurrency(8)).await;
    let api = Arc::new(serve(&world).await);
    (world, api)
}

fn call(calls: &mut JoinSet<Reply>, api: &Arc<HttpApi>) {
    let api = Arc::clone(api);
    calls.spawn(async move { post(&api, PATH, Some(TOKEN)).await });
}

/// How many calls were answered with a tick of their own, and how many with another's. The rest
/// found all places of the function taken.
fn ticked_and_joined(replies: &[Reply]) -> (usize, usize) {
    let count = |status: u16, kind: &str| {
        let like = |reply: &&Reply| reply.status == status && reply.body["type"] == kind;
        replies.iter().filter(like).count()
    };
    let (ticked, joined) = (count(200, "decision"), count(202, "joined"));
    let refused = replies.iter().filter(|reply| reply.status == 503).count();
    let told: Vec<_> = replies.iter().map(|reply| (reply.status, &reply.body["type"])).collect();
    assert_eq!(ticked + joined + refused, replies.len(), "{told:?}");
    (ticked, joined)
}

async fn decisions(world: &World) -> Vec<Value> {
    world.printed(|line| line["type"] == "decision").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_while_a_tick_runs_are_one_tick_more_and_the_last_job_is_counted() {
    let (mut world, api) = world().await;
    // The lock of a tick that has read the queue already, held by hand.
    let running = world.postgres.connect(&world.database).await.expect("connects");
    let key = lock_key(&GroupName::new(GROUP), "us-east-1");
    running.execute("SELECT pg_advisory_lock($1)", &[&key]).await.expect("locked");
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        call(&mut calls, &api);
    }
    // 95 jobs would be 19 workers.
    for _ in 0..96 {
        world.send(1);
        call(&mut calls, &api);
    }
    let mut replies = Vec::new();
    while calls.len() > 1 {
        replies.extend(calls.join_next().await.expect("one is left"));
    }
    assert_eq!(world.changes(), [""; 0], "nobody is answered by a tick while one runs");
    running.execute("SELECT pg_advisory_unlock($1)", &[&key]).await.expect("unlocked");
    replies.extend(calls.join_all().await);
    let (ticked, joined) = ticked_and_joined(&replies);
    assert!(ticked == 1 && joined > 0, "{ticked} ticks, {joined} joined");
    assert_eq!(decisions(&world).await.len(), 1);
    assert_eq!(world.changes(), ["SetDesiredCapacity"]);
    assert_eq!(world.group().desired, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_cost_at_most_a_tick_a_second() {
    let (mut world, api) = world().await;
    world.send(96);
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        call(&mut calls, &api);
    }
    let replies = calls.join_all().await;
    let (ticked, joined) = ticked_and_joined(&replies);
    let seconds = usize::try_from(began.elapsed().as_secs()).expect("a while");
    assert!((1..=seconds).contains(&ticked), "{ticked} ticks in {seconds} s");
    assert!(joined > 0);
    assert_eq!(decisions(&world).await.len(), ticked);
    assert_eq!(world.changes(), ["SetDesiredCapacity"]);
    assert_eq!(world.group().desired, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticker_ticks_by_a_token_of_its_own() {
    let (mut world, api) = world().await;
    let url = world.postgres.app_url_in(&world.database);
    let ticker = "a-tickers-token-for-tests";
    let secret =
        json!({ "DATABASE_URL": url, "FLEET_OPERATOR_TOKEN": TOKEN, "FLEET_TICKER_TOKEN": ticker });
    world.double.put_secret(SECRET, &secret.to_string()).expect("kept");
    world.send(11);
    let reply = post(&api, PATH, Some(ticker)).await;
    assert_eq!((reply.status, &reply.body["type"]), (200, &json!("decision")));
    // How the fleet is, is for those who may look.
    let told: Vec<_> = reply.body.as_object().expect("an object").keys().collect();
    assert_eq!(told, ["at", "request_id", "type"]);
    assert_eq!(world.group().desired, 3);
    let audit = world.printed(|line| line["type"] == "audit").await;
    assert!(audit[0]["who"].as_str().is_some_and(|who| who.starts_with("ticker:")), "{audit:?}");
    assert_eq!(audit[0]["detail"], "one tick was run");
}

/// Without a database there is nobody to gather callers; a tick says what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_database_is_a_tick_with_an_unknown_queue() {
    let mut world = World::start(Setup::desired(1).own_server()).await;
    let api = serve(&world).await;
    let server = Arc::get_mut(&mut world.postgres).expect("a server of its own");
    server.stop_immediate().expect("stopped");
    let reply = post(&api, PATH, Some(TOKEN)).await;
    assert_eq!((reply.status, rule(&reply.body)), (200, "queue_unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_scheduled_event_makes_the_ticks_of_its_minute_and_leaves_room_for_calls() {
    let setup = Setup::desired(1).env("AUTOSCALE_TICK_SECONDS", "10").concurrency(2);
    let mut world = World::start(setup).await;
    let api = serve(&world).await;
    let function = world.function.clone();
    let minute = tokio::spawn(async move { function.invoke(SCHEDULE).await });
    decisions(&world).await;
    world.send(3);
    assert_eq!(post(&api, PATH, Some(TOKEN)).await.body["decision"]["desired"], 3);
    let scheduled = |lines: Vec<Value>| -> Vec<Value> {
        lines.into_iter().filter(|line| line["trigger"] == "schedule").collect()
    };
    let mut ticks = scheduled(decisions(&world).await);
    while ticks.len() < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ticks = scheduled(decisions(&world).await);
    }
    assert_eq!(ticks[0]["request_id"], ticks[1]["request_id"], "one invocation makes both");
    let at = |line: &Value| -> jiff::Timestamp {
        line["at"].as_str().and_then(|at| at.parse().ok()).expect("a time")
    };
    let apart = at(&ticks[1]).duration_since(at(&ticks[0]));
    assert!(apart.as_millis() > 9_500, "{apart:?}");
    world.function.stop().await;
    minute.await.expect("joins").expect_err("it was stopped in the middle of its minute");
}
