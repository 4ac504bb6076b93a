//! What the AWS clients make of answers that a well-behaved AWS seldom gives, and how often they
//! ask.
//!
//! A scripted endpoint stands in: it gives the next answer of its script to each request and keeps
//! what it was asked.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use fleet_clients::auto_scaling::AutoScaling;
use fleet_clients::aws::{Aws, AwsErrorKind};
use fleet_clients::config::AutoscaleConfig;
use fleet_clients::parameters::Parameters;
use fleet_clients::rollouts::Rollouts;
use fleet_clients::secrets::{SecretError, Secrets, Stage};
use fleet_core::scaling::RefreshStatus;
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::reading::{Reading, UnknownCause};
use fleet_protocol::time::UnixMs;
use secrecy::ExposeSecret;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

enum Step {
    Answer(u16, String),
    /// The connection closes without an answer.
    HangUp,
    /// The connection stays open and nothing comes.
    Silence,
}

struct Endpoint {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Endpoint {
    async fn start(script: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut script: VecDeque<Step> = script.into_iter().collect();
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                seen.lock().unwrap().push(request);
                match script.pop_front().expect("the script has no answer left") {
                    Step::HangUp => {}
                    Step::Silence => silent.push(stream),
                    Step::Answer(status, body) => {
                        let length = body.len();
                        let answer = format!(
                            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                        );
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            }
        });
        Self { address, requests, task }
    }

    fn aws(&self) -> Aws {
        aws(&self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// The request's body.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.trim().parse().unwrap());
            if body.len() >= length {
                return body.to_owned();
            }
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        assert_ne!(count, 0, "the client hung up in mid-request");
        request.extend_from_slice(&chunk[..count]);
    }
}

fn aws(endpoint: &str) -> Aws {
    let settings = [
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "hunter2"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ASG_NAME", "asg"),
        ("GH_ENVIRONMENT", "test"),
    ];
    let env: BTreeMap<String, String> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Aws::new(&AutoscaleConfig::from_env(&env).unwrap().aws)
}

fn asg() -> GroupName {
    GroupName::new("asg")
}

/// An answer of the Query protocol.
fn result(action: &str, body: &str) -> Step {
    Step::Answer(
        200,
        format!(
            "<{action}Response xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><{action}Result>{body}</{action}Result></{action}Response>"
        ),
    )
}

fn refusal(status: u16, code: &str, message: &str) -> Step {
    Step::Answer(
        status,
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        ),
    )
}

fn groups(groups: &str, token: &str) -> Step {
    let body =
        format!("<AutoScalingGroups>{groups}</AutoScalingGroups><NextToken>{token}</NextToken>");
    result("DescribeAutoScalingGroups", &body)
}

const GROUP: &str = "<member><AutoScalingGroupName>asg</AutoScalingGroupName><MinSize>1</MinSize><MaxSize>9</MaxSize>\
    <DesiredCapacity>2</DesiredCapacity><Instances><member><InstanceId>i-1</InstanceId><LifecycleState>InService</LifecycleState>\
    <HealthStatus>Healthy</HealthStatus><ProtectedFromScaleIn>false</ProtectedFromScaleIn></member><member><InstanceId>i-2</InstanceId>\
    <LifecycleState>Quarantined:New</LifecycleState><HealthStatus>Unhealthy</HealthStatus><ProtectedFromScaleIn>true</ProtectedFromScaleIn></member></Instances><SuspendedProcesses><member>\
    <ProcessName>Terminate</ProcessName></member></SuspendedProcesses><Tags><member><Key>ghosthands:floor</Key><Value>3@2026-12-01T00:00:00Z</Value>\
    </member><member><Key>Name</Key><Value>x</Value></member></Tags></member>";

#[tokio::test]
async fn a_group_whose_capacity_is_no_number_of_instances_says_so() {
    let weighted = "<MixedInstancesPolicy><LaunchTemplate><Overrides><member><InstanceType>t3.large\
        </InstanceType></member><member><InstanceType>t3.xlarge</InstanceType><WeightedCapacity>4\
        </WeightedCapacity></member></Overrides></LaunchTemplate></MixedInstancesPolicy>";
    for (more, says) in [
        (weighted, Some("WeightedCapacity 4 of t3.xlarge")),
        ("<DesiredCapacityType>vcpu</DesiredCapacityType>", Some("DesiredCapacityType vcpu")),
        ("<DesiredCapacityType>units</DesiredCapacityType>", None),
        ("", None),
    ] {
        let group = GROUP.replace("<MinSize>", &format!("{more}<MinSize>"));
        let endpoint = Endpoint::start([groups(&group, "")]).await;
        let reading = AutoScaling::new(&endpoint.aws()).describe(&asg()).await;
        let group = reading.known().unwrap_or_else(|| panic!("{reading:?}"));
        assert_eq!(group.not_instances.as_deref(), says);
    }
}

