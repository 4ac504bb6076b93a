use crate::fixture::{old, partial, whole};
use crate::support::{Act, Server, TOKEN, ghfleet, problem};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn a_whole_status_is_one_screen() {
    let server = Server::always(|| Act::Json(200, json!(whole())));
    let ran = server.run(&["status"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
    let request = &server.requests()[0];
    assert_eq!(request.line, "GET /api/v1/admin/fleet-status");
    assert_eq!(request.body, json!(null));
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[test]
fn what_is_not_known_is_said_and_never_zero() {
    let ran = Server::always(|| Act::Json(200, json!(partial()))).run(&["status"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(ran.out);
}

#[test]
fn an_older_control_plane_is_shown_as_far_as_it_tells() {
    let ran = Server::always(|| Act::Json(200, old())).run(&["status"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_fleet_of_a_thousand_and_long_names_stay_within_the_line() {
    let mut status = json!(whole());
    let mut instance = status["instances"][1].clone();
    instance["version"] = json!("sha256:".to_owned() + &"ab".repeat(32));
    instance["lifecycle"] = json!("Warmed:Terminating:Proceed");
    instance["healthy"] = json!(false);
    instance["protected"] = json!(true);
    status["instances"] = json!(vec![instance; 1000]);
    status["instances_omitted"] = json!(200);
    let ran = Server::always(move || Act::Json(200, status.clone())).run(&["status"]);
    assert_eq!(ran.out.matches("  unhealthy, ").count(), 1000);
    assert!(ran.out.contains("\nand 200 instances more\n"), "{}", ran.out);
}

#[test]
fn texts_from_outside_steer_no_terminal() {
    let mut status = json!(partial());
    status["unavailable"][0]["reason"] = json!("\u{1b}[2Jgone\r\nfleet      fine");
    status["instances"][0]["version"] = json!("v\u{1b}]0;title\u{7}");
    let ran = Server::always(move || Act::Json(200, status.clone())).run(&["status"]);
    assert!(ran.out.contains("[2Jgone fleet fine"), "{}", ran.out);
}

#[test]
fn json_is_the_answer_as_it_came() {
    let ran = Server::always(|| Act::Json(200, json!(whole()))).run(&["status", "--json"]);
    assert_eq!(ran.out, json!(whole()).to_string() + "\n");
}

#[test]
fn watching_goes_on_behind_an_outage() {
    let server = Server::new(|request| match request.before {
        1 => problem(503, "nobody knows"),
        _ => Act::Json(200, json!(whole())),
    });
    let mut watch = ghfleet(&["status", "--watch", "--interval", "1"])
        .env("GHFLEET_URL", &server.url)
        .env("GHFLEET_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let heads = lines.map(Result::unwrap).filter(|line| line.starts_with("fleet "));
    assert_eq!(heads.take(2).count(), 2);
    // Nobody reads any more, so it ends by itself.
    let ended = watch.wait_with_output().unwrap();
    assert!(ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        said,
        "ghfleet: the API answered 503: nobody knows; try again, then look into the function's log\n"
    );
}

#[test]
fn watching_does_not_begin_where_nothing_is_to_be_seen() {
    type Answers = fn() -> Act;
    let wrong: [(Answers, i32); 2] =
        [(|| problem(401, "it was rotated out"), 64), (|| Act::Json(200, json!({})), 69)];
    for (act, code) in wrong {
        let server = Server::always(act);
        let ran = server.run(&["status", "--watch"]);
        assert_eq!((ran.code, server.requests().len()), (code, 1));
    }
}
