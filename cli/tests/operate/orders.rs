use crate::fixture::{ONE, TWO, accepted, rollout};
use crate::support::{Act, Server, problem};
use fleet_core::rollout::{Kind, State};
use serde_json::{Value, json};

fn ending(kind: Kind, state: State, hosts: Value) -> Server {
    Server::new(move |request| {
        if request.line.starts_with("POST ") {
            let mut begun = accepted(kind.as_str());
            for rollouts_own in ["image_tag", "strategy", "note"] {
                begun.as_object_mut().expect("an object").remove(rollouts_own);
            }
            Act::Json(202, begun)
        } else {
            Act::Json(200, rollout(kind, state, hosts.clone()))
        }
    })
}

#[test]
fn a_cleanup_tells_what_each_host_freed() {
    let hosts = json!([
        { "instance_id": ONE, "state": "succeeded", "message": "freed 3.2 GB", "log": ["2 images"] },
        { "instance_id": TWO, "state": "refused", "message": "a deploy is in progress" },
    ]);
    let server = ending(Kind::Cleanup, State::Partial, hosts);
    let ran = server.run(&["cleanup", "--reason", "disk"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    insta::assert_snapshot!(ran.out);
    let asked = &server.requests()[0];
    assert_eq!(asked.line, "POST /api/v1/admin/cleanup");
    assert_eq!(asked.body, json!({ "reason": "disk" }));
    assert!(asked.header("idempotency-key").is_some());
}

#[test]
fn a_drain_names_its_hosts_and_a_job_that_still_runs_is_no_end() {
    let hosts = json!([{ "instance_id": ONE, "state": "busy", "active_jobs": 1 }]);
    let server = ending(Kind::Drain, State::Failed, hosts);
    let ran = server.run(&["drain", ONE]);
    assert_eq!(ran.code, 75);
    let asked = &server.requests()[0];
    assert_eq!(asked.line, "POST /api/v1/admin/drain");
    assert_eq!(asked.body, json!({ "instance_ids": [ONE], "reason": null }));
    assert!(ran.out.contains(&format!("  {ONE} busy: running jobs: 1\n")), "{}", ran.out);
}

#[test]
fn secrets_are_refreshed_on_every_host() {
    let hosts = json!([
        { "instance_id": ONE, "state": "succeeded", "message": "changed: DATABASE_URL" },
        { "instance_id": TWO, "state": "succeeded", "message": "nothing changed" },
    ]);
    let server = ending(Kind::RefreshSecrets, State::Succeeded, hosts);
    let ran = server.run(&["refresh-secrets"]);
    assert_eq!(ran.code, 0);
    assert_eq!(server.requests()[0].line, "POST /api/v1/admin/refresh-secrets");
    assert!(
        ran.out.contains(&format!("  {ONE} succeeded: changed: DATABASE_URL\n")),
        "{}",
        ran.out
    );
}

#[test]
fn an_order_that_reaches_nobody_is_refused_and_wrong_ids_are_not_sent() {
    let server = Server::always(|| problem(409, "no host is in service; nothing was begun"));
    let ran = server.run(&["cleanup"]);
    assert_eq!((ran.code, server.requests().len()), (12, 1));
    for wrong in [&["drain"][..], &["drain", "i-1"], &["drain", ONE, "--all"], &["cleanup", ONE]] {
        assert_eq!(server.run(wrong).code, 64, "{wrong:?}");
    }
    assert_eq!(server.requests().len(), 1);
}