#[tokio::test]
async fn a_group_on_a_later_page_is_found_and_read_as_it_is() {
    let endpoint = Endpoint::start([groups("", "page-2"), groups(GROUP, "")]).await;
    let reading = AutoScaling::new(&endpoint.aws()).describe(&asg()).await;
    let group = reading.known().unwrap_or_else(|| panic!("{reading:?}"));
    assert_eq!((group.min, group.max, group.desired), (1, 9, 2));
    assert_eq!(group.suspended, ["Terminate"]);
    assert_eq!(group.tags.len(), 1);
    assert_eq!(group.tags[0].key, "ghosthands:floor");
    let [first, second] = &group.instances[..] else { panic!("{group:?}") };
    assert_eq!(
        (first.lifecycle.as_str(), first.healthy, first.protected),
        ("InService", true, false)
    );
    // A state that this SDK does not know keeps its name.
    assert_eq!(
        (second.lifecycle.as_str(), second.healthy, second.protected),
        ("Quarantined:New", false, true)
    );
    let requests = endpoint.requests();
    assert!(requests[0].contains("AutoScalingGroupNames.member.1=asg"), "{}", requests[0]);
    assert!(requests[1].contains("NextToken=page-2"), "{}", requests[1]);
}

#[tokio::test]
async fn a_group_that_is_not_there_or_lacks_something_is_never_an_empty_one() {
    // The SDK reads what an answer lacks as 0 or as an empty text.
    let without_desired = GROUP.replace("<DesiredCapacity>2</DesiredCapacity>", "");
    let without_id = GROUP.replace("<InstanceId>i-1</InstanceId>", "");
    let endpoint = Endpoint::start([
        groups("", ""),
        groups(&without_desired, ""),
        groups(&without_id, ""),
        Step::Answer(200, "no XML at all".to_owned()),
    ])
    .await;
    let client = AutoScaling::new(&endpoint.aws());
    let Reading::Unknown(missing) = client.describe(&asg()).await else { panic!("known") };
    assert_eq!(missing.cause, UnknownCause::Missing);
    assert!(missing.detail.contains("check AWS_ASG_NAME"), "{missing:?}");
    for says in ["(Some(1), Some(0), Some(9))", "without its id", "cannot be read"] {
        let Reading::Unknown(unknown) = client.describe(&asg()).await else { panic!("known") };
        assert_eq!(unknown.cause, UnknownCause::Unreadable);
        assert!(unknown.detail.contains(says), "{unknown:?}");
    }
}

#[tokio::test]
async fn throttling_is_waited_out_and_longer_throttling_is_an_unknown_in_time() {
    let throttled = || refusal(400, "Throttling", "Rate exceeded");
    let endpoint = Endpoint::start([throttled(), throttled(), groups(GROUP, "")]).await;
    let reading = AutoScaling::new(&endpoint.aws()).describe(&asg()).await;
    assert!(reading.known().is_some(), "{reading:?}");
    assert_eq!(endpoint.requests().len(), 3);

    let endpoint = Endpoint::start((0..4).map(|_| throttled())).await;
    let began = Instant::now();
    let error = AutoScaling::new(&endpoint.aws()).set_desired(&asg(), 3).await.unwrap_err();
    assert!(error.is_throttled() && error.is_transient(), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(endpoint.requests().len(), 4);
}

#[tokio::test]
async fn the_capacity_is_set_past_the_cooldown_and_asked_for_again_after_a_lost_answer() {
    let done = Step::Answer(200, "<SetDesiredCapacityResponse/>".to_owned());
    let endpoint = Endpoint::start([Step::HangUp, done]).await;
    AutoScaling::new(&endpoint.aws()).set_desired(&asg(), 3).await.unwrap();
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].contains("DesiredCapacity=3&HonorCooldown=false"), "{}", requests[1]);
}

