//! The local commands: what people and SSM run on the host.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::host::{Host, SECRET};
use crate::support::until;

#[test]
fn exit_codes_say_what_happened() {
    let host = Host::started();
    let code = |arguments: &[&str]| host.cli(arguments).status.code();
    assert_eq!(code(&["deploy", "v1"]), Some(0));
    assert_eq!(code(&["status"]), Some(0));
    assert_eq!(code(&["deploy", "api-crashes"]), Some(10));
    assert_eq!(code(&["deploy", "no-such-tag"]), Some(13));
    assert_eq!(code(&["deploy", "not a tag"]), Some(64));
    assert_eq!(code(&["rollback"]), Some(12));
    assert_eq!(code(&["refresh-secrets"]), Some(1));
    assert_eq!(code(&["deploy"]), Some(64));
    assert_eq!(code(&["drain"]), Some(0));
    assert_eq!(code(&["resume"]), Some(0));
    assert_eq!(code(&["bootstrap", "--tag", "v1"]), Some(0));
    host.assert_serves("v1");
}

#[test]
fn output_is_for_people_or_one_line_of_json() {
    let host = Host::running("v1");
    let text = String::from_utf8(host.cli(&["status"]).stdout).expect("text");
    assert!(text.starts_with("ok: worker idle, 0 job(s), API healthy\n"), "{text}");
    let json = String::from_utf8(host.cli(&["deploy", "v2", "--json"]).stdout).expect("text");
    let value: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json.trim().lines().count(), 1);
    assert_eq!(value["message"], "Deploy successful: v2");
    assert!(
        value["actor"].as_str().is_some_and(|actor| actor.starts_with("local uid ")),
        "{value}"
    );
}

#[test]
fn without_a_server_the_command_says_so() {
    let host = Host::new();
    let output = host.cli(&["status"]);
    assert_eq!(output.status.code(), Some(69));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("does not answer at"), "{text}");
}

#[test]
fn killing_the_command_does_not_stop_the_work() {
    let host = Host::running("v1");
    let mut command = Command::new(env!("CARGO_BIN_EXE_deploy-server"))
        .args(["deploy", "v2"])
        .env_clear()
        .env("GH_DEPLOY_SOCKET", &host.env["GH_DEPLOY_SOCKET"])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    until("the deploy runs", Duration::from_secs(10), || {
        host.get("/health").json()["currentDeploy"].is_object().then_some(())
    });
    // The command needs no secret: neither its arguments nor its environment hold one.
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{}/{file}", command.id())).expect("it runs");
        assert!(!String::from_utf8_lossy(&text).contains(SECRET));
    }
    command.kill().expect("it can be killed");
    command.wait().expect("it ends");
    until("the deploy ends", Duration::from_secs(30), || {
        (host.last_deploy()["imageTag"] == "v2").then_some(())
    });
    host.assert_serves("v2");
}

#[test]
fn the_socket_is_for_root_alone() {
    let host = Host::started();
    let socket = &host.env["GH_DEPLOY_SOCKET"];
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(socket).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // Even where the file would let somebody in, the kernel's word on the peer does not.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(socket, open).expect("it can be changed");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(host.folder.path(), open).expect("it can be changed");
    let nobody = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .args(["curl", "-s", "-m", "60", "--unix-socket", socket, "http://localhost/status"])
        .output()
        .expect("setpriv runs");
    assert!(nobody.stdout.is_empty(), "{nobody:?}");
    until("it is logged", Duration::from_secs(10), || {
        host.log().contains("a local caller that is not root was turned away").then_some(())
    });
}

#[test]
fn a_server_that_ends_lets_nobody_in_while_it_finishes() {
    let host = Host::running("v1");
    host.worker("POST", "/test/job");
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| host.post("/drain", Some(r#"{"timeout_seconds":600}"#)));
        until("it waits", Duration::from_secs(30), || {
            (host.get("/health").json()["operation"] == "drain").then_some(())
        });
        let pid = host.pid();
        assert!(Command::new("kill").arg(pid.to_string()).status().expect("kill runs").success());
        until("it lets nobody in", Duration::from_secs(30), || {
            std::net::TcpStream::connect(("127.0.0.1", host.port)).err()
        });
        assert_eq!(host.worker("GET", "/worker/status").json()["active_jobs"], 1);
        // The one who came before is answered.
        host.worker("POST", "/test/done");
        assert_eq!(drain.join().expect("it answers").status, 200);
    });
}
