//! Events on their way to real functions: command status, spot and lifecycle, filtered by rules and
//! disturbed on request.

use std::time::Duration;

use aws_double::{
    ClockMode, CommandOutput, Disturbance, Double, DoubleConfig, Function, GroupSpec, HookSpec,
    LifecycleState, scripted,
};
use serde_json::{Value, json};

use crate::aws::{http, ssm};
use crate::common::{eventually, probe};

const TERMINATE: &str = "EC2 Instance-terminate Lifecycle Action";
const INVOCATION: &str = "EC2 Command Invocation Status-change Notification";
const DOCUMENT: &str = r#"{
    "schemaVersion": "2.2",
    "parameters": { "action": { "type": "String", "default": "drain" } },
    "mainSteps": [{ "action": "aws:runShellScript", "name": "host", "inputs": { "runCommand": ["host {{ action }}"] } }]
}"#;

/// Three instances in service behind a terminate hook, commands that succeed after a second, and a
/// function.
async fn fleet() -> (Double, Function, Vec<String>) {
    let clock = ClockMode::Manual("2026-01-01T00:00:00Z".parse().expect("a time"));
    let config = DoubleConfig { clock, ..DoubleConfig::default() };
    let double = Double::start(config).await.expect("a free port");
    let took = Duration::from_secs(1);
    double.set_runner(scripted(vec![CommandOutput::exit(0).stdout("{}").took(took)]));
    double.create_document("GhostHands-Host", DOCUMENT).expect("legal");
    double.create_document("Other", DOCUMENT).expect("legal");
    let hook = HookSpec::terminating("ghosthands-drain-hook", 300);
    let spec = GroupSpec::new("fleet", 0, 4).desired(3).boot(Duration::ZERO).hook(hook);
    double.create_group(spec).expect("a group");
    double.advance(Duration::from_secs(1)).await.expect("a manual clock");
    let function = Function::start(probe("drain").concurrency(1)).await.expect("starts");
    double.add_function(&function);
    let group = double.group("fleet").expect("it exists");
    let ids = group.instances.iter().map(|i| i.id.clone()).collect();
    (double, function, ids)
}

/// The events that reached the function, in their order.
fn got(function: &Function) -> Vec<Value> {
    let lines = function.logs().into_iter();
    lines
        .filter_map(|l| Some(serde_json::from_str::<Value>(&l.text).ok()?["got"].clone()))
        .collect()
}

async fn got_some(function: &Function, count: usize) -> Vec<Value> {
    eventually("the events are in the log", || got(function).len() >= count).await;
    got(function)
}

async fn send(double: &Double, document: &str, instances: &[String]) -> String {
    let params =
        json!({ "DocumentName": document, "InstanceIds": instances, "MaxConcurrency": "1" });
    let answer = ssm(double, "SendCommand", &params).await.expect("accepted");
    answer["Command"]["CommandId"].as_str().expect("an id").to_owned()
}

async fn pass(double: &Double, seconds: u64) {
    double.advance(Duration::from_secs(seconds)).await.expect("a manual clock");
}

/// Each machine dies and goes through the hook, a second apart.
async fn lose_all(double: &Double, ids: &[String]) {
    for id in ids {
        double.lose_instance(id).expect("it exists");
        pass(double, 1).await;
    }
}

fn subjects(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|e| e["detail"]["EC2InstanceId"].as_str()).collect()
}

#[tokio::test]
async fn a_rule_lets_only_ends_of_our_document_through() {
    let (double, function, ids) = fleet().await;
    let ends = ["Success", "Failed", "TimedOut", "Cancelled"];
    let detail = json!({ "document-name": ["GhostHands-Host"], "status": ends });
    let pattern = json!({ "source": ["aws.ssm"], "detail-type": [INVOCATION], "detail": detail });
    double.rule(&pattern, "drain").expect("legal");
    assert!(double.rule(&pattern, "nobody").is_err());
    assert!(double.rule(&json!({ "source": "aws.ssm" }), "drain").is_err());
    send(&double, "Other", &ids).await;
    let command = send(&double, "GhostHands-Host", &ids[..2]).await;
    pass(&double, 10).await;
    let events = got_some(&function, 2).await;
    assert_eq!(events.len(), 2);
    for (event, id) in events.iter().zip(&ids) {
        assert_eq!(
            event["resources"],
            json!([format!("arn:aws:ec2:us-east-1:000000000000:instance/{id}")])
        );
        let detail = &event["detail"];
        assert!(
            detail["requested-date-time"]
                .as_str()
                .expect("text")
                .starts_with("2026-01-01T00:00:01")
        );
        assert_eq!(detail["command-id"], command.as_str());
        assert_eq!(detail["instance-id"], id.as_str());
        assert_eq!(detail["status"], "Success");
        assert!(detail.get("parameters").is_none());
    }
}

