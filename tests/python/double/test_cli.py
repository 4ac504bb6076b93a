"""The AWS CLI against the double: every call that the fleet makes, and the seed's own commands."""

import json


def test_capacity(double, cli):
    double.group("fleet", desired=3)
    group = cli(
        "autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", "fleet"
    )
    (group,) = group["AutoScalingGroups"]
    instances = [instance["InstanceId"] for instance in group["Instances"]]
    assert (group["DesiredCapacity"], len(instances)) == (3, 3)
    assert (
        cli(
            "autoscaling",
            "set-desired-capacity",
            "--auto-scaling-group-name",
            "fleet",
            "--desired-capacity",
            "4",
        )
        is None
    )
    error = cli(
        "autoscaling",
        "set-desired-capacity",
        "--auto-scaling-group-name",
        "fleet",
        "--desired-capacity",
        "9",
        fails=True,
    )
    assert (
        "(ValidationError) when calling the SetDesiredCapacity operation: "
        "New SetDesiredCapacity value 9" in error
    )
    activity = cli(
        "autoscaling",
        "terminate-instance-in-auto-scaling-group",
        *("--instance-id", instances[0], "--should-decrement-desired-capacity"),
    )["Activity"]
    assert activity["StatusCode"] == "InProgress"
    listed = cli("autoscaling", "describe-auto-scaling-instances", "--instance-ids", instances[0])
    assert listed["AutoScalingInstances"][0]["LifecycleState"] == "Terminating"
    history = cli(
        "autoscaling",
        "describe-scaling-activities",
        "--auto-scaling-group-name",
        "fleet",
        "--max-items",
        "1",
    )
    assert len(history["Activities"]) == 1 and "NextToken" in history


def test_overrides_by_tag(double, cli):
    double.group("fleet")
    tag = (
        "ResourceId=fleet,ResourceType=auto-scaling-group,"
        "Key=ghosthands:paused,Value=true@2026-01-01T01:00:00Z"
    )
    cli("autoscaling", "create-or-update-tags", "--tags", tag + ",PropagateAtLaunch=false")
    found = cli(
        "autoscaling",
        "describe-auto-scaling-groups",
        "--filters",
        "Name=tag-key,Values=ghosthands:paused",
    )
    (group,) = found["AutoScalingGroups"]
    assert group["Tags"][0]["Value"] == "true@2026-01-01T01:00:00Z"


def test_hooks(double, cli):
    double.group("fleet", desired=2)
    names = ("--auto-scaling-group-name", "fleet", "--lifecycle-hook-name", "ghosthands-drain-hook")
    cli(
        "autoscaling",
        "put-lifecycle-hook",
        *names,
        *(
            "--lifecycle-transition",
            "autoscaling:EC2_INSTANCE_TERMINATING",
            "--heartbeat-timeout",
            "300",
        ),
    )
    cli(
        "autoscaling",
        "set-desired-capacity",
        "--auto-scaling-group-name",
        "fleet",
        "--desired-capacity",
        "1",
    )
    (victim, _) = cli("autoscaling", "describe-auto-scaling-instances")["AutoScalingInstances"]
    assert victim["LifecycleState"] == "Terminating:Wait"
    cli(
        "autoscaling",
        "record-lifecycle-action-heartbeat",
        *names,
        "--instance-id",
        victim["InstanceId"],
    )
    done = ("--lifecycle-action-result", "CONTINUE", "--instance-id", victim["InstanceId"])
    cli("autoscaling", "complete-lifecycle-action", *names, *done)
    error = cli("autoscaling", "complete-lifecycle-action", *names, *done, fails=True)
    assert "No active Lifecycle Action found with instance ID" in error


def test_refreshes(double, cli):
    double.group("fleet")
    group = ("--auto-scaling-group-name", "fleet")
    started = cli("autoscaling", "start-instance-refresh", *group)["InstanceRefreshId"]
    (refresh,) = cli("autoscaling", "describe-instance-refreshes", *group)["InstanceRefreshes"]
    assert (refresh["InstanceRefreshId"], refresh["Status"]) == (started, "InProgress")


