use super::*;

fn event(name: &str) -> Event {
    let path = format!("{}/../../events/drain-{name}.json", env!("CARGO_MANIFEST_DIR"));
    Event::read(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

fn read_event(name: &str) -> Result<Request, String> {
    let group = GroupName::new("ghosthands-worker-asg");
    read(&event(name), &Scope { group: &group, document: "GhostHands-Host" })
}

/// What a pass by this event is told: its trigger, its hints, and whether something was wrong with
/// it.
fn pass(name: &str) -> (Trigger, Vec<(String, HintKind)>, bool) {
    match read_event(name).unwrap() {
        Request::Pass { trigger, hints, problem, .. } => {
            let hints = hints.into_iter().map(|hint| (hint.instance.to_string(), hint.kind));
            (trigger, hints.collect(), problem.is_some())
        }
        Request::Foreign { why, .. } => panic!("{name} counts as foreign: {why}"),
    }
}

const ID: &str = "i-0a1b2c3d4e5f60718";

fn named(kind: HintKind) -> Vec<(String, HintKind)> {
    vec![(ID.to_owned(), kind)]
}

#[test]
fn every_event_is_a_pass_that_looks_at_its_instance_first() {
    let look = || named(HintKind::Look);
    let at = "2026-11-23T03:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let spot = HintKind::Spot { noticed: Some(UnixMs(at)) };
    assert_eq!(pass("schedule"), (Trigger::Schedule, vec![], false));
    assert_eq!(pass("test-notification"), (Trigger::Test, vec![], false));
    assert_eq!(pass("terminate"), (Trigger::Lifecycle, look(), false));
    assert_eq!(pass("terminate-old-form"), (Trigger::Lifecycle, look(), false));
    assert_eq!(pass("terminate-warm-pool"), (Trigger::Lifecycle, look(), false));
    assert_eq!(pass("invocation"), (Trigger::Invocation, look(), false));
    assert_eq!(pass("invocation-timed-out"), (Trigger::Invocation, look(), false));
    assert_eq!(pass("spot"), (Trigger::Spot, named(spot), false));
    assert_eq!(pass("rebalance"), (Trigger::Rebalance, named(HintKind::Rebalance), false));
    assert_eq!(pass("retirement"), (Trigger::Retirement, named(HintKind::Retirement), false));
}

#[test]
fn a_command_on_many_instances_names_them_in_its_resources() {
    let (trigger, hints, problem) = pass("command");
    assert_eq!((trigger, hints.len(), problem), (Trigger::Command, 2, false));
    assert_eq!(hints[0].0, ID);
}

#[test]
fn the_event_of_another_hook_is_a_reason_to_look_and_no_more() {
    assert_eq!(pass("terminate-other-hook"), (Trigger::Lifecycle, named(HintKind::Look), false));
}

#[test]
fn an_event_without_its_instance_is_a_pass_all_the_same() {
    for name in ["terminate-no-instance", "command-no-resources", "rebalance-bad-id"] {
        let (_, hints, problem) = pass(name);
        assert!(hints.is_empty() && problem, "{name}");
    }
}

#[test]
fn other_groups_and_documents_are_left_alone() {
    for name in ["terminate-other-group", "invocation-other-document", "reboot-scheduled"] {
        assert!(matches!(read_event(name), Ok(Request::Foreign { .. })), "{name}");
    }
}

#[test]
fn anything_else_is_refused_with_what_came() {
    let launch = read_event("launch").unwrap_err();
    assert!(launch.contains("EC2 Instance-launch Lifecycle Action"), "{launch}");
    read_event("rubbish").unwrap_err();
}