#[tokio::test]
async fn the_event_of_a_whole_command_carries_its_parameters_and_every_host() {
    let (double, function, ids) = fleet().await;
    let kind = "EC2 Command Status-change Notification";
    double.on_event("aws.ssm", kind, "drain").expect("a known function");
    send(&double, "GhostHands-Host", &ids).await;
    pass(&double, 10).await;
    let events = got_some(&function, 2).await;
    let statuses: Vec<&str> =
        events.iter().filter_map(|e| e["detail"]["status"].as_str()).collect();
    assert_eq!(statuses, ["InProgress", "Success"]);
    let last = &events[1];
    assert_eq!(last["resources"].as_array().map(Vec::len), Some(3));
    assert!(last["detail"].get("instance-id").is_none());
    assert_eq!(last["detail"]["parameters"], json!({ "action": ["drain"] }));
    assert_eq!(last["time"], "2026-01-01T00:00:04Z", "three hosts, one second each");
    assert_eq!(last["detail"]["expire-after"], "2026-01-01T02:00:01.000Z");
}

#[tokio::test]
async fn a_spot_machine_is_warned_of_two_minutes_and_then_gone() {
    let (double, function, ids) = fleet().await;
    let warning = "EC2 Spot Instance Interruption Warning";
    let rebalance = "EC2 Instance Rebalance Recommendation";
    let pattern = json!({ "source": ["aws.ec2"], "detail-type": [warning, rebalance] });
    double.rule(&pattern, "drain").expect("legal");
    let token_path = format!("/_double/imds/{}/latest/api/token", ids[0]);
    let lifetime = [("x-aws-ec2-metadata-token-ttl-seconds", "600")];
    let (_, token) = http(&double, "PUT", &token_path, &lifetime, "").await;
    let read = async |path: &str| {
        let path = format!("/_double/imds/{}/latest/meta-data/{path}", ids[0]);
        let (status, body) =
            http(&double, "GET", &path, &[("x-aws-ec2-metadata-token", &token)], "").await;
        (status == 200).then_some(body)
    };
    assert_eq!(read("spot/instance-action").await, None);
    assert_eq!(read("events/recommendations/rebalance").await, None);

    double.recommend_rebalance(&ids[0]).expect("it runs");
    double.reclaim_instance(&ids[0], Duration::from_secs(120)).expect("it runs");
    // One process: the second event is throttled and comes a second later.
    pass(&double, 1).await;
    let events = got_some(&function, 2).await;
    let of = |kind: &str| {
        events.iter().find(|e| e["detail-type"] == kind).unwrap_or_else(|| panic!("{events:?}"))
    };
    assert_eq!(of(rebalance)["detail"], json!({ "instance-id": ids[0] }));
    assert_eq!(
        of(warning)["detail"],
        json!({ "instance-id": ids[0], "instance-action": "terminate" })
    );
    let arn = format!("arn:aws:ec2:us-east-1a:instance/{}", ids[0]);
    assert_eq!(of(warning)["resources"], json!([arn]), "by zone, without an account");

    let action = read("spot/instance-action").await.expect("it is announced");
    let expected = json!({ "action": "terminate", "time": "2026-01-01T00:02:01Z" });
    assert_eq!(serde_json::from_str::<Value>(&action).expect("JSON"), expected);
    assert_eq!(read("spot/termination-time").await.as_deref(), Some("2026-01-01T00:02:01Z"));
    let notice = read("events/recommendations/rebalance").await.expect("it is announced");
    assert!(notice.contains("2026-01-01T00:00:01Z"), "{notice}");

    let running = || double.group("fleet").is_some_and(|g| g.instances[0].running);
    pass(&double, 118).await;
    assert!(running());
    pass(&double, 1).await;
    assert!(!running());
    assert_eq!(read("instance-id").await, None, "nobody is there to ask");
    let state = double.group("fleet").expect("it exists").instances[0].state;
    assert_eq!(state, LifecycleState::TerminatingWait, "the hook runs on a dead machine");
    assert!(double.reclaim_instance(&ids[0], Duration::ZERO).is_err());
    assert!(double.recommend_rebalance("i-nobody").is_err());
}

