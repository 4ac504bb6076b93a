//! Orders of a rollout: accepted at once, kept durably, carried out when the running job ends.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fleet_protocol::action_report::{ActionReport, ActionResult};
use fleet_protocol::host_order::OrderState;
use serde_json::json;

use crate::faults::{Turn, proxy};
use crate::support::host::Host;
use crate::support::until;

/// The first order of a rollout, as SSM's agent runs it on the host.
fn order(host: &Host, tag: &str, job_limit_s: &str) -> ActionReport {
    send(host, "abcdef012345.apply.1", tag, job_limit_s)
}

fn send(host: &Host, id: &str, tag: &str, job_limit_s: &str) -> ActionReport {
    read(&command(host, id, tag, job_limit_s).output().expect("the command runs"))
}

fn command(host: &Host, id: &str, tag: &str, job_limit_s: &str) -> Command {
    let variables = [("GH_ORDER", id), ("GH_ORDER_JOB_LIMIT_SECONDS", job_limit_s)];
    host.command(&variables, &["deploy", tag, "--fleet"])
}

fn read(output: &Output) -> ActionReport {
    let text = String::from_utf8_lossy(&output.stdout);
    ActionReport::find(&text).unwrap_or_else(|wrong| panic!("{wrong}: {output:?}"))
}

/// How the order stands, as a rollout asks for it.
fn standing(host: &Host) -> (OrderState, Option<ActionResult>) {
    let report = read(&host.cli(&["status", "--fleet"]));
    let order = report.order.expect("the host holds an order");
    (order.state, order.result)
}

#[track_caller]
fn until_it_ends(host: &Host) -> ActionResult {
    until("the order ends", Duration::from_secs(60), || standing(host).1)
}

fn accepts(host: &Host) -> bool {
    host.worker("GET", "/worker/status").json()["accepting"] == json!(true)
}

/// A registry that needs its time for v2.
fn pulls_slowly(line: &str) -> Turn {
    if line.contains("/images/create") && line.contains("v2") {
        std::thread::sleep(Duration::from_secs(12));
    }
    Turn::Pass(line.to_owned())
}

/// A host with `v1` in service behind an engine whose pulls are slow.
fn slow_host() -> Host {
    let mut host = Host::new();
    let proxy = proxy(host.folder.path(), &host.engine.socket, pulls_slowly);
    host.env.insert("DOCKER_SOCKET".to_owned(), proxy.display().to_string());
    host.start();
    assert_eq!(host.deploy("v1").status, 200);
    host
}

#[test]
fn an_order_closes_the_intake_before_its_pull_and_swaps_when_the_job_ends() {
    let host = slow_host();
    host.worker("POST", "/test/job");
    std::thread::scope(|scope| {
        let ordered = scope.spawn(|| order(&host, "v2", "600"));
        until("the intake is closed", Duration::from_secs(10), || (!accepts(&host)).then_some(()));
        assert_eq!(standing(&host).0, OrderState::Preparing);
        assert_eq!(ordered.join().expect("it answers").result, ActionResult::Accepted);
    });
    assert_eq!(standing(&host), (OrderState::Waiting, None));
    assert_eq!(host.running_tag("worker").as_deref(), Some("v1"));
    host.worker("POST", "/test/done");
    assert_eq!(until_it_ends(&host), ActionResult::Deployed);
    host.assert_serves("v2");
    assert!(accepts(&host));
}

#[test]
fn an_order_that_comes_to_no_swap_opens_the_intake_again() {
    let host = Host::running("v1");
    // It runs already, with a job that nobody has to wait for.
    host.worker("POST", "/test/job");
    let containers = || ["api", "worker"].map(|service| host.running_id(service));
    let before = containers();
    assert_eq!(order(&host, "v1", "600").result, ActionResult::AlreadyCurrent);
    assert_eq!(containers(), before, "what runs already is not replaced");
    assert!(accepts(&host));
    host.worker("POST", "/test/done");
    // No registry has it. A pause later it is tried again, with the intake open in between.
    std::thread::scope(|scope| {
        scope.spawn(|| send(&host, "abcdef012345.apply.2", "absent", "600"));
        until("the pull fails", Duration::from_secs(20), || {
            let deploy = host.last_deploy();
            (deploy["imageTag"] == "absent" && deploy["failedStep"] == "pull-image").then_some(())
        });
        until("the intake is open", Duration::from_secs(5), || accepts(&host).then_some(()));
        read(&host.cli(&["take-back", "--fleet"]));
    });
    until("the intake is open", Duration::from_secs(10), || accepts(&host).then_some(()));
    host.assert_serves("v1");
}

#[test]
fn an_order_that_is_taken_back_leaves_the_job_and_opens_the_intake_again() {
    let host = Host::running("v1");
    host.worker("POST", "/test/job");
    assert_eq!(order(&host, "v2", "600").result, ActionResult::Accepted);
    assert!(!accepts(&host));
    read(&host.cli(&["take-back", "--fleet"]));
    assert_eq!(standing(&host), (OrderState::Ended, Some(ActionResult::TakenBack)));
    until("the intake is open", Duration::from_secs(10), || accepts(&host).then_some(()));
    let status = host.worker("GET", "/worker/status").json();
    assert_eq!(status["active_jobs"], 1, "{status}");
    // The same order again is the one that was taken back.
    assert_eq!(order(&host, "v2", "600").result, ActionResult::TakenBack);
    host.assert_serves("v1");
}

/// The limit is the order's own; the job is nobody's to end.
#[test]
fn a_job_that_reaches_the_limit_of_the_order_is_reported_and_left_alone() {
    let host = Host::running("v1");
    host.worker("POST", "/test/job");
    assert_eq!(order(&host, "v2", "20").result, ActionResult::Accepted);
    assert_eq!(until_it_ends(&host), ActionResult::AtLimit);
    until("the intake is open", Duration::from_secs(10), || accepts(&host).then_some(()));
    let status = host.worker("GET", "/worker/status").json();
    assert_eq!(status["active_jobs"], 1, "{status}");
    assert_eq!(host.running_tag("worker").as_deref(), Some("v1"));
}

#[test]
fn an_order_outlives_a_kill_in_every_state() {
    let mut host = slow_host();
    host.worker("POST", "/test/job");
    let mut order = command(&host, "abcdef012345.apply.1", "v2", "600");
    let mut order = order.stdout(Stdio::null()).spawn().expect("the command runs");
    until("the intake is closed", Duration::from_secs(10), || (!accepts(&host)).then_some(()));
    // In the pull first, and then while it waits for the job.
    for _ in 0..2 {
        host.kill();
        host.start();
        until("it waits for the job", Duration::from_secs(60), || {
            (standing(&host) == (OrderState::Waiting, None)).then_some(())
        });
        assert!(!accepts(&host));
    }
    order.wait().expect("the command ends");
    host.worker("POST", "/test/done");
    assert_eq!(until_it_ends(&host), ActionResult::Deployed);
    host.kill();
    host.start();
    until("it is up", Duration::from_secs(30), || {
        (standing(&host) == (OrderState::Ended, Some(ActionResult::Deployed))).then_some(())
    });
    host.assert_serves("v2");
}
