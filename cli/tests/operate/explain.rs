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

#[test]
fn a_tick_made_now_tells_what_it_found() {
    let server = Server::always(|| {
        Act::Json(
            200,
            json!({
                "type": "decision", "summary": "desired capacity 2 -> 3: 5 jobs need 5 workers",
                "because": "5 jobs need 5 workers",
                "notes": ["1 desired instances have been missing for 300 s; a quota of the account: You have requested more vCPU capacity"],
            }),
        )
    });
    let ran = server.run(&["explain", "--now"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.out,
        "decision   desired capacity 2 -> 3: 5 jobs need 5 workers\n\
         note       1 desired instances have been missing for 300 s; a quota of the\n           \
                    account: You have requested more vCPU capacity\n"
    );
    assert_eq!(server.requests()[0].line, "POST /api/v1/admin/autoscale/tick");
    let off = || Act::Json(200, json!({ "type": "disabled", "because": "it is false" }));
    assert_eq!(Server::always(off).run(&["explain", "--now"]).out, "decision   it is false\n");
    let joined =
        || Act::Json(202, json!({ "type": "joined", "because": "another call ticks soon" }));
    let ran = Server::always(joined).run(&["explain", "--now"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "joined     another call ticks soon\n"));
}
