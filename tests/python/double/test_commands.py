"""SSM Run Command through boto3: documents, sending, reading, cancelling, agents, waiters."""

import json

import botocore.exceptions
import pytest
from aws import ids, refused, start

HOST = {
    "schemaVersion": "2.2",
    "description": "What a host can be asked to do.",
    "parameters": {
        "action": {
            "type": "String",
            "allowedValues": ["drain", "deploy"],
            "description": "What to do.",
        },
        "tag": {"type": "String", "allowedPattern": "^[a-z0-9.-]{1,20}$", "default": "none"},
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "host",
            "inputs": {
                "timeoutSeconds": "60",
                "runCommand": ["deploy-server {{ action }} {{ tag }}"],
            },
        }
    ],
}
DRAIN = {
    "DocumentName": "GhostHands-Host",
    "Parameters": {"action": ["drain"]},
    "TimeoutSeconds": 30,
}


@pytest.fixture
def ssm(double):
    """SSM with the document and three hosts whose commands answer at once."""
    ssm = double.client("ssm")
    ssm.create_document(Name="GhostHands-Host", Content=json.dumps(HOST), DocumentType="Command")
    double.control("POST", "/commands/runner", {"outputs": [{"stdout": '{"active":0}'}]})
    double.group("fleet", high=60, desired=3)
    return ssm


@pytest.fixture
def hosts(ssm, autoscaling):
    return ids(autoscaling)


def send(ssm, hosts, **more):
    return ssm.send_command(**DRAIN | {"InstanceIds": hosts} | more)["Command"]


def invocations(ssm, command, **more):
    found = ssm.list_command_invocations(CommandId=command["CommandId"], **more)
    return [(i["InstanceId"], i["Status"], i["StatusDetails"]) for i in found["CommandInvocations"]]


def settle(double):
    """Lets what is due happen and waits for it."""
    double.advance(0)


def test_a_document_is_registered_described_and_read_back(double, ssm):
    document = ssm.describe_document(Name="GhostHands-Host")["Document"]
    assert (document["Owner"], document["Status"], document["DocumentType"]) == (
        "000000000000",
        "Active",
        "Command",
    )
    parameters = {p["Name"]: p for p in document["Parameters"]}
    assert (
        parameters["tag"]["DefaultValue"] == "none" and "DefaultValue" not in parameters["action"]
    )
    assert (
        json.loads(ssm.get_document(Name="GhostHands-Host", DocumentVersion="$LATEST")["Content"])
        == HOST
    )
    assert "runCommand" in ssm.get_document(Name="AWS-RunShellScript")["Content"]
    refused(
        "DocumentAlreadyExists",
        ssm.create_document,
        Name="GhostHands-Host",
        Content=json.dumps(HOST),
    )
    refused("InvalidDocument", ssm.get_document, Name="absent")
    refused("InvalidDocumentVersion", ssm.get_document, Name="GhostHands-Host", DocumentVersion="7")
    ssm.delete_document(Name="GhostHands-Host")
    refused("InvalidDocument", ssm.describe_document, Name="GhostHands-Host")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schemaVersion": "1.2"}, "2.2"),
        ({"mainSteps": []}, "exactly one step"),
        ({"files": {}}, "files"),
        ({"parameters": {}}, "{{ action }}"),
        (
            {
                "parameters": {
                    "action": {"type": "String", "default": "a b", "allowedPattern": "^a$"}
                }
            },
            "allowedPattern",
        ),
    ],
)
def test_a_document_that_aws_or_the_double_cannot_take_is_refused(double, change, reason):
    ssm = double.client("ssm")
    content = json.dumps(HOST | change)
    assert reason in refused(
        "InvalidDocumentContent", ssm.create_document, Name="Bad", Content=content
    )
    refused("InvalidDocument", ssm.describe_document, Name="Bad")


