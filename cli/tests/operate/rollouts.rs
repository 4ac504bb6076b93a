use crate::fixture::{ROLLOUT, accepted, rollout};
use crate::rollout::{playing, stages};
use crate::support::{Act, Server, problem};
use fleet_core::rollout::{Kind, State};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

fn list(states: &[(&str, &str)]) -> Value {
    let entries = states.iter().zip(1..).map(|((kind, state), number)| {
        let summary = rollout(Kind::Deploy, State::Succeeded, json!([]));
        let mut entry = summary.clone();
        entry["id"] = json!(format!("{number}{}", &ROLLOUT[1..]));
        entry["kind"] = json!(kind);
        entry["state"] = json!(state);
        entry
    });
    json!({ "deployments": entries.collect::<Vec<_>>(), "at": "2026-11-25T08:00:00Z" })
}

#[test]
fn the_list_has_every_order_with_its_id() {
    let server = Server::always(|| {
        Act::Json(200, list(&[("cleanup", "in_progress"), ("deploy", "rolled_back")]))
    });
    let ran = server.run(&["rollouts", "--limit", "2"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(server.requests()[0].line, "GET /api/v1/admin/deployments?limit=2");
    insta::assert_snapshot!(ran.out);
    let ran = Server::always(|| Act::Json(200, json!({ "ok": 1 }))).run(&["rollouts"]);
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("no list of rollouts"), "{}", ran.err);
}

#[test]
fn one_of_them_is_shown_as_it_stands() {
    let server = playing(vec![stages()[1].clone()]);
    let ran = server.run(&["rollouts", ROLLOUT]);
    assert_eq!((ran.code, server.requests().len()), (75, 1));
    assert_eq!(server.requests()[0].line, format!("GET /api/v1/admin/deployments/{ROLLOUT}"));
    insta::assert_snapshot!(ran.out);
    let ran = playing(stages().into()).run(&["rollouts", ROLLOUT, "--wait", "--interval", "1"]);
    assert_eq!(ran.code, 0);
}

#[test]
fn the_way_back_is_from_the_last_one_that_ended() {
    let server = Server::new(|request| match request.line.as_str() {
        "GET /api/v1/admin/deployments?limit=50" => {
            Act::Json(200, list(&[("cleanup", "succeeded"), ("deploy", "failed")]))
        }
        line if line.starts_with("POST ") => Act::Json(202, accepted("rollback")),
        _ => Act::Json(200, rollout(Kind::Rollback, State::Succeeded, json!([]))),
    });
    let ran = server.run(&["rollback", "--reason", "errors"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let second = format!("2{}", &ROLLOUT[1..]);
    let asked = &server.requests()[1];
    assert_eq!(asked.line, format!("POST /api/v1/admin/deployments/{second}/rollback"));
    let body = json!({ "strategy": "canary", "force": false, "reason": "errors" });
    assert_eq!(asked.body, body);
    let none = Server::always(|| Act::Json(200, list(&[])));
    let ran = none.run(&["rollback"]);
    assert_eq!((ran.code, none.requests().len()), (12, 1));
    assert!(ran.err.contains("no rollout has ended yet"), "{}", ran.err);
}

#[test]
fn a_rollout_in_progress_is_cancelled_and_taken_back_by_one_command() {
    let looks = AtomicU32::new(0);
    let server = Server::new(move |request| match request.line.as_str() {
        "GET /api/v1/admin/deployments?limit=50" => {
            Act::Json(200, list(&[("cleanup", "succeeded"), ("deploy", "in_progress")]))
        }
        line if line.ends_with("/cancel") => Act::Json(202, accepted("deploy")),
        line if line.starts_with("POST ") => Act::Json(202, accepted("rollback")),
        // It is open before the cancellation, and for one look after it.
        _ => match looks.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Act::Json(200, rollout(Kind::Deploy, State::InProgress, json!([]))),
            2 => Act::Json(200, rollout(Kind::Deploy, State::Cancelled, json!([]))),
            _ => Act::Json(200, rollout(Kind::Rollback, State::Succeeded, json!([]))),
        },
    });
    let ran = server.run(&["rollback", "--cancel", "--reason", "errors"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("is cancelled; its hosts go back once it has ended"), "{}", ran.err);
    let second = format!("/api/v1/admin/deployments/2{}", &ROLLOUT[1..]);
    let lines: Vec<String> = server.requests().into_iter().map(|request| request.line).collect();
    let expected = [
        "GET /api/v1/admin/deployments?limit=50".to_owned(),
        format!("GET {second}"),
        format!("POST {second}/cancel"),
        format!("GET {second}"),
        format!("GET {second}"),
        format!("POST {second}/rollback"),
    ];
    assert_eq!(lines[..6], expected);
}

#[test]
fn the_rollout_in_progress_is_cancelled_paused_and_continued() {
    for what in ["cancel", "pause", "continue"] {
        let server = Server::new(|request| {
            if request.line.starts_with("GET ") {
                let all = [("cleanup", "in_progress"), ("deploy", "in_progress")];
                return Act::Json(200, list(&all));
            }
            Act::Json(202, json!({ "id": ROLLOUT, "state": "in_progress", "note": "so be it" }))
        });
        let ran = server.run(&[what]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let second = format!("2{}", &ROLLOUT[1..]);
        assert_eq!(ran.out, format!("{what}: so be it\nnext: ghfleet rollouts {second} --wait\n"));
        let asked = &server.requests()[1];
        assert_eq!(asked.line, format!("POST /api/v1/admin/deployments/{second}/{what}"));
    }
    let ended = Server::always(|| Act::Json(200, list(&[("deploy", "succeeded")])));
    let ran = ended.run(&["cancel"]);
    assert_eq!(ran.code, 12);
    assert!(ran.err.contains("no rollout is in progress: see them with"), "{}", ran.err);
    let ran = Server::always(|| problem(409, "the rollout has ended")).run(&["pause", ROLLOUT]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (12, "ghfleet: refused (409): the rollout has ended\n")
    );
}
