use super::*;
use fleet_core::drain::{Answer, Group, HintKind, Hook, Machine, Member, Memory, decide};
use fleet_protocol::reading::{Unknown, UnknownCause};
use std::collections::BTreeMap;

const NOW: UnixMs = UnixMs(1_795_478_400_000);
const WAIT: &str = "Terminating:Wait";

fn id() -> InstanceId {
    InstanceId::new("i-00000000000000001".to_owned())
}

fn ago(seconds: i64) -> UnixMs {
    UnixMs(NOW.0 - seconds * 1000)
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

/// What the pass then looked at closer.
fn looked(mut inputs: Inputs) -> Inputs {
    let (heartbeat_s, global_s) = (300, 30_000);
    let default_result = "ABANDON".to_owned();
    let hook = Hook { heartbeat_s, global_s, default_result, terminating: true };
    inputs.take(Answer::Hook(Reading::Known(hook)));
    inputs.take(Answer::Machines(Reading::Known([(id(), Machine::Running)].into())));
    inputs.take(Answer::Commands(id(), Reading::Known(vec![])));
    inputs
}

fn held(seconds: i64) -> Memory {
    Memory { held: [(id(), ago(seconds))].into(), ..Memory::default() }
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

fn metrics(inputs: Inputs) -> DrainMetrics {
    let decision = decide(&inputs);
    PassRecord::new(asked(), &config(), inputs, vec![], decision, 1).metrics()
}

fn unknown<T>() -> Reading<T> {
    let detail = "Rate exceeded".to_owned();
    Reading::Unknown(Unknown { cause: UnknownCause::Failed, detail })
}

#[test]
fn a_pass_that_did_not_look_at_the_hook_says_nothing_of_it() {
    let idle = saw("InService", Memory::default());
    assert_eq!(metrics(idle.clone()).hook_drift, None);
    assert_eq!(metrics(looked(idle.clone())).hook_drift, Some(false));
    let mut missing = idle.clone();
    missing.take(Answer::Hook(unknown()));
    assert_eq!(metrics(missing).hook_drift, Some(true));
    let mut blind = looked(idle);
    blind.take(Answer::Group(unknown()));
    assert_eq!(metrics(blind).hook_drift, None, "half of it is the group's");
}

#[test]
fn a_pass_that_asked_nothing_does_not_say_that_the_sources_answer() {
    assert_eq!(metrics(saw("InService", Memory::default())).source_down, Some(false));
    assert_eq!(metrics(saw(WAIT, held(5))).source_down, None);
    let asked = looked(saw(WAIT, held(45)));
    assert_eq!(metrics(asked.clone()).source_down, Some(false));
    for answer in
        [Answer::Machines(unknown()), Answer::Commands(id(), unknown()), Answer::Group(unknown())]
    {
        let mut down = asked.clone();
        down.take(Answer::Held(id(), CallResult::Done));
        down.take(answer);
        assert_eq!(metrics(down).source_down, Some(true));
    }
}

#[test]
fn only_who_waits_for_its_hook_has_a_margin() {
    let margin = |state: &str| {
        let mut inputs = looked(saw(state, held(200)));
        inputs.take(Answer::Held(id(), CallResult::Done));
        metrics(inputs).heartbeat_margin_s
    };
    assert_eq!(margin(WAIT), Some(100));
    assert_eq!(margin("Terminating:Retained"), None);
}

#[test]
fn a_notice_of_aws_is_not_a_limit_that_comes_near() {
    let mut inputs = looked(saw(WAIT, Memory::default()));
    inputs.take(Answer::Held(id(), CallResult::Done));
    let kind = HintKind::Spot { noticed: Some(ago(10)) };
    inputs.hints.push(Hint { instance: id(), kind });
    assert_eq!(metrics(inputs).limit_left_s, None);
}

#[test]
fn an_instance_in_a_state_that_nobody_looks_after_is_counted() {
    for (state, left_alone) in
        [("InService", 0), ("Standby", 0), ("Warmed:Stopped", 1), ("Terminating:Later", 1)]
    {
        assert_eq!(metrics(saw(state, Memory::default())).left_alone, Some(left_alone), "{state}");
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
