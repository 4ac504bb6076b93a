use crate::support::{ghfleet, home, run};
use fleet_core::scaling::{Inputs, LossCause, Memory, Observation, Policy, decide};
use fleet_protocol::reading::{Reading, Unknown, UnknownCause};
use fleet_protocol::time::UnixMs;
use serde_json::{Value, json};
use std::fs;

/// A record as the autoscale function prints it.
fn record() -> Value {
    let down = || Unknown { cause: UnknownCause::Unreachable, detail: "no answer".to_owned() };
    let inputs = Inputs {
        policy: Policy::default(),
        memory: Memory::Lost { cause: LossCause::Absent, detail: "none".to_owned() },
        observation: Observation {
            now: UnixMs(1_764_000_000_000),
            queue: Reading::Unknown(down()),
            group: Reading::Unknown(down()),
            refresh: None,
            hook: None,
            launches: None,
        },
    };
    json!({
        "type": "decision", "at": "2025-11-24T16:00:00Z", "summary": "no change",
        "decision": decide(&inputs).decision, "inputs": inputs,
    })
}

#[test]
fn records_are_found_in_every_form_that_logs_come_in() {
    let record = record().to_string();
    let lines = [
        record.clone(),
        format!("2025-11-24T16:00:00 {record}"),
        format!("2025-11-24T16:00:00.000000+00:00 2025/11/24/[$LATEST]0a1b2c {record}"),
        json!({ "timestamp": 1, "message": record }).to_string(),
        "START RequestId: 1 {".to_owned(),
    ];
    let file = home().join("ticks.log");
    fs::write(&file, lines.join("\n")).unwrap();
    let ran = run(&mut ghfleet(&["replay", file.to_str().unwrap()]));
    assert_eq!(ran.out, "4 decisions read, 4 the same to the bit, 0 different.\n");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn a_log_without_records_is_no_log_of_decisions() {
    let file = home().join("ticks.log");
    fs::write(&file, "hello\n").unwrap();
    let ran = run(&mut ghfleet(&["replay", file.to_str().unwrap()]));
    assert_eq!((ran.code, ran.out.as_str()), (64, ""));
    assert!(ran.err.contains("holds no decision record with its inputs"), "{}", ran.err);
}