/// The one call that does more when it is made twice.
#[tokio::test]
async fn ending_an_instance_is_repeated_after_a_refusal_and_never_after_a_lost_answer() {
    let instance = InstanceId::new("i-1");
    let done = || result("TerminateInstanceInAutoScalingGroup", "");
    let endpoint = Endpoint::start([refusal(400, "Throttling", "Rate exceeded"), done()]).await;
    AutoScaling::new(&endpoint.aws()).terminate_and_decrement(&instance).await.unwrap();
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests[1].contains("InstanceId=i-1&ShouldDecrementDesiredCapacity=true"),
        "{}",
        requests[1]
    );

    for (step, kind) in [
        (Step::HangUp, AwsErrorKind::Unreachable),
        (Step::Silence, AwsErrorKind::TimedOut),
        (refusal(503, "ServiceUnavailable", "try later"), AwsErrorKind::Failed),
    ] {
        let endpoint = Endpoint::start([step, done()]).await;
        let client = AutoScaling::new(&endpoint.aws());
        let error = client.terminate_and_decrement(&instance).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert_eq!(endpoint.requests().len(), 1, "asked again after {kind:?}");
    }

    let minimum =
        "Currently, desired capacity equals the min size and terminating would violate it";
    let endpoint = Endpoint::start([refusal(400, "ValidationError", minimum)]).await;
    let client = AutoScaling::new(&endpoint.aws());
    let error = client.terminate_and_decrement(&instance).await.unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::Invalid);
    assert!(error.detail.ends_with(minimum), "{error}");
}

#[tokio::test]
async fn a_refresh_counts_as_running_until_it_is_over_and_a_new_word_is_unknown() {
    let statuses = [
        ("Pending", Some(RefreshStatus::InProgress)),
        ("InProgress", Some(RefreshStatus::InProgress)),
        ("Cancelling", Some(RefreshStatus::InProgress)),
        ("RollbackInProgress", Some(RefreshStatus::InProgress)),
        ("Baking", Some(RefreshStatus::InProgress)),
        ("Successful", Some(RefreshStatus::None)),
        ("Failed", Some(RefreshStatus::None)),
        ("Cancelled", Some(RefreshStatus::None)),
        ("RollbackFailed", Some(RefreshStatus::None)),
        ("RollbackSuccessful", Some(RefreshStatus::None)),
        ("Marinating", None),
    ];
    let refreshes = |status: &str| {
        let members = format!(
            "<InstanceRefreshes><member><Status>{status}</Status></member><member><Status>Successful</Status></member></InstanceRefreshes>"
        );
        result("DescribeInstanceRefreshes", &members)
    };
    let endpoint = Endpoint::start(statuses.map(|(status, _)| refreshes(status))).await;
    let client = AutoScaling::new(&endpoint.aws());
    for (status, expected) in statuses {
        let reading = client.refresh_status(&asg()).await;
        assert_eq!(reading.known().copied(), expected, "{status}");
    }
    let endpoint =
        Endpoint::start([result("DescribeInstanceRefreshes", "<InstanceRefreshes/>")]).await;
    let reading = AutoScaling::new(&endpoint.aws()).refresh_status(&asg()).await;
    assert_eq!(reading, Reading::Known(RefreshStatus::None));
}

