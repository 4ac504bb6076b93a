//! What `SendCommand` refuses, whom it reaches, and what the document makes of its parameters.

use std::collections::BTreeMap;

use serde_json::json;

use super::SendRequest;
use super::model::{CommandState, InvocationState::InvalidPlatform};
use super::tests::Fixture;

/// Code, a part of the message, and what provokes them.
type Refusal = (&'static str, &'static str, fn(&mut SendRequest));

fn targets(key: &str, values: &[&str]) -> impl FnOnce(&mut SendRequest) {
    let target = (key.to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
    |request| {
        request.instance_ids.clear();
        request.targets = vec![target];
    }
}

fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect()
}

#[test]
fn tags_find_the_managed_machines_that_have_them() {
    let mut f = Fixture::new(3);
    f.machines[1].managed = false;
    f.machines[2].tags.insert("Role".to_owned(), "other".to_owned());
    let hosts = |f: &Fixture, seq| {
        let command = f.commands.command(seq).expect("it exists");
        command.invocations.iter().map(|v| v.instance.clone()).collect::<Vec<_>>()
    };
    let group = f.send(targets("tag:aws:autoscaling:groupName", &["fleet"]));
    assert_eq!(hosts(&f, group), ["i-0", "i-2"]);
    let role = f.send(targets("tag:Role", &["worker", "driver"]));
    assert_eq!(hosts(&f, role), ["i-0"]);
    let key = f.send(targets("tag-key", &["Role"]));
    assert_eq!(hosts(&f, key), ["i-0", "i-2"]);
    let ids = f.send(targets("InstanceIds", &["i-2"]));
    assert_eq!(hosts(&f, ids), ["i-2"]);
    let both = f.send(|request| {
        targets("tag:Role", &["other"])(request);
        request.targets.push(("tag-key".to_owned(), vec!["aws:autoscaling:groupName".to_owned()]));
    });
    assert_eq!(hosts(&f, both), ["i-2"], "every target has to match");
}

#[test]
fn a_tag_that_nobody_has_succeeds_nowhere() {
    let mut f = Fixture::new(1);
    let seq = f.send(targets("tag:Role", &["nobody"]));
    let state = f.state(seq);
    assert_eq!((state.status(), state.details()), ("Success", "NoInstancesInTag"));
    assert_eq!(f.states(seq), []);
    let told: Vec<_> = f.commands.take_notices().iter().map(|n| n.status).collect();
    assert_eq!(told, ["Success"]);
}

#[test]
fn fifty_named_instances_are_the_most_and_tags_reach_more() {
    let mut f = Fixture::new(51);
    let (code, message) = f.refused(|_| ());
    assert_eq!(code, "ValidationException");
    assert!(message.contains("'instanceIds'") && message.contains("50"), "{message}");
    let seq = f.send(targets("tag:Role", &["worker"]));
    assert_eq!(f.states(seq).len(), 51);
}

#[test]
fn requests_aws_refuses_are_refused_by_name() {
    let mut f = Fixture::new(1);
    let cases: [Refusal; 11] = [
        ("InvalidDocument", "Nothing", |r| r.document = "Nothing".to_owned()),
        ("ValidationException", "required", |r| r.instance_ids.clear()),
        ("ValidationException", "exclude", |r| {
            r.targets = vec![("tag:a".to_owned(), vec!["b".to_owned()])];
        }),
        ("DuplicateInstanceId", "twice", |r| r.instance_ids.push("i-0".to_owned())),
        ("InvalidInstanceId", "[[i-9]]", |r| r.instance_ids = vec!["i-9".to_owned()]),
        ("ValidationException", "'comment'", |r| r.comment = "x".repeat(101)),
        ("ValidationException", "'timeoutSeconds'", |r| r.timeout_seconds = Some(29)),
        ("ValidationException", "MaxConcurrency", |r| r.max_concurrency = Some("0".to_owned())),
        ("InvalidTarget", "resource-groups:Name", |r| {
            r.instance_ids.clear();
            r.targets = vec![("resource-groups:Name".to_owned(), vec!["x".to_owned()])];
        }),
        ("InvalidTarget", "needs Values", |r| {
            r.instance_ids.clear();
            r.targets = vec![("tag:Role".to_owned(), vec![])];
        }),
        ("InvalidParameters", "\"shell\"", |r| r.parameters = parameters(&[("shell", "rm")])),
    ];
    for (expected, part, change) in cases {
        let (code, message) = f.refused(change);
        assert_eq!(code, expected, "{message}");
        assert!(message.contains(part), "{message}");
    }
    assert!(f.commands.commands().is_empty(), "what was refused left nothing behind");
}

#[test]
fn parameters_outside_the_documents_bounds_are_refused() {
    let mut f = Fixture::new(1);
    for (given, reason) in [
        (("action", "reboot"), "allowedValues"),
        (("tag", "v1; rm -rf /"), "allowedPattern"),
        (("tag", ""), "allowedPattern"),
    ] {
        let (code, message) = f.refused(|r| r.parameters = parameters(&[given]));
        assert_eq!(code, "InvalidParameters");
        assert!(message.contains(given.0) && message.contains(reason), "{message}");
    }
    let (_, message) = f.refused(|r| {
        r.parameters.insert("tag".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
    });
    assert!(message.contains("takes one value"), "{message}");
}

#[test]
fn defaults_fill_in_what_was_not_given() {
    let mut f = Fixture::new(1);
    let seq = f.send(|r| r.parameters = parameters(&[("tag", "v1.2")]));
    let command = f.commands.command(seq).expect("it exists");
    assert_eq!(command.script, "deploy-server drain v1.2");
    assert_eq!(command.parameters, parameters(&[("tag", "v1.2")]));
    assert_eq!(command.effective, parameters(&[("action", "drain"), ("tag", "v1.2")]));
}

#[test]
fn a_document_for_another_operating_system_runs_nowhere() {
    let mut f = Fixture::new(1);
    let content = json!({
        "schemaVersion": "2.2",
        "mainSteps": [{
            "action": "aws:runPowerShellScript",
            "name": "host",
            "inputs": { "runCommand": ["Get-Date"] },
        }],
    });
    f.commands.create_document("Windows", &content.to_string()).expect("legal");
    let seq = f.send(|r| r.document = "Windows".to_owned());
    assert_eq!((f.states(seq), f.state(seq)), (vec![InvalidPlatform], CommandState::Failed));
    assert_eq!(f.busy(), [0; 0]);
}
