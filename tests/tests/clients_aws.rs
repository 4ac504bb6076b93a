//! The AWS clients against the AWS double: what a group, a parameter and a secret are, and what may
//! go wrong with them.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use aws_double::{Call, ClockMode, Double, DoubleConfig, GroupSpec, LifecycleState};
use fleet_clients::auto_scaling::AutoScaling;
use fleet_clients::aws::{Aws, AwsErrorKind};
use fleet_clients::config::{AutoscaleConfig, DATABASE_URL_KEY};
use fleet_clients::parameters::Parameters;
use fleet_clients::secrets::{SecretError, Secrets, Stage};
use fleet_core::scaling::{Group, RefreshStatus};
use fleet_lambda::{Gate, Refusal, Scope};
use fleet_protocol::ids::{GroupName, InstanceId};
use fleet_protocol::reading::{Reading, UnknownCause};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECRET: &str = "ghosthands/test/fleet";
const PARAMETER: &str = "/ghosthands/test/autoscale/state";

struct World {
    double: Double,
    aws: Aws,
}

impl World {
    /// A double with a group `asg` of minimum 1, maximum 4 and three instances in service, on a
    /// clock that stands still.
    async fn start() -> Self {
        World::at("2026-11-23T12:00:00Z".parse().unwrap()).await
    }

    async fn at(time: jiff::Timestamp) -> Self {
        let clock = ClockMode::Manual(time);
        let double =
            Double::start(DoubleConfig { clock, ..DoubleConfig::default() }).await.unwrap();
        let group = GroupSpec::new("asg", 1, 4)
            .desired(3)
            .boot(Duration::from_secs(30))
            .tag("ghosthands:floor", "2@2026-12-01T00:00:00Z")
            .tag("Name", "worker");
        double.create_group(group).unwrap();
        double.advance(Duration::from_secs(60)).await.unwrap();

        let mut env: BTreeMap<String, String> = double.aws_env().into_iter().collect();
        env.insert("AWS_ASG_NAME".to_owned(), "asg".to_owned());
        env.insert("GH_ENVIRONMENT".to_owned(), "test".to_owned());
        let aws = Aws::new(&AutoscaleConfig::from_env(&env).unwrap().aws);
        double.clear_calls();
        Self { double, aws }
    }

    fn auto_scaling(&self) -> AutoScaling {
        AutoScaling::new(&self.aws)
    }

    fn desired(&self) -> u32 {
        self.double.group("asg").unwrap().desired
    }

    fn calls(&self, action: &str) -> Vec<Call> {
        self.double.calls().into_iter().filter(|call| call.action == action).collect()
    }
}

fn asg() -> GroupName {
    GroupName::new("asg")
}

fn known(reading: Reading<Group>) -> Group {
    match reading {
        Reading::Known(group) => group,
        Reading::Unknown(unknown) => panic!("{unknown:?}"),
    }
}

#[tokio::test]
async fn a_group_is_described_as_it_is() {
    let world = World::start().await;
    let group = known(world.auto_scaling().describe(&asg()).await);
    assert_eq!((group.min, group.max, group.desired), (1, 4, 3));
    assert_eq!(group.instances.len(), 3);
    assert!(group.instances.iter().all(|instance| {
        instance.lifecycle.is_capacity() && instance.healthy && !instance.protected
    }));
    let tags: Vec<&str> = group.tags.iter().map(|tag| tag.value.as_str()).collect();
    assert_eq!(tags, ["2@2026-12-01T00:00:00Z"], "only our own tags");
    let refresh = world.auto_scaling().refresh_status(&asg()).await;
    assert_eq!(refresh, Reading::Known(RefreshStatus::None));
}

#[tokio::test]
async fn a_missing_group_is_unknown_and_says_what_to_check() {
    let world = World::start().await;
    let reading = world.auto_scaling().describe(&GroupName::new("typo")).await;
    let Reading::Unknown(unknown) = reading else { panic!("{reading:?}") };
    assert_eq!(unknown.cause, UnknownCause::Missing);
    assert!(unknown.detail.contains("typo") && unknown.detail.contains("AWS_ASG_NAME"));
}