def test_a_command_is_sent_and_its_result_read(double, ssm, hosts):
    command = send(
        ssm, hosts[:1], Comment="scale-in", Parameters={"action": ["deploy"], "tag": ["v1"]}
    )
    assert (command["Status"], command["TargetCount"], command["CompletedCount"]) == (
        "Pending",
        1,
        0,
    )
    assert (command["ExpiresAfter"] - command["RequestedDateTime"]).seconds == 90
    settle(double)
    done = ssm.get_command_invocation(CommandId=command["CommandId"], InstanceId=hosts[0])
    assert (done["Status"], done["ResponseCode"], done["StandardOutputContent"]) == (
        "Success",
        0,
        '{"active":0}',
    )
    assert (done["Comment"], done["PluginName"], done["ExecutionElapsedTime"]) == (
        "scale-in",
        "host",
        "PT0.000S",
    )
    by_step = ssm.get_command_invocation(
        CommandId=command["CommandId"], InstanceId=hosts[0], PluginName="host"
    )
    assert by_step["Status"] == "Success"
    which = {"CommandId": command["CommandId"], "InstanceId": hosts[0]}
    refused("InvalidPluginName", ssm.get_command_invocation, **which, PluginName="other")
    refused(
        "InvocationDoesNotExist", ssm.get_command_invocation, **which | {"InstanceId": hosts[1]}
    )
    (listed,) = ssm.list_command_invocations(CommandId=command["CommandId"], Details=True)[
        "CommandInvocations"
    ]
    (plugin,) = listed["CommandPlugins"]
    assert (plugin["Name"], plugin["Output"], plugin["ResponseCode"]) == ("host", '{"active":0}', 0)
    (told,) = double.control("GET", "/commands")
    assert (told["id"], told["invocations"][0]["deliveries"]) == (command["CommandId"], 1)


def test_output_is_cut_as_aws_cuts_it(double, ssm, hosts):
    outputs = [{"stdout": "o" * 30_000, "stderr": "e" * 9_000, "exit_code": 2}]
    double.control("POST", "/commands/runner", {"instance": hosts[0], "outputs": outputs})
    command = send(ssm, hosts[:1])
    settle(double)
    done = ssm.get_command_invocation(CommandId=command["CommandId"], InstanceId=hosts[0])
    assert (len(done["StandardOutputContent"]), len(done["StandardErrorContent"])) == (
        24_000,
        8_000,
    )
    assert (done["Status"], done["ResponseCode"]) == ("Failed", 2)
    (listed,) = ssm.list_command_invocations(InstanceId=hosts[0], Details=True)[
        "CommandInvocations"
    ]
    assert len(listed["CommandPlugins"][0]["Output"]) == 2_500


def test_a_command_finds_its_hosts_by_the_tag_of_their_group(double, ssm, hosts):
    double.group("other", desired=1)
    target = {"Key": "tag:aws:autoscaling:groupName", "Values": ["fleet"]}
    command = ssm.send_command(**DRAIN, Targets=[target], MaxConcurrency="50%", MaxErrors="0")[
        "Command"
    ]
    assert (command["Targets"], command["InstanceIds"], command["TargetCount"]) == ([target], [], 3)
    settle(double)
    assert invocations(ssm, command) == [(host, "Success", "Success") for host in hosts]
    nobody = {"Key": "tag:aws:autoscaling:groupName", "Values": ["absent"]}
    command = ssm.send_command(**DRAIN, Targets=[nobody])["Command"]
    assert (command["Status"], command["StatusDetails"], command["TargetCount"]) == (
        "Success",
        "NoInstancesInTag",
        0,
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Parameters": {"action": ["reboot"]}}, "InvalidParameters"),
        ({"Parameters": {"action": ["drain"], "tag": ["$(reboot)"]}}, "InvalidParameters"),
        ({"Parameters": {}}, "InvalidParameters"),
        ({"Parameters": {"action": ["drain"], "more": ["x"]}}, "InvalidParameters"),
        ({"DocumentName": "absent"}, "InvalidDocument"),
        ({"InstanceIds": ["i-0123456789abcdef0"]}, "InvalidInstanceId"),
        ({"InstanceIds": [f"i-{n:017x}" for n in range(51)]}, "ValidationException"),
        ({"MaxConcurrency": "0"}, "ValidationException"),
        ({"NotificationConfig": {"NotificationType": "Command"}}, "ValidationException"),
    ],
)
def test_a_command_that_is_refused_reaches_nobody(double, ssm, hosts, change, code):
    refused(code, ssm.send_command, **DRAIN | {"InstanceIds": hosts} | change)
    assert ssm.list_commands()["Commands"] == []


