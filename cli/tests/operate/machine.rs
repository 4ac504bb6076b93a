use crate::fixture::{ONE, TWO, old, partial, whole};
use crate::support::{Act, Server, ghfleet, home, run};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_machine_is_shown_with_its_worker() {
    let server = Server::always(|| Act::Json(200, json!(whole())));
    let shown = [ONE, TWO, "i-0a1b2c3d4e5f60733"].map(|id| server.run(&["machine", id]).out);
    insta::assert_snapshot!(shown.join("\n"));
    let ran = Server::always(|| Act::Json(200, json!(partial()))).run(&["machine", ONE]);
    assert!(ran.out.ends_with("worker     unknown\n"), "{}", ran.out);
}

#[test]
fn a_machine_that_nobody_knows_is_no_machine() {
    let server = Server::always(|| Act::Json(200, json!(whole())));
    let ran = server.run(&["machine", "i-0fffffffffffffff1"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("is not in the group: see it with ghfleet status"), "{}", ran.err);
    let mut status = json!(whole());
    status["instances_omitted"] = json!(3);
    let ran = Server::always(move || Act::Json(200, status.clone()))
        .run(&["machine", "i-0fffffffffffffff1"]);
    assert!(ran.err.contains("and 3 are not listed; ask with aws autoscaling"), "{}", ran.err);
    let ran = Server::always(|| Act::Json(200, old())).run(&["machine", ONE]);
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("instances are not known now: "), "{}", ran.err);
}

#[test]
fn a_shell_is_a_session_of_ssm() {
    let ran = run(&mut ghfleet(&["shell", ONE, "--region", "us-east-1"]));
    assert_eq!(ran.out, format!("aws ssm start-session --target {ONE} --region us-east-1\n"));
    assert_eq!(run(&mut ghfleet(&["shell", "i-1; id"])).code, 64);
}

#[test]
fn a_shell_is_run_where_that_is_asked() {
    let bin = home();
    let aws = bin.join("aws");
    fs::write(&aws, "#!/bin/sh\necho \"ran $*\"\n[ \"$5\" = --region ]\n").unwrap();
    fs::set_permissions(&aws, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let ran = run(ghfleet(&["shell", ONE, "--run", "--region", "r"]).env("PATH", &path));
    assert_eq!(ran.code, 0);
    assert_eq!(ran.out, format!("ran ssm start-session --target {ONE} --region r\n"));
    assert_eq!(run(ghfleet(&["shell", ONE, "--run"]).env("PATH", &path)).code, 1);
    let ran = run(ghfleet(&["shell", ONE, "--run"]).env("PATH", "/none"));
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("aws cannot be run (") && ran.err.contains("install the AWS CLI"));
}
