use crate::fixture::{JOB, passport, waiting_passport};
use crate::support::{Act, Server, ghfleet, problem, run};
use serde_json::json;

#[test]
fn a_job_is_shown_with_its_wait_its_machine_and_what_is_not_known() {
    let server = Server::always(|| Act::Json(200, json!(passport())));
    let ran = server.run(&["job", &JOB.to_uppercase()]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
    let request = &server.requests()[0];
    assert_eq!(request.line, format!("GET /api/v1/admin/jobs/{JOB}"));
}

#[test]
fn a_job_that_still_waits_ends_with_a_code_of_its_own() {
    let ran = Server::always(|| Act::Json(200, json!(waiting_passport()))).run(&["job", JOB]);
    assert_eq!((ran.code, ran.err.as_str()), (75, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn the_applications_word_of_a_failure_goes_before_pg_bosss_of_completion() {
    for (state, status, code) in [
        ("completed", "completed", 0),
        ("completed", "failed", 1),
        ("completed", "needs_human", 0),
        ("failed", "running", 1),
        ("expired", "running", 1),
        ("cancelled", "queued", 1),
        ("active", "running", 75),
        ("retry", "pending", 75),
    ] {
        let mut job = json!(passport());
        job["state"] = json!(state);
        job["application"]["status"] = json!(status);
        let ran = Server::always(move || Act::Json(200, job.clone())).run(&["job", JOB]);
        assert_eq!(ran.code, code, "{state}, {status}: {}", ran.out);
    }
}

#[test]
fn json_is_the_passport_as_it_came() {
    let ran = Server::always(|| Act::Json(200, json!(passport()))).run(&["job", JOB, "--json"]);
    assert_eq!(ran.out, json!(passport()).to_string() + "\n");
}

#[test]
fn an_id_that_is_none_is_refused_before_anybody_is_asked() {
    for wrong in ["17", "i-0a1b2c3d4e5f60711", "0f8fad5b-d9cb-469f-a165-7086772895"] {
        let ran = run(&mut ghfleet(&["job", wrong]));
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{wrong}");
        assert!(ran.err.contains("use the UUID that pg-boss"), "{}", ran.err);
    }
}

#[test]
fn a_job_that_is_nowhere_is_told_with_where_it_was_looked_for() {
    let server = Server::always(|| problem(404, "no job x; looked in pgboss.job"));
    let ran = server.run(&["job", JOB]);
    assert_eq!((ran.code, ran.out.as_str()), (12, ""));
    assert!(ran.err.contains("looked in pgboss.job"), "{}", ran.err);
    let ran = Server::always(|| Act::Json(200, json!({ "ok": true }))).run(&["job", JOB]);
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("no job's passport"), "{}", ran.err);
}

#[test]
fn every_line_of_a_passport_stays_within_the_screen() {
    let mut job = json!(passport());
    job["machine"]["cause"] = json!("At \u{1b}[31m ".to_owned() + &"word ".repeat(60));
    job["worker_id"] = json!("w".repeat(200));
    let ran = Server::always(move || Act::Json(200, job.clone())).run(&["job", JOB]);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    assert!(!ran.out.contains('\u{1b}'));
}