#[tokio::test]
async fn a_parameter_is_absent_only_where_ssm_says_so() {
    let endpoint = Endpoint::start([
        Step::Answer(200, r#"{"Parameter":{"Name":"/p","Value":"{broken"}}"#.to_owned()),
        Step::Answer(400, r#"{"__type":"ParameterNotFound"}"#.to_owned()),
        Step::Answer(
            400,
            r#"{"__type":"AccessDeniedException","Message":"not allowed"}"#.to_owned(),
        ),
        Step::Answer(200, r"{}".to_owned()),
        Step::Answer(200, r#"{"Version":2}"#.to_owned()),
    ])
    .await;
    let parameters = Parameters::new(&endpoint.aws());
    assert_eq!(parameters.get("/p").await, Reading::Known(Some("{broken".to_owned())));
    assert_eq!(parameters.get("/p").await, Reading::Known(None));
    for cause in [UnknownCause::Failed, UnknownCause::Unreadable] {
        let Reading::Unknown(unknown) = parameters.get("/p").await else { panic!("known") };
        assert_eq!(unknown.cause, cause, "{unknown:?}");
    }
    parameters.put("/p", "text").await.unwrap();
    let request = endpoint.requests().pop().unwrap();
    for part in [r#""Overwrite":true"#, r#""Type":"String""#, r#""Value":"text""#] {
        assert!(request.contains(part), "{request}");
    }
}

/// A page of drain commands, which use the same document as rollouts, and whether there is more.
fn drain_commands(page: u32, more: bool) -> Step {
    let one = |n: u32| {
        let id = format!("00000000-0000-0000-0000-{n:012}");
        let at = 1_700_000_000 + n;
        format!(
            r#"{{"CommandId":"{id}","Comment":"drain","Status":"Success","RequestedDateTime":{at}}}"#
        )
    };
    let commands: Vec<String> = (0..50).map(one).collect();
    let token = if more { format!(r#","NextToken":"after-{page}""#) } else { String::new() };
    Step::Answer(200, format!(r#"{{"Commands":[{}]{token}}}"#, commands.join(",")))
}

#[tokio::test]
async fn an_order_behind_a_thousand_drain_commands_is_looked_for_or_unknown_and_never_absent() {
    let rollouts = |endpoint: &Endpoint| {
        let group = GroupName::new("group");
        Rollouts::new(&endpoint.aws(), "staging", group, "GhostHands-Host".to_owned())
    };
    let since = UnixMs(1_700_000_000_000);
    let endpoint = Endpoint::start((1..=20).map(|page| drain_commands(page, page < 20))).await;
    let found = rollouts(&endpoint).recent(since).await;
    assert!(matches!(found, Reading::Known(commands) if commands.is_empty()));
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 20, "to the end");
    assert!(requests.iter().all(|request| request.contains("InvokedAfter")), "{}", requests[0]);

    let endpoint = Endpoint::start((1..=21).map(|page| drain_commands(page, true))).await;
    let Reading::Unknown(unknown) = rollouts(&endpoint).recent(since).await else {
        panic!("what is not listed would count as not sent")
    };
    assert!(unknown.detail.contains("more than 20 pages"), "{unknown:?}");
}

#[tokio::test]
async fn a_secret_is_read_once_in_five_minutes_and_again_on_demand() {
    let version = |value: &str| {
        let text = format!(r#"{{\"KEY\":\"{value}\"}}"#);
        Step::Answer(200, format!(r#"{{"Name":"s","SecretString":"{text}"}}"#))
    };
    let endpoint = Endpoint::start([
        version("one"),
        version("two"),
        Step::Answer(400, r#"{"__type":"ResourceNotFoundException"}"#.to_owned()),
        version("three"),
    ])
    .await;
    let secrets = Secrets::new(&endpoint.aws(), "s");
    assert_eq!(secrets.value("KEY").await.unwrap().expose_secret(), "one");
    assert_eq!(secrets.value("KEY").await.unwrap().expose_secret(), "one");
    assert_eq!(endpoint.requests().len(), 1);
    secrets.fetch(Stage::Current).await.unwrap();
    assert_eq!(secrets.value("KEY").await.unwrap().expose_secret(), "two");
    let error = secrets.fetch(Stage::Previous).await.unwrap_err();
    assert!(matches!(error, SecretError::Missing { stage: "AWSPREVIOUS", .. }), "{error}");
    assert!(endpoint.requests()[2].contains("AWSPREVIOUS"));
    // A key that is not there may have been added since, so it is looked for again.
    let error = secrets.value("OTHER").await.unwrap_err();
    assert!(matches!(error, SecretError::KeyMissing { .. }), "{error}");
    assert_eq!(endpoint.requests().len(), 4);
}

#[tokio::test]
async fn nobody_there_and_silence_are_unknown_within_the_ticks_budget() {
    let port_of_nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = AutoScaling::new(&aws(&format!("http://{port_of_nobody}")));
    let Reading::Unknown(unknown) = client.describe(&asg()).await else { panic!("known") };
    assert_eq!(unknown.cause, UnknownCause::Unreachable, "{unknown:?}");
    assert!(unknown.detail.contains("refused"), "{unknown:?}");

    let endpoint = Endpoint::start((0..4).map(|_| Step::Silence)).await;
    let began = Instant::now();
    let client = AutoScaling::new(&endpoint.aws());
    let Reading::Unknown(unknown) = client.describe(&asg()).await else { panic!("known") };
    assert_eq!(unknown.cause, UnknownCause::TimedOut, "{unknown:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
