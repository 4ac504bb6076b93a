//! Jobs in every state there is, put there by pg-boss itself.

use crate::count::Counted;
use crate::support::QUEUE;
use fleet_local::pgboss::Boss;
use fleet_local::postgres::Postgres;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What [`play`] leaves behind, by worker for the targeted queues.
pub(crate) struct Expected {
    pub(crate) general: Counted,
    pub(crate) targeted: BTreeMap<String, Counted>,
}

/// Fills the queues of `database`, where `boss` runs at schema `version`.
pub(crate) fn play(server: &Postgres, database: &str, boss: &mut Boss, version: i64) -> Expected {
    let sql = |statement: &str| server.execute(database, statement).expect(statement);
    let lowercase = version <= 20;
    let (started, start) =
        if lowercase { ("startedon", "startafter") } else { ("started_on", "start_after") };
    let mut general = Counted::default();

    // Taken, and past its expiry: no worker can still be on it.
    let lost = send_and_take(boss, QUEUE, json!({ "expireInSeconds": 900 }));
    sql(&format!(
        "UPDATE pgboss.job SET {started} = now() - interval '2 hours' WHERE id = '{lost}'"
    ));
    general.expired += 1;
    // Taken, and inside its expiry.
    for _ in 0..2 {
        send_and_take(boss, QUEUE, json!({ "expireInSeconds": 14400 }));
        general.live += 1;
    }
    if version >= 30 {
        // A heartbeat that stopped, and one that goes on.
        let silent = send_and_take(boss, QUEUE, json!({ "heartbeatSeconds": 60 }));
        sql(&format!(
            "UPDATE pgboss.job SET heartbeat_on = now() - interval '5 minutes' WHERE id = '{silent}'"
        ));
        general.expired += 1;
        send_and_take(boss, QUEUE, json!({ "heartbeatSeconds": 600 }));
        general.live += 1;
    }
    // Finished, in every way.
    let done = send_and_take(boss, QUEUE, json!({}));
    boss.complete(QUEUE, &[done]).expect("complete");
    let failed = send_and_take(boss, QUEUE, json!({ "retryLimit": 0 }));
    boss.fail(QUEUE, &[failed]).expect("fail");
    let cancelled = send(boss, QUEUE, json!({}));
    boss.cancel(QUEUE, &[cancelled]).expect("cancel");
    // Failed, and to be tried again: later, and at once.
    let later = send_and_take(boss, QUEUE, json!({ "retryLimit": 3, "retryDelay": 600 }));
    boss.fail(QUEUE, &[later]).expect("fail");
    general.deferred += 1;
    let again = send_and_take(boss, QUEUE, json!({ "retryLimit": 3 }));
    boss.fail(QUEUE, &[again]).expect("fail");
    general.ready += 1;
    // Waiting; the first of them for ten minutes.
    let first = send(boss, QUEUE, json!({}));
    sql(&format!(
        "UPDATE pgboss.job SET {start} = now() - interval '10 minutes' WHERE id = '{first}'"
    ));
    send(boss, QUEUE, json!({}));
    general.ready += 2;
    send(boss, QUEUE, json!({ "startAfter": 60 }));
    general.due_soon += 1;
    for _ in 0..2 {
        send(boss, QUEUE, json!({ "startAfter": 3600 }));
        general.deferred += 1;
    }
    if version >= 31 {
        let waits_for_another = send(boss, QUEUE, json!({}));
        sql(&format!("UPDATE pgboss.job SET blocked = true WHERE id = '{waits_for_another}'"));
    }

    // Targeted queues: waiting, taken, and one with nothing unfinished.
    let mut targeted = BTreeMap::new();
    for worker in ["i-0a", "i-0b", "i-0c"] {
        boss.create_queue(&targeted_queue(worker), json!({})).expect("create a queue");
    }
    send(boss, &targeted_queue("i-0a"), json!({}));
    send(boss, &targeted_queue("i-0a"), json!({ "startAfter": 3600 }));
    targeted.insert("i-0a".to_owned(), Counted { ready: 1, deferred: 1, ..Counted::default() });
    send_and_take(boss, &targeted_queue("i-0b"), json!({}));
    targeted.insert("i-0b".to_owned(), Counted { live: 1, ..Counted::default() });
    let finished = send_and_take(boss, &targeted_queue("i-0c"), json!({}));
    boss.complete(&targeted_queue("i-0c"), &[finished]).expect("complete");

    // Names that a careless pattern or an accommodating collation would take for targeted queues.
    for stranger in
        ["gh_apply_jobs", "ghXapplyXjob/i-0d", "gh-apply-job/i-0e", "other/gh_apply_job/i-0f"]
    {
        boss.create_queue(stranger, json!({})).expect("create a queue");
        send(boss, stranger, json!({}));
        send_and_take(boss, stranger, json!({}));
    }
    Expected { general, targeted }
}

fn targeted_queue(worker: &str) -> String {
    format!("{QUEUE}/{worker}")
}

fn send(boss: &mut Boss, queue: &str, options: Value) -> String {
    boss.send(queue, json!({}), options).expect("send").expect("a job id")
}

/// Only right while no other job of the queue is due.
fn send_and_take(boss: &mut Boss, queue: &str, options: Value) -> String {
    let id = send(boss, queue, options);
    let taken = boss.fetch(queue, 1).expect("fetch");
    assert_eq!(taken.len(), 1, "one job of {queue} is due");
    // With strangers a second job waits; whichever was taken, one is active.
    taken.into_iter().next().unwrap_or(id)
}
