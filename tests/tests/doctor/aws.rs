//! What AWS tells: the group, its hook, its instances, secrets, documents, alarms.

use crate::world::*;
use aws_double::HookSpec;
use serde_json::json;
use std::time::Duration;

/// AWS's own words when a quota is used up.
const QUOTA: &str = "You have requested more vCPU capacity than your current vCPU limit of 16 \
                     allows for the instance bucket. Launching EC2 instance failed.";

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_start_is_named_in_awss_own_words() {
    let world = World::start().await;
    world.double.fail_launches(GROUP, Some(QUOTA)).expect("the group is there");
    world.auto_scaling("SetDesiredCapacity", "&DesiredCapacity=3").await;
    let found = world.doctor().await;
    assert_eq!(found.code, 1);
    let fix = "aws autoscaling describe-scaling-activities";
    found.names("instances", "launches", QUOTA, fix);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_missing_or_not_ours_is_named() {
    let world = World::of(Setup { group: group(), ..Setup::default() }).await;
    let found = world.doctor().await;
    let put = "put-lifecycle-hook --auto-scaling-group-name ghosthands-worker-asg";
    found.names("group", "drain hook", "has no hook ghosthands-drain-hook (none at all)", put);
    found.names("group", "retention", "is ended, with its job", "TerminateHookAbandon=retain");

    let group = group().hook(HookSpec::terminating("somebodys-hook", 300)).retain_on_abandon();
    let world = World::of(Setup { group, ..Setup::default() }).await;
    let found = world.doctor().await;
    found.names("group", "drain hook", "ghosthands-drain-hook (somebodys-hook)", put);
    found.is("warning", "group", "other hooks", "somebodys-hook", "delete-lifecycle-hook");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_holds_nothing_or_not_long_enough_is_named() {
    let world = World::start().await;
    let hook = |result: &str, seconds: u32| {
        format!(
            "&LifecycleHookName={HOOK}&HeartbeatTimeout={seconds}&DefaultResult={result}\
             &LifecycleTransition=autoscaling:EC2_INSTANCE_TERMINATING"
        )
    };
    for (result, seconds, state, says) in [
        ("CONTINUE", 300, "fault", "ends in CONTINUE: an instance goes with its job"),
        ("ABANDON", 60, "fault", "runs out after 60 s"),
        ("ABANDON", 600, "warning", "runs out after 600 s, not 300 s"),
    ] {
        world.auto_scaling("PutLifecycleHook", &hook(result, seconds)).await;
        let found = world.doctor().await;
        found.is(state, "group", "drain hook", says, "--heartbeat-timeout 300");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_hook_ran_out_is_named() {
    let ago = Duration::from_secs(400);
    let world = World::of(Setup { ago, ..Setup::default() }).await;
    let first = world.instances().remove(0);
    world.double.terminate_instance(&first, true).expect("it is there");
    world.double.advance(ago).await.expect("a manual clock");
    let found = world.doctor().await;
    let says = format!("{first} was kept when its hook ran out");
    found.names("instances", "waits", &says, "docs/runbooks/drain-retained.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_stuck_in_terminating_wait_is_named_with_its_job() {
    let ago = Duration::from_secs(900);
    let group = group().hook(HookSpec::terminating(HOOK, 3600)).retain_on_abandon();
    let world = World::of(Setup { ago, group, ..Setup::default() }).await;
    let [first, second] = <[String; 2]>::try_from(world.instances()).expect("two");
    for id in [&first, &second] {
        world.double.terminate_instance(id, true).expect("it is there");
    }
    world.double.advance(ago).await.expect("a manual clock");
    let found = world.doctor().await;
    let says = " s, and its worker has no job";
    found.names("instances", "waits", says, "complete-lifecycle-action");
    world.sql(
        "INSERT INTO gh_automation_jobs DEFAULT VALUES; UPDATE gh_worker_registry \
         SET current_job_id = (SELECT id FROM gh_automation_jobs)",
    );
    let found = world.doctor().await;
    let says = " s, with a job";
    found.is("warning", "instances", "waits", says, "ghfleet machine i-");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_documents_and_the_launch_template_are_named() {
    let world = World::start().await;
    let first = world.instances().remove(0);
    world.double.set_agent_online(&first, false);
    let template = world.double.group(GROUP).expect("the group is there").template.id;
    world.double.delete_launch_template(&template);
    let found = world.doctor().await;
    assert_eq!(found.code, 1);
    found.names("hosts", "SSM agents", &format!("offline on {first}"), "get-console-output");
    let says = "InvalidLaunchTemplateId.NotFound";
    found.names("group", "launch template", says, "describe-launch-template-versions");
    // One of before, which knows no take-back.
    let content = json!({
        "schemaVersion": "2.2", "description": "d",
        "parameters": { "Action": {
            "type": "String", "description": "d", "allowedValues": ["drain", "deploy"],
        }},
        "mainSteps": [{ "name": "run", "action": "aws:runShellScript", "inputs": { "runCommand": ["true"] } }],
    });
    world.double.create_document("Older", &content.to_string()).expect("a valid document");
    let found = world.doctor_with(&["--document", "Older"], &[]).await;
    found.names("hosts", "SSM document", "is an older one: it lacks rollback", "sam deploy");
    found.names("hosts", "survey document", "InvalidDocument", "sam deploy");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_secret_lacks_are_named_and_no_value_is_shown() {
    let world = World::start().await;
    let fleet = json!({ "DATABASE_URL": world.url });
    world.double.put_secret(FLEET_SECRET, &fleet.to_string()).expect("kept");
    let hosts = host_secret(&["GH_SERVICE_SECRET"]);
    world.double.put_secret(HOST_SECRET, &hosts.to_string()).expect("kept");
    // Without tokens the control plane answers nobody, and does not say what it is called either.
    let found = world.doctor_with(&["--environment", "test"], &[]).await;
    assert_eq!(found.code, 1);
    let put = "aws secretsmanager put-secret-value --secret-id ghosthands/test/fleet";
    found.names("secrets", "fleet's secret", "FLEET_TOKENS nor FLEET_OPERATOR_TOKEN", put);
    found.names("secrets", "hosts' secret", "lacks GH_SERVICE_SECRET", "put-secret-value");

    let mut hosts = host_secret(&[]);
    hosts["FLEET_TOKENS"] = json!("{}");
    world.double.put_secret(HOST_SECRET, &hosts.to_string()).expect("kept");
    let found = world.doctor_with(&["--environment", "test"], &[]).await;
    found.names("secrets", "hosts' secret", "refuse the whole secret: FLEET_TOKENS", "put-secret");
    let elsewhere = ["--environment", "test", "--host-secret", "ghosthands/none"];
    let found = world.doctor_with(&elsewhere, &[]).await;
    found.names("secrets", "hosts' secret", "ghosthands/none", "create-secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_that_fire_or_reach_nobody_and_a_small_quota_are_named() {
    let world = World::start().await;
    world.double.put_alarm(alarm("ghosthands-test-drain-stuck", "ALARM"));
    world.double.set_account_concurrency(10);
    let found = world.doctor().await;
    let runbook = "less docs/runbooks/drain-stuck.md";
    found.names("alarms", "alarms", "in alarm: drain-stuck", runbook);
    found.is("warning", "alarms", "concurrency", "10 invocations", "L-B99A9384");
    let other = "arn:aws:sns:us-east-1:123456789012:nobody";
    world.double.subscribe_to(other, "email", false);
    let mut mute = alarm("ghosthands-test-drain-stuck", "OK");
    mute.actions = vec![other.to_owned()];
    world.double.put_alarm(mute.clone());
    let found = world.doctor().await;
    found.names("alarms", "topic", "none has confirmed", "aws sns subscribe");
    mute.actions = Vec::new();
    world.double.put_alarm(mute);
    let found = world.doctor().await;
    found.names("alarms", "topic", "they tell nobody", "AlarmEmail=");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_named() {
    // AWS is behind, so this machine, the control plane and the database are ahead of it.
    let ago = Duration::from_secs(400);
    let world = World::of(Setup { ago, ..Setup::default() }).await;
    let found = world.doctor().await;
    for check in ["this machine", "control plane", "database"] {
        found.names("clocks", check, "s ahead", "timedatectl status");
    }
}
