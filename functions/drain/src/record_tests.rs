use super::*;
use fleet_core::drain::{Answer, CallResult, Group, Member, Memory, decide};
use fleet_protocol::ids::InstanceId;
use fleet_protocol::reading::Reading;
use std::collections::BTreeMap;

const NOW: UnixMs = UnixMs(1_795_478_400_000);
const WAIT: &str = "Terminating:Wait";

fn id() -> InstanceId {
    InstanceId::new("i-00000000000000001".to_owned())
}

fn config() -> DrainConfig {
    let set = [
        ("GH_ENVIRONMENT", "test"),
        ("AWS_ASG_NAME", "ghosthands-worker-asg"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "example"),
    ];
    let env: BTreeMap<String, String> =
        set.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    DrainConfig::from_env(&env).unwrap()
}

/// A pass that saw the group with one instance in this state.
fn saw(lifecycle: &str, memory: Memory) -> Inputs {
    let mut inputs = Inputs::new(config().policy, NOW, memory, vec![]);
    inputs.take(Answer::Group(Reading::Known(Group {
        name: GroupName::new("ghosthands-worker-asg"),
        at: NOW,
        members: vec![Member { id: id(), lifecycle: lifecycle.into() }],
        retains: true,
        rebalances: false,
    })));
    inputs
}

fn asked() -> PassRequest {
    PassRequest {
        trigger: Trigger::Schedule,
        hints: vec![],
        problem: None,
        event_at: None,
        request_id: String::new(),
        dry_run: false,
    }
}

#[test]
fn the_record_of_a_thousand_leaving_instances_fits_a_log_event() {
    let name = |n: u32| InstanceId::new(format!("i-{n:017x}"));
    let mut inputs = saw(WAIT, Memory::default());
    let members = (0..1000).map(|n| Member { id: name(n), lifecycle: WAIT.into() }).collect();
    let Some(Reading::Known(group)) = inputs.seen.group.clone() else { panic!("known") };
    inputs.take(Answer::Group(Reading::Known(Group { members, ..group })));
    let detail = "x".repeat(600);
    for n in 0..1000 {
        inputs.take(Answer::Held(name(n), CallResult::Failed { detail: detail.clone() }));
    }
    let decision = decide(&inputs);
    let line = PassRecord::new(asked(), &config(), inputs, vec![], decision, 1).line();
    let bytes = line.to_string().len();
    assert!(bytes <= LINE_BYTES, "{bytes} bytes");
    assert_eq!(line["omitted"][0], "inputs");
    assert_eq!(line["summary"].as_array().map(Vec::len), Some(SENTENCES + 1));
    assert_eq!(line["summary"][SENTENCES], "and 950 more instances");
    let whole = PassRecord::new(
        asked(),
        &config(),
        saw(WAIT, Memory::default()),
        vec![],
        Decision::default(),
        1,
    );
    assert_eq!(whole.line().get("omitted"), None);
    assert!(whole.line()["inputs"].is_object());
}
