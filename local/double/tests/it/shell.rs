//! Commands that really run: a shell per host, what comes back, and who is left when it is killed.

use std::path::PathBuf;
use std::time::Duration;

use aws_double::{Double, DoubleConfig, GroupSpec, InvocationState, LifecycleState, ShellRunner};
use serde_json::{Value, json};

use crate::aws::{send_shell, ssm};
use crate::common::{alive, eventually};

/// A double on the machine's clock with one instance in service, whose agent has a shell.
async fn host() -> (Double, String) {
    let double = Double::start(DoubleConfig::default()).await.expect("a free port");
    double.set_runner(ShellRunner::new().env("HOST_SOCKET", "/run/host.sock"));
    double.create_group(GroupSpec::new("fleet", 1, 1).boot(Duration::ZERO)).expect("a group");
    let serving =
        || double.group("fleet").is_some_and(|g| g.instances[0].state == LifecycleState::InService);
    eventually("it is in service", serving).await;
    let id = double.group("fleet").expect("it exists").instances[0].id.clone();
    (double, id)
}

fn state(double: &Double) -> InvocationState {
    double.commands()[0].invocations[0].state
}

/// A script that leaves a child behind, and the file with the child's process id.
struct Family(PathBuf);

impl Family {
    fn new(name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("double-{name}-{}", std::process::id()));
        std::fs::remove_file(&file).ok();
        Self(file)
    }

    fn script(&self) -> Vec<String> {
        let file = self.0.display();
        vec![
            "sleep 600 &".to_owned(),
            format!("echo $! > {file}.new && mv {file}.new {file}"),
            "wait".to_owned(),
        ]
    }

    async fn child(&self) -> u64 {
        eventually("the script runs", || self.0.exists()).await;
        let text = std::fs::read_to_string(&self.0).expect("readable");
        text.trim().parse().expect("a process id")
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

async fn invocation(double: &Double, instance: &str, command: &str) -> Value {
    let which = json!({ "CommandId": command, "InstanceId": instance });
    ssm(double, "GetCommandInvocation", &which).await.expect("it exists")
}

#[tokio::test]
async fn a_script_runs_and_its_exit_code_and_output_come_back() {
    let (double, id) = host().await;
    let script = [
        "echo \"$AWS_SSM_INSTANCE_ID $SSM_COMMAND_ID $HOST_SOCKET\"",
        "pwd",
        "echo not good >&2",
        "exit 3",
    ];
    let parameters = json!({ "commands": script, "workingDirectory": ["/"] });
    let command = send_shell(&double, &id, &parameters).await;
    eventually("it ended", || state(&double) == InvocationState::Failed).await;
    let told = invocation(&double, &id, &command).await;
    assert_eq!((&told["Status"], &told["ResponseCode"]), (&json!("Failed"), &json!(3)));
    assert_eq!(told["StandardOutputContent"], format!("{id} {command} /run/host.sock\n/\n"));
    let error = told["StandardErrorContent"].as_str().expect("text");
    assert_eq!(error, "not good\nfailed to run commands: exit status 3");
}

#[tokio::test]
async fn a_cancel_kills_the_whole_process_group() {
    let (double, id) = host().await;
    let family = Family::new("cancel");
    let command = send_shell(&double, &id, &json!({ "commands": family.script() })).await;
    let child = family.child().await;
    assert!(alive(child));
    ssm(&double, "CancelCommand", &json!({ "CommandId": command })).await.expect("accepted");
    eventually("the child is gone", || !alive(child)).await;
    eventually("it ended", || state(&double) == InvocationState::Cancelled).await;
    assert_eq!(invocation(&double, &id, &command).await["ResponseCode"], -1);
}

#[tokio::test]
async fn the_time_limit_kills_the_whole_process_group() {
    let (double, id) = host().await;
    let family = Family::new("limit");
    let parameters = json!({ "commands": family.script(), "executionTimeout": ["15"] });
    let command = send_shell(&double, &id, &parameters).await;
    let child = family.child().await;
    eventually("the child is gone", || !alive(child)).await;
    eventually("it ended", || state(&double).is_terminal()).await;
    let told = invocation(&double, &id, &command).await;
    assert_eq!(
        (&told["Status"], &told["StatusDetails"]),
        (&json!("TimedOut"), &json!("ExecutionTimedOut"))
    );
}

#[tokio::test]
async fn an_agent_dies_with_what_it_runs_and_nobody_hears_of_it() {
    let (double, id) = host().await;
    let family = Family::new("agent");
    send_shell(&double, &id, &json!({ "commands": family.script() })).await;
    let child = family.child().await;
    double.kill_agent(&id);
    eventually("the child is gone", || !alive(child)).await;
    assert_eq!(state(&double), InvocationState::InProgress);
    let listed = ssm(&double, "DescribeInstanceInformation", &json!({})).await.expect("listed");
    assert_eq!(listed["InstanceInformationList"][0]["PingStatus"], "ConnectionLost");
    double.set_agent_online(&id, true);
    let again = send_shell(&double, &id, &json!({ "commands": ["true"] })).await;
    let done = || double.commands()[1].invocations[0].state == InvocationState::Success;
    eventually("the next command runs", done).await;
    assert_eq!(invocation(&double, &id, &again).await["StandardOutputContent"], "");
}

#[tokio::test]
async fn a_machine_that_dies_takes_its_commands_with_it() {
    let (double, id) = host().await;
    let family = Family::new("machine");
    let command = send_shell(&double, &id, &json!({ "commands": family.script() })).await;
    let child = family.child().await;
    double.lose_instance(&id).expect("it exists");
    eventually("the child is gone", || !alive(child)).await;
    assert_eq!(invocation(&double, &id, &command).await["Status"], "InProgress");
    let send = json!({ "DocumentName": "AWS-RunShellScript", "InstanceIds": [id], "Parameters": { "commands": ["true"] } });
    assert_eq!(ssm(&double, "SendCommand", &send).await, Err("InvalidInstanceId".to_owned()));
}

#[tokio::test]
async fn nothing_runs_on_when_the_double_has_ended() {
    let (double, id) = host().await;
    let family = Family::new("double");
    send_shell(&double, &id, &json!({ "commands": family.script() })).await;
    let child = family.child().await;
    drop(double);
    eventually("the child is gone", || !alive(child)).await;
}
