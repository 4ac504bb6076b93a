use crate::fixture::{ONE, ROLLOUT, TWO, accepted, rollout};
use crate::support::{Act, Request, Server, TOKEN, ghfleet, problem};
use fleet_core::rollout::{Kind, State};
use serde_json::{Value, json};
use std::process::Command;

const CREATE: &str = "POST /api/v1/admin/deployments";

fn host(id: &str, state: &str, more: Value) -> Value {
    let mut host = json!({ "instance_id": id, "state": state });
    for (name, value) in more.as_object().into_iter().flatten() {
        host[name] = value.clone();
    }
    host
}

pub(crate) fn stages() -> [Value; 3] {
    let waits = json!({ "active_jobs": 1, "limit_at": "2026-11-25T12:00:00Z", "message": "it waits for its job" });
    let mut second = rollout(
        Kind::Deploy,
        State::InProgress,
        json!([host(ONE, "succeeded", json!({})), host(TWO, "waiting", waits)]),
    );
    second["hosts_left"] = json!(1);
    [
        rollout(
            Kind::Deploy,
            State::InProgress,
            json!([
                host(ONE, "in_progress", json!({ "step": "pull" })),
                host(TWO, "pending", json!({}))
            ]),
        ),
        second,
        rollout(
            Kind::Deploy,
            State::Succeeded,
            json!([host(ONE, "succeeded", json!({})), host(TWO, "already_current", json!({}))]),
        ),
    ]
}

/// Accepts everything and answers with one stage after another.
pub(crate) fn playing(stages: Vec<Value>) -> Server {
    Server::new(move |request| {
        if request.line.starts_with("POST ") {
            Act::Json(202, accepted("deploy"))
        } else {
            Act::Json(200, stages[request.before.min(stages.len() - 1)].clone())
        }
    })
}

/// A rollout that ends so, as `ghfleet deploy v2` tells it.
fn ending(state: State, hosts: Value) -> (i32, String) {
    let ran = playing(vec![rollout(Kind::Deploy, state, hosts)]).run(&["deploy", "v2"]);
    assert_eq!(ran.err, "");
    (ran.code, ran.out)
}

#[test]
fn a_rollout_is_told_change_by_change_and_ends_with_the_truth() {
    let server = playing(stages().into());
    let ran = server.run(&["deploy", "v2", "--interval", "1", "--reason", "new browser"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
    let asked = &server.requests()[0];
    assert_eq!(asked.line, CREATE);
    let body = json!({
        "image_tag": "v2", "strategy": "canary", "force": false, "reason": "new browser",
    });
    assert_eq!(asked.body, body);
    let key = asked.header("idempotency-key").unwrap();
    assert!(key.starts_with("ghfleet-") && key.len() == 40, "{key}");
}

#[test]
fn a_terminal_shows_each_host_as_it_goes() {
    let server = playing(stages().into());
    let binary = env!("CARGO_BIN_EXE_ghfleet");
    // util-linux' script gives it a terminal.
    let output = Command::new("script")
        .args([
            "-qec",
            &format!("stty cols 80 rows 24; {binary} deploy v2 --interval 1"),
            "/dev/null",
        ])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("TERM", "xterm"), ("GHFLEET_URL", server.url.as_str())])
        .env("GHFLEET_TOKEN", TOKEN)
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}");
    assert!(out.contains("i-0a1b2c3d4e5f60722  waiting    running jobs: 1; job limit at"), "{out}");
    assert!(out.contains("\x1b[32msucceeded\x1b[0m"), "states have their colour: {out}");
    assert!(out.contains("\x1b[5A\x1b[J"), "it is drawn over: {out:?}");
    assert!(out.ends_with("deploy v2 succeeded: 1 already current, 1 succeeded\r\n"), "{out}");
}

#[test]
fn the_exit_code_and_the_last_words_say_how_it_ended() {
    let failed = host(
        TWO,
        "rolled_back",
        json!({ "step": "gate", "message": "it was not healthy", "log": ["pulled", "no answer on :3101"] }),
    );
    let (code, out) =
        ending(State::RolledBack, json!([failed, host(ONE, "rolled_back", json!({}))]));
    assert_eq!(code, 10);
    insta::assert_snapshot!(out);
    let down = host(ONE, "failed_down", json!({ "message": "nothing runs" }));
    let (code, out) = ending(State::Failed, json!([down]));
    assert_eq!(code, 11);
    assert!(out.ends_with(&format!("next: ghfleet rollback {ROLLOUT}\n")), "{out}");
    let busy = host(ONE, "at_limit", json!({}));
    let (code, out) = ending(State::Partial, json!([busy, host(TWO, "succeeded", json!({}))]));
    assert_eq!(code, 75);
    assert!(out.contains("next: ghfleet deploy v2\n  or: ghfleet rollback 1234"), "{out}");
    let lost = host(ONE, "unreachable", json!({}));
    assert_eq!(ending(State::Partial, json!([lost, host(TWO, "succeeded", json!({}))])).0, 1);
    assert_eq!(ending(State::Cancelled, json!([host(TWO, "cancelled", json!({}))])).0, 1);
}

