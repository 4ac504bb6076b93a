//! The Runtime API host, with the real `lambda_runtime` on the other side.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_double::{Function, FunctionConfig, InvokeError};
use serde_json::json;

use crate::common::{alive, eventually, invoke, probe};

#[tokio::test]
async fn an_event_goes_in_and_the_response_comes_out() {
    let function = Function::start(probe("echo")).await.expect("starts");
    for n in 0..3 {
        let response = invoke(&function, &json!({ "n": n })).await.expect("a response");
        assert_eq!(response, json!({ "n": n }));
    }
    assert_eq!(function.cold_starts(), 1, "one warm process serves them all");
    let told = || function.logs().iter().any(|line| line.text == r#"{"got":{"n":2}}"#);
    eventually("its output is in the log", told).await;
}

#[tokio::test]
async fn the_context_is_that_of_the_invocation() {
    let config = probe("context").timeout(Duration::from_secs(20));
    let function = Function::start(config).await.expect("starts");
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let context = invoke(&function, &json!({ "do": "context" })).await.expect("a response");
    let deadline = Duration::from_millis(context["deadline"].as_u64().expect("a number"));
    let left = deadline.checked_sub(before).expect("in the future");
    assert!((19..=25).contains(&left.as_secs()), "{left:?}");
    assert_eq!(context["arn"], "arn:aws:lambda:us-east-1:000000000000:function:context");
    assert_eq!(context["request_id"].as_str().expect("text").len(), 36);
    assert!(context["trace"].as_str().expect("text").starts_with("Root=1-"));
}

#[tokio::test]
async fn the_process_sees_lambdas_variables_its_own_and_path() {
    let config = probe("environment").env("OWN", "yes").memory_mb(256);
    let function = Function::start(config).await.expect("starts");
    let seen = invoke(&function, &json!({ "do": "environment" })).await.expect("a response");
    let names: BTreeSet<&str> =
        seen.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = BTreeSet::from([
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "LANG",
        "OWN",
        "PATH",
        "TZ",
        "_HANDLER",
        // Set by the runtime itself for each invocation.
        "_X_AMZN_TRACE_ID",
    ]);
    assert_eq!(names, expected);
    assert_eq!(seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "256");
    assert_eq!(seen["AWS_LAMBDA_LOG_FORMAT"], "JSON");
}

#[tokio::test]
async fn errors_and_panics_are_reported_and_the_process_stays() {
    let function = Function::start(probe("errors")).await.expect("starts");
    for what in ["fail", "panic"] {
        let error = invoke(&function, &json!({ "do": what })).await.expect_err("an error");
        let InvokeError::Function(error) = error else { panic!("{error:?}") };
        assert!(error.message.contains("as I was told"), "{error:?}");
        assert!(!error.error_type.is_empty());
    }
    invoke(&function, &json!({})).await.expect("a response");
    assert_eq!(function.cold_starts(), 1);
}

#[tokio::test]
async fn a_response_of_more_than_six_megabytes_is_the_functions_error() {
    let config = probe("large").timeout(Duration::from_secs(20));
    let function = Function::start(config).await.expect("starts");
    let fill = |bytes: u32| json!({ "do": "fill", "bytes": bytes });
    let fits = invoke(&function, &fill(6_000_000)).await.expect("a response");
    assert_eq!(fits.as_str().map(str::len), Some(6_000_000));
    let error = invoke(&function, &fill(7_000_000)).await.expect_err("too large");
    let InvokeError::Function(error) = error else { panic!("{error:?}") };
    assert_eq!(error.error_type, "Function.ResponseSizeTooLarge");
    // A process that was cut off in the middle of its answer may end over it, and takes the call
    // along that it got meanwhile.
    if invoke(&function, &json!({})).await.is_err() {
        invoke(&function, &json!({})).await.expect("its successor serves on");
    }
}

#[tokio::test]
async fn a_crash_is_an_exit_error_and_the_next_call_starts_anew() {
    let function = Function::start(probe("crash")).await.expect("starts");
    let error = invoke(&function, &json!({ "do": "exit" })).await.expect_err("it died");
    let InvokeError::Function(error) = error else { panic!("{error:?}") };
    assert_eq!(error.error_type, "Runtime.ExitError");
    assert!(error.message.contains("signal"), "{error:?}");
    invoke(&function, &json!({})).await.expect("a response");
    assert_eq!(function.cold_starts(), 2);
}

#[tokio::test]
async fn a_function_that_cannot_start_says_why() {
    let config = probe("unborn").env("PROBE_START", "fail");
    let function = Function::start(config).await.expect("registers");
    let error = invoke(&function, &json!({})).await.expect_err("it cannot start");
    assert!(matches!(error, InvokeError::Function(_)), "{error:?}");
    let told = || function.logs().iter().any(|line| line.text.contains("cannot start"));
    eventually("the reason is in the log", told).await;
    let missing = Function::start(FunctionConfig::new("missing", "/nowhere/bootstrap")).await;
    assert!(missing.expect_err("no such file").to_string().contains("/nowhere/bootstrap"));
}

#[tokio::test]
async fn out_of_time_means_killed_and_started_anew() {
    let config = probe("slow").timeout(Duration::from_secs(3));
    let function = Function::start(config).await.expect("starts");
    let pid = invoke(&function, &json!({ "do": "context" })).await.expect("a response")["pid"]
        .as_u64()
        .expect("a number");
    let began = Instant::now();
    let error = invoke(&function, &json!({ "do": "sleep" })).await.expect_err("too slow");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let InvokeError::Function(error) = error else { panic!("{error:?}") };
    assert_eq!(error.error_type, "Sandbox.Timedout");
    assert!(error.message.ends_with("Task timed out after 3.00 seconds"), "{error:?}");
    assert!(!alive(pid), "the process is gone when the caller is told");
    invoke(&function, &json!({})).await.expect("a response");
    assert_eq!(function.cold_starts(), 2);
}

#[tokio::test]
async fn reserved_concurrency_is_the_number_of_processes() {
    let sleep = json!({ "do": "sleep", "millis": 700 });
    let config = probe("busy").concurrency(2).timeout(Duration::from_secs(10));
    let function = Function::start(config).await.expect("starts");
    let (a, b, c) = tokio::join!(
        invoke(&function, &sleep),
        invoke(&function, &sleep),
        invoke(&function, &sleep)
    );
    let answers = [a, b, c];
    let throttled = answers.iter().filter(|a| **a == Err(InvokeError::Throttled)).count();
    let pids: BTreeSet<_> = answers.iter().flatten().map(|a| a["pid"].as_u64()).collect();
    assert_eq!((throttled, pids.len(), function.cold_starts()), (1, 2, 2), "{answers:?}");
    invoke(&function, &json!({})).await.expect("free again");
}

#[tokio::test]
async fn stopping_kills_idle_and_busy_processes() {
    let config = probe("stopped").concurrency(2).timeout(Duration::from_secs(60));
    let function = Function::start(config).await.expect("starts");
    let nap = json!({ "do": "sleep", "millis": 300 });
    let (one, two) = tokio::join!(invoke(&function, &nap), invoke(&function, &nap));
    let pids = [one, two].map(|a| a.expect("a response")["pid"].as_u64().expect("a number"));
    let busy = tokio::spawn({
        let function = function.clone();
        async move { invoke(&function, &json!({ "do": "sleep" })).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    function.stop().await;
    assert_eq!(busy.await.expect("no panic"), Err(InvokeError::Stopped));
    eventually("both are gone", || !pids.iter().any(|pid| alive(*pid))).await;
    assert_eq!(invoke(&function, &json!({})).await, Err(InvokeError::Stopped));
}

#[tokio::test]
async fn a_dropped_function_leaves_no_process() {
    let function = Function::start(probe("dropped")).await.expect("starts");
    let context = invoke(&function, &json!({ "do": "context" })).await.expect("a response");
    let pid = context["pid"].as_u64().expect("a number");
    assert!(alive(pid));
    drop(function);
    eventually("it is gone", || !alive(pid)).await;
}