#[tokio::test]
async fn lost_events_never_come_and_the_schedule_ticks_on() {
    let (double, function, ids) = fleet().await;
    double.on_event("aws.autoscaling", TERMINATE, "drain").expect("a known function");
    double.schedule("tick", "rate(1 minute)", "drain").expect("legal");
    double.disturb("*", Disturbance { lose: 1.0, ..Disturbance::default() }).expect("legal");
    lose_all(&double, &ids).await;
    pass(&double, 60).await;
    let events = got_some(&function, 1).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["detail-type"], "Scheduled Event");
    let sent = double.bus_events();
    assert_eq!(sent.iter().filter(|e| e["detail-type"] == TERMINATE).count(), 3, "they were sent");
    let all = Disturbance { lose: 1.0, ..Disturbance::default() };
    double.disturb("Scheduled Event", all).expect("legal");
    pass(&double, 600).await;
    assert_eq!(got(&function).len(), 1, "by its own name a schedule is lost too");
    let wrong = Disturbance { lose: 2.0, ..Disturbance::default() };
    let error = double.disturb("*", wrong).expect_err("refused").to_string();
    assert_eq!(error, "lose must be between 0 and 1, not 2");
}

#[tokio::test]
async fn doubled_events_come_twice_with_the_same_id() {
    let (double, function, ids) = fleet().await;
    double.on_event("aws.autoscaling", TERMINATE, "drain").expect("a known function");
    let twice = Disturbance { duplicate: 1.0, ..Disturbance::default() };
    double.disturb(TERMINATE, twice).expect("legal");
    lose_all(&double, &ids[..1]).await;
    pass(&double, 10).await;
    let events = got_some(&function, 2).await;
    assert_eq!((events.len(), &events[0]), (2, &events[1]));
}

#[tokio::test]
async fn late_events_come_late_and_reordered_ones_after_their_successor() {
    let (double, function, ids) = fleet().await;
    double.on_event("aws.autoscaling", TERMINATE, "drain").expect("a known function");
    let late = Disturbance { delay_seconds: (30.0, 30.0), ..Disturbance::default() };
    double.disturb(TERMINATE, late).expect("legal");
    lose_all(&double, &ids[..1]).await;
    pass(&double, 28).await;
    assert_eq!(got(&function).len(), 0);
    pass(&double, 1).await;
    assert_eq!(subjects(&got_some(&function, 1).await), [&ids[0]]);

    let swapped = Disturbance { reorder: 1.0, ..Disturbance::default() };
    double.disturb(TERMINATE, swapped).expect("legal");
    lose_all(&double, &ids[1..2]).await;
    double.clear_disturbances();
    assert_eq!(got(&function).len(), 1);
    lose_all(&double, &ids[2..]).await;
    pass(&double, 60).await;
    let events = got_some(&function, 3).await;
    assert_eq!(subjects(&events), [&ids[0], &ids[2], &ids[1]]);
}

#[tokio::test]
async fn an_event_nobody_could_handle_is_told_to_the_failure_destination() {
    let (double, _, ids) = fleet().await;
    let down = Function::start(probe("down").env("PROBE_START", "fail")).await.expect("starts");
    double.add_function(&down);
    double.on_event("aws.autoscaling", TERMINATE, "down").expect("a known function");
    lose_all(&double, &ids[..1]).await;
    pass(&double, 178).await;
    assert!(double.given_up().is_empty());
    pass(&double, 10).await;
    let records = double.given_up();
    assert_eq!((records.len(), down.cold_starts()), (1, 3));
    assert_eq!(records[0]["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(records[0]["requestPayload"]["detail"]["EC2InstanceId"], ids[0].as_str());
}
