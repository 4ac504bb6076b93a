//! The double as a library: a virtual clock, events and schedules that reach real functions, HTTP
//! APIs.

use std::time::Duration;

use aws_double::{
    ClockError, ClockMode, Double, DoubleConfig, Function, GroupSpec, HookSpec, LifecycleState,
    Route, TransitionKind,
};
use serde_json::{Value, json};

use crate::common::{alive, eventually, invoke, probe};

async fn virtual_double() -> Double {
    let clock = ClockMode::Manual("2026-01-01T00:00:00Z".parse().expect("a time"));
    Double::start(DoubleConfig { clock, ..DoubleConfig::default() }).await.expect("a free port")
}

fn got(function: &Function) -> Vec<Value> {
    let lines = function.logs();
    lines.iter().filter_map(|l| serde_json::from_str::<Value>(&l.text).ok()).collect()
}

#[tokio::test]
async fn a_virtual_day_of_schedules_passes_at_once_and_in_order() {
    let double = virtual_double().await;
    let function = Function::start(probe("tick")).await.expect("starts");
    double.add_function(&function);
    double.schedule("every-minute", "rate(1 minute)", "tick").expect("a rate");
    double.advance(Duration::from_secs(30)).await.expect("a manual clock");
    assert_eq!(function.cold_starts(), 0);
    double.advance(Duration::from_secs(10 * 60)).await.expect("a manual clock");
    eventually("ten lines", || got(&function).len() == 10).await;
    let events = got(&function);
    let times: Vec<&str> = events.iter().filter_map(|e| e["got"]["time"].as_str()).collect();
    assert_eq!((times[0], times[9]), ("2026-01-01T00:01:00Z", "2026-01-01T00:10:00Z"));
    let first = &events[0]["got"];
    assert_eq!(first["detail-type"], "Scheduled Event");
    assert_eq!(first["resources"][0], "arn:aws:events:us-east-1:000000000000:rule/every-minute");
    let own = serde_json::json!({ "source": "ghosthands.schedule", "detail-type": "Survey" });
    double.schedule_input("own", "rate(1 hour)", "tick", own.clone()).expect("a rate");
    double.schedule("every-minute", "rate(1 day)", "tick").expect("a rate");
    double.advance(Duration::from_secs(3600)).await.expect("a manual clock");
    eventually("an event of one's own", || got(&function).iter().any(|e| e["got"] == own)).await;
    assert!(double.schedule("x", "rate(1 minutes)", "tick").is_err());
    assert!(double.schedule("x", "rate(1 minute)", "nobody").is_err());
}

#[tokio::test]
async fn a_failing_function_is_retried_after_one_and_two_minutes() {
    let double = virtual_double().await;
    let function = Function::start(probe("down").env("PROBE_START", "fail")).await.expect("starts");
    double.add_function(&function);
    double.schedule("once-a-day", "rate(1 day)", "down").expect("a rate");
    double.advance(Duration::from_secs(86_400 + 59)).await.expect("a manual clock");
    assert_eq!(function.cold_starts(), 1);
    double.advance(Duration::from_secs(1)).await.expect("a manual clock");
    assert_eq!(function.cold_starts(), 2);
    double.advance(Duration::from_secs(3600)).await.expect("a manual clock");
    assert_eq!(function.cold_starts(), 3, "and no more");
}