#[tokio::test]
async fn throttling_is_waited_out_within_the_ticks_budget() {
    let world = World::start().await;
    for action in ["DescribeAutoScalingGroups", "SetDesiredCapacity", "GetParameter"] {
        world.double.faults().throttle(action, 2);
    }
    let began = Instant::now();
    known(world.auto_scaling().describe(&asg()).await);
    world.auto_scaling().set_desired(&asg(), 4).await.unwrap();
    assert_eq!(Parameters::new(&world.aws).get(PARAMETER).await, Reading::Known(None));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    for action in ["DescribeAutoScalingGroups", "SetDesiredCapacity", "GetParameter"] {
        assert_eq!(world.calls(action).len(), 3, "{action}");
    }
    assert_eq!(world.desired(), 4);

    world.double.faults().throttle("DescribeAutoScalingGroups", 100);
    let began = Instant::now();
    let reading = world.auto_scaling().describe(&asg()).await;
    let Reading::Unknown(unknown) = reading else { panic!("{reading:?}") };
    assert_eq!(unknown.cause, UnknownCause::Failed);
    assert!(unknown.detail.contains("Throttling"), "{unknown:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_desired_capacity_stays_inside_the_groups_own_bounds() {
    let world = World::start().await;
    for outside in [0, 5] {
        let error = world.auto_scaling().set_desired(&asg(), outside).await.unwrap_err();
        assert_eq!(error.kind, AwsErrorKind::Invalid, "{error:?}");
        assert!(!error.is_transient());
        assert_eq!(world.desired(), 3);
    }
    world.auto_scaling().set_desired(&asg(), 4).await.unwrap();
    assert_eq!(world.desired(), 4);
}

#[tokio::test]
async fn the_named_instance_ends_and_none_takes_its_place() {
    let world = World::start().await;
    let group = known(world.auto_scaling().describe(&asg()).await);
    let victim = &group.instances[1].id;
    world.auto_scaling().terminate_and_decrement(victim).await.unwrap();
    assert_eq!(world.desired(), 2);
    let after = world.double.group("asg").unwrap();
    let state = |id: &InstanceId| {
        after.instances.iter().find(|instance| instance.id == id.as_str()).map(|it| it.state)
    };
    assert_ne!(state(victim), Some(LifecycleState::InService));
    assert_eq!(state(&group.instances[0].id), Some(LifecycleState::InService));
    assert_eq!(state(&group.instances[2].id), Some(LifecycleState::InService));
}

#[tokio::test]
async fn at_the_minimum_nothing_is_ended() {
    let world = World::start().await;
    let group = known(world.auto_scaling().describe(&asg()).await);
    for instance in &group.instances[..2] {
        world.auto_scaling().terminate_and_decrement(&instance.id).await.unwrap();
    }
    let last = &group.instances[2].id;
    let error = world.auto_scaling().terminate_and_decrement(last).await.unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::Invalid, "{error:?}");
    assert_eq!(world.desired(), 1);

    let nobody = InstanceId::new("i-0123456789abcdef0");
    let error = world.auto_scaling().terminate_and_decrement(&nobody).await.unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::Invalid, "{error:?}");
}

/// The answer is lost after the work was done: asking again might lower the capacity twice.
#[tokio::test]
async fn a_lost_answer_to_an_ending_is_not_asked_for_again() {
    let world = World::start().await;
    let group = known(world.auto_scaling().describe(&asg()).await);
    world.double.faults().lose_reply("TerminateInstanceInAutoScalingGroup", 1);
    let error =
        world.auto_scaling().terminate_and_decrement(&group.instances[0].id).await.unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::Unreachable, "{error:?}");
    assert!(error.is_transient());
    assert_eq!(world.calls("TerminateInstanceInAutoScalingGroup").len(), 1);
    assert_eq!(world.desired(), 2);

    world.double.faults().throttle("TerminateInstanceInAutoScalingGroup", 1);
    world.auto_scaling().terminate_and_decrement(&group.instances[1].id).await.unwrap();
    assert_eq!(world.calls("TerminateInstanceInAutoScalingGroup").len(), 3);
    assert_eq!(world.desired(), 1);
}

#[tokio::test]
async fn a_dropped_connection_is_opened_again() {
    let world = World::start().await;
    world.double.faults().drop_connection("DescribeAutoScalingGroups", 1);
    known(world.auto_scaling().describe(&asg()).await);
    world.double.faults().lose_reply("SetDesiredCapacity", 1);
    world.auto_scaling().set_desired(&asg(), 2).await.unwrap();
    assert_eq!(world.desired(), 2);
    assert_eq!(world.calls("SetDesiredCapacity").len(), 2);
}

