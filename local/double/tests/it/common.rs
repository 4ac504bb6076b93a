//! What the tests of the double share.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_double::{Function, FunctionConfig, InvokeError};
use serde_json::Value;

/// The function in `examples/probe.rs`, under a name of its own.
pub(crate) fn probe(name: &str) -> FunctionConfig {
    let test = std::env::current_exe().expect("a test is a program");
    let debug = test.parent().and_then(Path::parent).expect("target/debug/deps");
    let binary = debug.join("examples/probe");
    assert!(binary.exists(), "build it first: cargo build -p aws-double --examples");
    FunctionConfig::new(name, binary)
}

/// Invokes with JSON on both sides.
pub(crate) async fn invoke(function: &Function, event: &Value) -> Result<Value, InvokeError> {
    let response = function.invoke(event.to_string().as_bytes()).await?;
    Ok(serde_json::from_slice(&response).expect("a JSON response"))
}

/// True while a process exists and is not merely waiting to be reaped.
pub(crate) fn alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Waits, a minute at most, until something is true.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "not within 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