def test_parameters_and_secrets(cli):
    assert (
        cli("ssm", "put-parameter", "--name", "/fleet/state", "--value", "v1", "--type", "String")[
            "Version"
        ]
        == 1
    )
    assert cli("ssm", "get-parameter", "--name", "/fleet/state")["Parameter"]["Value"] == "v1"
    assert "(ParameterNotFound)" in cli("ssm", "get-parameter", "--name", "/absent", fails=True)
    secret = json.dumps({"DATABASE_URL": "postgres://x"})
    cli("secretsmanager", "create-secret", "--name", "ghosthands/dev", "--secret-string", secret)
    cli(
        "secretsmanager",
        "put-secret-value",
        "--secret-id",
        "ghosthands/dev",
        "--secret-string",
        "{}",
    )
    for stage, text in (("AWSCURRENT", "{}"), ("AWSPREVIOUS", secret)):
        found = cli(
            "secretsmanager",
            "get-secret-value",
            "--secret-id",
            "ghosthands/dev",
            "--version-stage",
            stage,
        )
        assert found["SecretString"] == text
    assert cli("sts", "get-caller-identity")["Account"] == "000000000000"


def test_commands(double, cli, tmp_path):
    document = {
        "schemaVersion": "2.2",
        "parameters": {"action": {"type": "String", "allowedValues": ["drain"]}},
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "host",
                "inputs": {"runCommand": ["host {{ action }}"]},
            }
        ],
    }
    (tmp_path / "host.json").write_text(json.dumps(document))
    name = ("--name", "GhostHands-Host")
    content = ("--content", f"file://{tmp_path}/host.json", "--document-type", "Command")
    assert (
        cli("ssm", "create-document", *name, *content)["DocumentDescription"]["Status"] == "Active"
    )
    assert cli("ssm", "describe-document", *name)["Document"]["Parameters"][0]["Name"] == "action"
    assert json.loads(cli("ssm", "get-document", *name)["Content"]) == document

    double.control(
        "POST", "/commands/runner", {"outputs": [{"stdout": "drained"}, {"exit_code": 1}]}
    )
    double.group("fleet", desired=1)
    (agent,) = cli("ssm", "describe-instance-information", "--max-items", "5")[
        "InstanceInformationList"
    ]
    host = agent["InstanceId"]
    (reservation,) = cli("ec2", "describe-instances", "--instance-ids", host)["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "running"

    def send(*targets):
        send = (
            "ssm",
            "send-command",
            "--document-name",
            "GhostHands-Host",
            "--timeout-seconds",
            "30",
        )
        sent = cli(
            *send,
            *targets,
            "--parameters",
            "action=drain",
            "--max-concurrency",
            "50%",
            "--max-errors",
            "0",
        )
        double.advance(0)
        return sent["Command"]["CommandId"]

    first = send("--targets", "Key=tag:aws:autoscaling:groupName,Values=fleet")
    which = ("--command-id", first, "--instance-id", host)
    assert cli("ssm", "wait", "command-executed", *which) is None
    assert cli("ssm", "get-command-invocation", *which)["StandardOutputContent"] == "drained"
    second = send("--instance-ids", host)
    error = cli(
        "ssm", "wait", "command-executed", "--command-id", second, "--instance-id", host, fails=True
    )
    assert "terminal failure state" in error
    failed = cli("ssm", "list-command-invocations", "--command-id", second, "--details")[
        "CommandInvocations"
    ]
    assert [i["CommandPlugins"][0]["ResponseCode"] for i in failed] == [1]
    assert cli("ssm", "cancel-command", "--command-id", second) is None
    listed = cli("ssm", "list-commands", "--filters", "key=Status,value=Success")["Commands"]
    assert [command["CommandId"] for command in listed] == [first]


def test_labels(cli):
    named = ("--name", "/fleet/deployed")
    cli("ssm", "put-parameter", *named, "--type", "String", "--value", "v1")
    labelled = cli("ssm", "label-parameter-version", *named, "--labels", "stable")
    assert labelled == {"InvalidLabels": [], "ParameterVersion": 1}
    assert (
        cli("ssm", "get-parameter", "--name", "/fleet/deployed:stable")["Parameter"]["Value"]
        == "v1"
    )
