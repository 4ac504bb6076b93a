use super::*;

fn event(name: &str) -> Value {
    let path = format!("{}/../../events/deploy-{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn read_event(name: &str) -> Result<Request, String> {
    read(&Event::read(event(name)), "GhostHands-Host")
}

const ID: &str = "0831e1a8-a1ac-4257-a1fd-c831bb48c7ad";

#[test]
fn what_wakes_a_pass() {
    let pass = |name: &str| match read_event(name).unwrap() {
        Request::Pass { trigger, hint } => (trigger, hint.map(|hint| hint.to_string())),
        other => panic!("{name} is no pass: {other:?}"),
    };
    assert_eq!(pass("schedule"), (Trigger::Schedule, None));
    assert_eq!(pass("command"), (Trigger::Command, Some(ID.to_owned())));
    assert_eq!(pass("command-parameters-as-text"), (Trigger::Command, Some(ID.to_owned())));
    assert_eq!(pass("invocation"), (Trigger::Invocation, Some(ID.to_owned())));
}

#[test]
fn the_second_schedule_asks_the_hosts() {
    assert_eq!(read_event("survey"), Ok(Request::Survey));
}

#[test]
fn what_is_none_of_ours() {
    let why = |name: &str| match read_event(name).unwrap() {
        Request::Foreign { why, .. } => why,
        other => panic!("{name} counts as ours: {other:?}"),
    };
    assert_eq!(why("command-drain"), "it is about the order drain");
    assert_eq!(why("command-other-document"), "it is about the document AWS-RunShellScript");
    for rubbish in [serde_json::json!(null), serde_json::json!({}), event("rubbish")] {
        read(&Event::read(rubbish.clone()), "GhostHands-Host").expect_err(&rubbish.to_string());
    }
}