#[tokio::test]
async fn a_slow_answer_is_an_unknown_in_time() {
    let world = World::start().await;
    world.double.faults().delay("DescribeAutoScalingGroups", 10, Duration::from_secs(20));
    let began = Instant::now();
    let reading = world.auto_scaling().describe(&asg()).await;
    let Reading::Unknown(unknown) = reading else { panic!("{reading:?}") };
    assert_eq!(unknown.cause, UnknownCause::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_parameter_is_kept_word_for_word_and_its_absence_is_known() {
    let world = World::start().await;
    let parameters = Parameters::new(&world.aws);
    assert_eq!(parameters.get(PARAMETER).await, Reading::Known(None));
    for text in [r#"{"v":1,"hold":[]}"#, "{broken", "später — 3 a.m."] {
        parameters.put(PARAMETER, text).await.unwrap();
        assert_eq!(world.double.parameter(PARAMETER).as_deref(), Some(text));
        assert_eq!(parameters.get(PARAMETER).await, Reading::Known(Some(text.to_owned())));
    }
    let too_long = "x".repeat(4097);
    let error = parameters.put(PARAMETER, &too_long).await.unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::Invalid, "{error:?}");

    world.double.faults().fail("GetParameter", 10, 400, "AccessDeniedException", "not allowed");
    let reading = parameters.get(PARAMETER).await;
    let Reading::Unknown(unknown) = reading else { panic!("{reading:?}") };
    assert_eq!(unknown.cause, UnknownCause::Failed);
    assert!(unknown.detail.contains("not allowed"), "{unknown:?}");
}

#[tokio::test]
async fn a_secret_has_a_current_and_after_a_rotation_a_previous_version() {
    let world = World::start().await;
    let secrets = Secrets::new(&world.aws, SECRET);
    let error = secrets.value(DATABASE_URL_KEY).await.unwrap_err();
    assert!(matches!(error, SecretError::Missing { .. }), "{error:?}");

    world.double.put_secret(SECRET, r#"{"DATABASE_URL": "postgresql://one"}"#).unwrap();
    let error = secrets.fetch(Stage::Previous).await.unwrap_err();
    assert!(matches!(error, SecretError::Missing { .. }), "{error:?}");
    assert_eq!(secrets.value(DATABASE_URL_KEY).await.unwrap().expose_secret(), "postgresql://one");

    world.double.put_secret(SECRET, r#"{"DATABASE_URL": "postgresql://two"}"#).unwrap();
    assert_eq!(secrets.value(DATABASE_URL_KEY).await.unwrap().expose_secret(), "postgresql://one");
    for (stage, url) in
        [(Stage::Current, "postgresql://two"), (Stage::Previous, "postgresql://one")]
    {
        let fields = secrets.fetch(stage).await.unwrap();
        assert_eq!(fields.get(DATABASE_URL_KEY).unwrap().expose_secret(), url);
    }
    assert_eq!(secrets.value(DATABASE_URL_KEY).await.unwrap().expose_secret(), "postgresql://two");

    world.double.put_secret(SECRET, "postgresql://hunter2").unwrap();
    let error = secrets.fetch(Stage::Current).await.unwrap_err();
    assert!(matches!(error, SecretError::NotAnObject { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_rotation_locks_nobody_out_of_either_role() {
    let world = World::at(jiff::Timestamp::now()).await;
    let tokens = |n: &str| {
        format!(
            r#"{{"FLEET_OPERATOR_TOKEN": "operator-token-{n}", "FLEET_READER_TOKEN": "reader-token-{n}"}}"#
        )
    };
    let gate = || Gate::new(None, Arc::new(Secrets::new(&world.aws, SECRET)));
    let check = async |gate: &Gate<_>, token: &str| {
        let caller = gate.check(Some(&format!("Bearer {token}")), Scope::Read).await;
        caller.map(|caller| caller.name().to_owned())
    };
    let (operator, reader) = (Ok("operator".to_owned()), Ok("reader".to_owned()));
    let first = r#"{"FLEET_OPERATOR_TOKEN": "operator-token-first"}"#;
    world.double.put_secret(SECRET, first).unwrap();
    let before = gate();
    assert_eq!(check(&before, "operator-token-first").await, operator);
    assert_eq!(check(&before, "reader-token-second").await, Err(Refusal::Wrong));
    assert_eq!(before.check(None, Scope::Read).await, Err(Refusal::Missing));

    world.double.put_secret(SECRET, &tokens("second")).unwrap();
    let after = gate();
    assert_eq!(check(&after, "operator-token-second").await, operator);
    assert_eq!(check(&after, "reader-token-second").await, reader);
    assert_eq!(check(&after, "operator-token-first").await, operator);

    world.double.put_secret(SECRET, &tokens("third")).unwrap();
    let later = gate();
    assert_eq!(check(&later, "reader-token-second").await, reader);
    assert_eq!(check(&later, "operator-token-first").await, Err(Refusal::Wrong));
    world.double.faults().fail("GetSecretValue", 10, 400, "AccessDeniedException", "not allowed");
    assert_eq!(check(&gate(), "operator-token-third").await, Err(Refusal::Unavailable));
    world.double.faults().clear();
    world.double.put_secret(SECRET, r#"{"FLEET_READER_TOKEN": "reader-token-third"}"#).unwrap();
    assert_eq!(
        check(&gate(), "reader-token-third").await,
        Err(Refusal::Unavailable),
        "nobody could operate"
    );
}
