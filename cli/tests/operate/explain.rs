use crate::fixture::{old, partial, whole};
use crate::support::{Act, Server};
use serde_json::json;

#[test]
fn the_last_decision_is_told_in_words() {
    let ran = Server::always(|| Act::Json(200, json!(whole()))).run(&["explain"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_change_that_aws_refused_is_no_change() {
    let mut status = json!(partial());
    status["decisions"][0]["failed"] = json!(true);
    let ran = Server::always(move || Act::Json(200, status.clone())).run(&["explain"]);
    insta::assert_snapshot!(ran.out);
}

#[test]
fn without_a_decision_it_says_so() {
    let ran = Server::always(|| Act::Json(200, old())).run(&["explain"]);
    assert!(ran.out.contains("no decision is known yet"), "{}", ran.out);
}