def test_the_first_failure_stops_the_rollout(double, ssm, hosts):
    double.control(
        "POST", "/commands/runner", {"instance": hosts[0], "outputs": [{"exit_code": 1}]}
    )
    command = send(ssm, hosts, MaxErrors="0")
    settle(double)
    left = [(host, "Cancelled", "Terminated") for host in hosts[1:]]
    assert invocations(ssm, command) == [(hosts[0], "Failed", "Failed"), *left]
    (listed,) = ssm.list_commands(CommandId=command["CommandId"])["Commands"]
    counts = [
        listed[key]
        for key in ("TargetCount", "CompletedCount", "ErrorCount", "DeliveryTimedOutCount")
    ]
    assert (listed["Status"], counts) == ("Failed", [3, 3, 1, 0])


def test_a_cancel_spares_what_ended(double, ssm, hosts):
    double.control("POST", "/commands/runner", {"outputs": [{"took_seconds": 50}]})
    command = send(ssm, hosts, MaxConcurrency="1")
    double.advance(50)
    ssm.cancel_command(CommandId=command["CommandId"], InstanceIds=[hosts[2]])
    assert [status for _, status, _ in invocations(ssm, command)] == [
        "Success",
        "InProgress",
        "Cancelled",
    ]
    ssm.cancel_command(CommandId=command["CommandId"])
    settle(double)
    assert [status for _, status, _ in invocations(ssm, command)] == [
        "Success",
        "Cancelled",
        "Cancelled",
    ]
    (listed,) = ssm.list_commands(CommandId=command["CommandId"])["Commands"]
    assert (listed["Status"], listed["CompletedCount"]) == ("Cancelled", 3)
    missing = "00000000-0000-4000-8000-000000000000"
    refused("InvalidCommandId", ssm.cancel_command, CommandId=missing)


def test_an_offline_agent_shows_and_its_command_times_out(double, ssm, hosts):
    double.control("POST", f"/agents/{hosts[0]}", {"online": False})
    lost = {"Key": "PingStatus", "Values": ["ConnectionLost"]}
    (agent,) = ssm.describe_instance_information(Filters=[lost])["InstanceInformationList"]
    assert agent["InstanceId"] == hosts[0]
    command = send(ssm, hosts[:1])
    double.advance(30)
    double.control("POST", f"/agents/{hosts[0]}", {"online": True})
    settle(double)
    assert invocations(ssm, command) == [(hosts[0], "TimedOut", "DeliveryTimedOut")]
    double.control("POST", "/commands/runner", {"outputs": [{"took_seconds": 50}]})
    command = send(ssm, hosts[:1])
    settle(double)
    double.control("POST", f"/agents/{hosts[0]}/kill")
    double.advance(89)
    assert invocations(ssm, command) == [(hosts[0], "InProgress", "InProgress")]
    double.advance(1)
    assert invocations(ssm, command) == [(hosts[0], "TimedOut", "DeliveryTimedOut")]


