//! A Lambda function that does what its event says: the tests run it behind the double's Runtime
//! API.

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    match event.get("do").and_then(Value::as_str) {
        Some("fail") => Err("as I was told".into()),
        Some("panic") => panic!("as I was told"),
        Some("exit") => std::process::abort(),
        Some("sleep") => {
            let millis = event.get("millis").and_then(Value::as_u64).unwrap_or(60_000);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok(json!({ "slept": millis, "pid": std::process::id() }))
        }
        Some("fill") => {
            let bytes = event.get("bytes").and_then(Value::as_u64).unwrap_or_default();
            Ok(json!("x".repeat(usize::try_from(bytes)?)))
        }
        Some("environment") => {
            Ok(json!(std::env::vars().collect::<std::collections::BTreeMap<_, _>>()))
        }
        Some("context") => Ok(json!({
            "request_id": context.request_id,
            "deadline": context.deadline,
            "arn": context.invoked_function_arn,
            "trace": context.xray_trace_id,
            "pid": std::process::id(),
        })),
        // Anything else comes back, and leaves a line in the log.
        _ => {
            tell(&event);
            Ok(event)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the log of a function is its standard output")]
fn tell(event: &Value) {
    println!("{}", json!({ "got": event }));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var("PROBE_START").is_ok_and(|how| how == "fail") {
        return Err("cannot start, as I was told".into());
    }
    lambda_runtime::run(service_fn(handle)).await
}