#[tokio::test]
async fn a_terminate_hook_tells_its_subscribers() {
    let double = virtual_double().await;
    let function = Function::start(probe("drain")).await.expect("starts");
    double.add_function(&function);
    double
        .on_event("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action", "drain")
        .expect("a known function");
    let mut hook = HookSpec::terminating("ghosthands-drain-hook", 300);
    hook.metadata = Some("note".to_owned());
    let spec = GroupSpec::new("fleet", 0, 3).desired(1).boot(Duration::from_secs(90)).hook(hook);
    double.create_group(spec).expect("a group");
    double.advance(Duration::from_secs(89)).await.expect("a manual clock");
    let state = |double: &Double| double.group("fleet").expect("it exists").instances[0].state;
    assert_eq!(state(&double), LifecycleState::Pending);
    double.advance(Duration::from_secs(1)).await.expect("a manual clock");
    assert_eq!(state(&double), LifecycleState::InService);

    let id = double.group("fleet").expect("it exists").instances[0].id.clone();
    double.lose_instance(&id).expect("it exists");
    double.settle().await;
    eventually("the event", || !got(&function).is_empty()).await;
    let event = &got(&function)[0]["got"];
    assert_eq!(event["detail"]["EC2InstanceId"], id.as_str());
    assert_eq!(event["detail"]["LifecycleHookName"], "ghosthands-drain-hook");
    assert_eq!(event["detail"]["NotificationMetadata"], "note");
    assert_eq!(event["detail"]["LifecycleTransition"], "autoscaling:EC2_INSTANCE_TERMINATING");
    let types: Vec<Value> =
        double.bus_events().iter().map(|event| event["detail-type"].clone()).collect();
    assert_eq!(
        types,
        ["EC2 Instance Launch Successful", "EC2 Instance-terminate Lifecycle Action"]
    );

    let kinds: Vec<TransitionKind> = double.transitions(0).iter().map(|t| t.kind).collect();
    assert_eq!(
        kinds,
        [
            TransitionKind::Launching,
            TransitionKind::InService,
            TransitionKind::Lost,
            TransitionKind::TerminatingWait,
            TransitionKind::Launching
        ]
    );
    let mut stream = double.subscribe();
    for expected in double.transitions(0) {
        assert_eq!(stream.next().await, expected);
    }
}

#[tokio::test]
async fn real_time_passes_by_itself_and_cannot_be_moved() {
    let config = DoubleConfig { shutdown: Duration::ZERO, ..DoubleConfig::default() };
    let double = Double::start(config).await.expect("a free port");
    let spec = GroupSpec::new("fleet", 1, 3).boot(Duration::from_millis(200));
    double.create_group(spec).expect("a group");
    let mut stream = double.subscribe();
    assert_eq!(stream.next().await.kind, TransitionKind::Launching);
    let next = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
    assert_eq!(next.expect("the boot ends by itself").kind, TransitionKind::InService);
    assert_eq!(double.advance(Duration::from_secs(1)).await, Err(ClockError::Real));
}

#[tokio::test]
async fn parameters_and_secrets_can_be_laid_out() {
    let double = virtual_double().await;
    assert_eq!(double.parameter("/fleet/state"), None);
    double.put_parameter("/fleet/state", "{}").expect("legal");
    assert_eq!(double.parameter("/fleet/state").as_deref(), Some("{}"));
    assert!(double.delete_parameter("/fleet/state"));
    assert!(!double.delete_parameter("/fleet/state"));
    double.put_secret("ghosthands/dev", "one").expect("legal");
    double.put_secret("ghosthands/dev", "two").expect("legal");
    assert!(double.put_secret("no spaces", "x").is_err());
    assert!(double.calls().is_empty(), "the library's own doing is not an API call");
}

#[tokio::test]
async fn dropping_the_double_ends_its_functions_and_its_port() {
    let double = virtual_double().await;
    let endpoint = double.endpoint();
    let pid = {
        let function = Function::start(probe("mine")).await.expect("starts");
        double.add_function(&function);
        let context = invoke(&function, &json!({ "do": "context" })).await.expect("a response");
        context["pid"].as_u64().expect("a number")
    };
    assert!(alive(pid), "the double holds it");
    drop(double);
    eventually("it is gone", || !alive(pid)).await;
    let address = endpoint.trim_start_matches("http://").to_owned();
    eventually("the port is closed", || std::net::TcpStream::connect(&address).is_err()).await;
}

#[tokio::test]
async fn an_http_api_closes_when_it_is_dropped() {
    let double = virtual_double().await;
    let routes = vec![Route::new("GET", "/", "nobody")];
    let api = double.http_api(routes, 0).await.expect("a free port");
    let address = api.endpoint().trim_start_matches("http://").to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok());
    drop(api);
    eventually("the port is closed", || std::net::TcpStream::connect(&address).is_err()).await;
}