#[test]
fn who_does_not_wait_is_told_how_to_follow() {
    let server = playing(stages().into());
    let ran = server.run(&["deploy", "v2", "--no-wait"]);
    assert_eq!((ran.code, server.requests().len()), (0, 1));
    assert_eq!(
        ran.out,
        "deploy v2 accepted as 12345678-1234-1234-1234-1234567890ab; hosts: 2\n  \
           one host of 2 first and alone, then 2, 4, …, at most 1 at a time\n\
         next: ghfleet rollouts 12345678-1234-1234-1234-1234567890ab --wait\n"
    );
    let ran = server.run(&["deploy", "v2", "--no-wait", "--json"]);
    assert_eq!(ran.out, accepted("deploy").to_string() + "\n");
}

#[test]
fn waiting_ends_in_time_and_says_that_the_rollout_goes_on() {
    let server = playing(vec![stages()[1].clone()]);
    let ran = server.run(&["deploy", "v2", "--wait-at-most", "1m", "--interval", "61"]);
    assert_eq!(ran.code, 75);
    assert!(ran.out.contains("deploy v2 in progress: 1 succeeded, 1 waiting; hosts left: 1\n"));
    assert!(
        ran.out.contains(&format!("next: ghfleet rollouts {ROLLOUT} --wait\n  or: ")),
        "{}",
        ran.out
    );
}

#[test]
fn json_is_the_last_answer_and_no_progress() {
    let ran = playing(stages().into()).run(&["deploy", "v2", "--interval", "1", "--json"]);
    assert_eq!((ran.code, ran.out), (0, stages()[2].to_string() + "\n"));
}

#[test]
fn a_request_that_may_be_lost_is_repeated_with_its_key() {
    let server = Server::new(|request| match (request.line.as_str(), request.before) {
        (CREATE, 0) => Act::HangUp,
        (CREATE, 1) => {
            let Act::Json(status, mut body) = problem(503, "SSM does not answer") else {
                unreachable!()
            };
            body["retry_after_seconds"] = json!(1);
            Act::Json(status, body)
        }
        (CREATE, _) => Act::Json(202, accepted("deploy")),
        _ => Act::Json(200, stages()[2].clone()),
    });
    let ran = server.run(&["deploy", "v2"]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("broke off (") && ran.err.contains("again in 1 s"), "{}", ran.err);
    let keys: Vec<Option<String>> = server
        .requests()
        .iter()
        .filter(|request| request.line == CREATE)
        .map(|request| request.header("idempotency-key").map(str::to_owned))
        .collect();
    assert_eq!((keys.len(), &keys[0], &keys[0]), (3, &keys[1], &keys[2]));
}

#[test]
fn an_outage_and_an_order_that_ssm_does_not_list_yet_end_no_waiting() {
    let server = Server::new(|request| match (request.line.as_str(), request.before) {
        (CREATE, _) => Act::Json(202, accepted("deploy")),
        (_, 0) => {
            let Act::Json(status, mut body) = problem(404, "there is no deployment") else {
                unreachable!()
            };
            body["retry_after_seconds"] = json!(1);
            Act::Json(status, body)
        }
        (_, 1) => Act::HangUp,
        _ => Act::Json(200, stages()[2].clone()),
    });
    let ran = server.run(&["deploy", "v2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("there is no deployment; again in 1 s"), "{}", ran.err);
}

#[test]
fn the_same_version_is_joined_and_another_one_is_not() {
    let running = |request: &Request| {
        if request.line != CREATE {
            return Act::Json(200, stages()[2].clone());
        }
        let Act::Json(status, mut body) = problem(409, "another rollout is in progress") else {
            unreachable!()
        };
        body["running"] = json!(ROLLOUT);
        Act::Json(status, body)
    };
    let ran = Server::new(running).run(&["deploy", "v2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("v2 is being rolled out already, as 12345678-"), "{}", ran.out);
    let ran = Server::new(running).run(&["deploy", "v3"]);
    assert_eq!((ran.code, ran.out.as_str()), (12, ""));
    assert!(
        ran.err.contains("in progress; see it with: ghfleet rollouts 12345678-"),
        "{}",
        ran.err
    );
}

#[test]
fn what_cannot_be_a_tag_or_an_id_is_not_sent() {
    let server = Server::always(|| Act::HangUp);
    for wrong in [
        &["deploy", "a b"][..],
        &["deploy", ""],
        &["deploy", "v2", "--strategy", "yolo"],
        &["cancel", "../../cleanup"],
        &["rollback", "12345"],
        &["rollouts", "x"],
    ] {
        let ran = server.run(wrong);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{wrong:?}");
    }
    assert!(server.requests().is_empty());
    // Without a server there is nothing to follow, and the code says so at once.
    let mut alone = ghfleet(&["rollouts"]);
    assert_eq!(alone.status().unwrap().code(), Some(64));
}