def test_faults_strike_the_next_command_once(double, ssm, hosts):
    for fault in ({"kind": "lose_output"}, {"kind": "deliver_twice"}, {"kind": "undeliverable"}):
        double.control("POST", "/commands/faults", {"instance": hosts[0], "fault": fault})
    silent, twice, never, fine = (send(ssm, hosts[:1]) for _ in range(4))
    double.advance(30)
    which = {"CommandId": silent["CommandId"], "InstanceId": hosts[0]}
    assert ssm.get_command_invocation(**which)["StandardOutputContent"] == ""
    found = [invocations(ssm, command)[0][2] for command in (silent, twice, never, fine)]
    assert found == ["Success", "Success", "Undeliverable", "Success"]
    deliveries = [c["invocations"][0]["deliveries"] for c in double.control("GET", "/commands")]
    assert deliveries == [1, 2, 0, 1]
    status, _, body = double.request(
        "POST", "/_double/commands/faults", {"instance": "*", "fault": {"kind": "x"}}
    )
    assert status == 422 and b"unknown variant" in body
    status, _, body = double.request("POST", "/_double/commands/runner", {"instance": "*"})
    assert status == 400 and b"either outputs or shell" in body


def test_a_new_command_does_not_exist_for_a_moment(double, ssm, hosts):
    double.control("POST", "/commands/settings", {"listed_after_seconds": 2})
    command = send(ssm, hosts[:1])
    which = {"CommandId": command["CommandId"], "InstanceId": hosts[0]}
    refused("InvocationDoesNotExist", ssm.get_command_invocation, **which)
    assert invocations(ssm, command) == []
    double.advance(2)
    assert ssm.get_command_invocation(**which)["Status"] == "Success"
    status, _, body = double.request("POST", "/_double/commands/settings", {"page_size": 0})
    assert status == 400 and b"page_size must be at least 1" in body


def test_listings_filter(double, ssm, hosts):
    early = send(ssm, hosts[:2])
    double.advance(60)
    double.control("POST", "/commands/runner", {"outputs": [{"took_seconds": 30}]})
    late = ssm.send_command(
        DocumentName="AWS-RunShellScript", InstanceIds=hosts[1:], Parameters={"commands": ["true"]}
    )["Command"]
    settle(double)
    middle = "2026-01-01T00:01:30Z"

    def commands(instance=None, **filters):
        given = (
            {"Filters": [{"key": key, "value": value} for key, value in filters.items()]}
            if filters
            else {}
        )
        found = ssm.list_commands(**given | ({"InstanceId": instance} if instance else {}))[
            "Commands"
        ]
        return [command["CommandId"] for command in found]

    both = [late["CommandId"], early["CommandId"]]
    assert commands() == both, "newest first"
    assert commands(InvokedAfter=middle) == both[:1] and commands(InvokedBefore=middle) == both[1:]
    assert commands(DocumentName="GhostHands-Host") == both[1:]
    assert commands(Status="InProgress") == both[:1] and commands(Status="Success") == both[1:]
    assert (
        commands(ExecutionStage="Executing") == both[:1]
        and commands(ExecutionStage="Complete") == both[1:]
    )
    assert commands(hosts[1]) == both and commands(hosts[0]) == both[1:]
    refused(
        "InvalidFilterKey",
        ssm.list_commands,
        InstanceId=hosts[0],
        Filters=[{"key": "Status", "value": "Pending"}],
    )
    running = [{"key": "Status", "value": "InProgress"}]
    found = ssm.list_command_invocations(InstanceId=hosts[1], Filters=running)["CommandInvocations"]
    assert [i["CommandId"] for i in found] == both[:1]


def test_listings_come_in_pages_that_lose_and_repeat_nothing(double, ssm, autoscaling):
    autoscaling.set_desired_capacity(AutoScalingGroupName="fleet", DesiredCapacity=12)
    double.advance(60)
    hosts = ids(autoscaling)
    first = send(ssm, hosts)
    settle(double)
    for _ in range(3):
        send(ssm, hosts[:1])
    pages = list(ssm.get_paginator("list_commands").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["Commands"]) for page in pages] == [3, 1]
    paginate = ssm.get_paginator("list_command_invocations").paginate
    pages = list(paginate(CommandId=first["CommandId"], PaginationConfig={"PageSize": 5}))
    assert [i["InstanceId"] for page in pages for i in page["CommandInvocations"]] == hosts
    paginate = ssm.get_paginator("describe_instance_information").paginate
    pages = list(paginate(PaginationConfig={"PageSize": 5}))
    found = [i["InstanceId"] for page in pages for i in page["InstanceInformationList"]]
    assert found == hosts and len(pages) == 3
    # A page may be smaller than the caller allows.
    double.control("POST", "/commands/settings", {"page_size": 2})
    pages = list(ssm.get_paginator("list_commands").paginate())
    assert [len(page["Commands"]) for page in pages] == [2, 2]
    refused("InvalidNextToken", ssm.list_commands, NextToken="x")
    refused("InvalidNextToken", ssm.describe_instance_information, NextToken="x")


def test_instances_are_registered_while_their_machine_runs(double, ssm, hosts, autoscaling):
    named = {"Key": "InstanceIds", "Values": [hosts[0], "i-0123456789abcdef0"]}
    (agent,) = ssm.describe_instance_information(Filters=[named])["InstanceInformationList"]
    assert (agent["PingStatus"], agent["PlatformType"], agent["ResourceType"]) == (
        "Online",
        "Linux",
        "EC2Instance",
    )
    tagged = {"Key": "tag:aws:autoscaling:groupName", "Values": ["fleet"]}
    assert len(ssm.describe_instance_information(Filters=[tagged])["InstanceInformationList"]) == 3
    refused(
        "InvalidFilterKey",
        ssm.describe_instance_information,
        Filters=[{"Key": "IamRole", "Values": ["x"]}],
    )
    autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=hosts[0], ShouldDecrementDesiredCapacity=True
    )
    assert ssm.describe_instance_information(Filters=[named])["InstanceInformationList"] == []
    ec2 = double.client("ec2")
    (reservation,) = ec2.describe_instances(InstanceIds=[hosts[0]])["Reservations"]
    assert reservation["Instances"][0]["State"] == {"Code": 32, "Name": "shutting-down"}
    running = [{"Name": "instance-state-name", "Values": ["running"]}]
    found = ec2.describe_instances(Filters=running)["Reservations"]
    assert [i["InstanceId"] for r in found for i in r["Instances"]] == hosts[1:]
    refused(
        "InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=["i-0123456789abcdef0"]
    )


@pytest.fixture
def live(tmp_path):
    """A double on the machine's clock with one host that has a real shell."""
    program, double = start(tmp_path, "--boot-seconds", "0")
    double.control("POST", "/commands/runner", {"shell": {"SOCKET": "/run/host.sock"}})
    double.control("POST", "/groups", {"name": "fleet", "min": 1, "max": 1})
    yield double
    program.stop()


def test_waiters_wait_through_the_moment_in_which_the_command_does_not_exist(live):
    ssm = live.client("ssm")
    (host,) = ids(live.client("autoscaling"))
    live.control("POST", "/commands/settings", {"listed_after_seconds": 3})
    waiter = ssm.get_waiter("command_executed")

    def run(*lines):
        parameters = {"commands": list(lines)}
        sent = ssm.send_command(
            DocumentName="AWS-RunShellScript", InstanceIds=[host], Parameters=parameters
        )
        which = {"CommandId": sent["Command"]["CommandId"], "InstanceId": host}
        refused("InvocationDoesNotExist", ssm.get_command_invocation, **which)
        waiter.wait(**which, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return ssm.get_command_invocation(**which)

    assert run("echo $SOCKET", "sleep 0.7")["StandardOutputContent"] == "/run/host.sock\n"
    with pytest.raises(botocore.exceptions.WaiterError, match="terminal failure"):
        run("exit 9")
