"""Where moto implements a call, the double answers it in the same shape: the same keys with the
same types.

What moto gets wrong, and what only EC2 would know, is left out by path, each with its reason.
"""

import json
import time

import pytest
from botocore.exceptions import ClientError

DOCUMENT = {
    "Name": "GhostHands-Host",
    "DocumentType": "Command",
    "Content": json.dumps(
        {
            "schemaVersion": "2.2",
            "description": "d",
            "parameters": {"action": {"type": "String", "description": "d", "default": "drain"}},
            "mainSteps": [
                {
                    "action": "aws:runShellScript",
                    "name": "host",
                    "inputs": {"runCommand": ["host {{ action }}"]},
                }
            ],
        }
    ),
}
GROUP = {"AutoScalingGroupName": "fleet"}
HOOK = GROUP | {"LifecycleHookName": "ghosthands-drain-hook"}
TAG = {
    "ResourceId": "fleet",
    "ResourceType": "auto-scaling-group",
    "Key": "k",
    "Value": "v",
    "PropagateAtLaunch": True,
}

EC2_ONLY = "comes from the instance or its template in EC2, which the double does not model"
MOTO_INVENTS = "moto invents a notification target that nobody configured"
MOTO_LACKS = "AWS sends it, moto does not"
MOTO_HASTE = "moto ends a termination in the moment it begins"
MOTO_REGION = "moto names a region for output that nobody asked to keep"
NO_HASH = "the double computes no hash of a document"
MOTO_ALWAYS = "AWS sends it when it was set, moto always"

# Paths that one side only may have. `*` is every element of a list.
EXCLUDED = {
    "AutoScalingGroups.*.CapacityRebalance": MOTO_ALWAYS,
    "AutoScalingGroups.*.Instances.*.InstanceType": EC2_ONLY,
    "AutoScalingGroups.*.TrafficSources": MOTO_LACKS,
    "AutoScalingGroups.*.VPCZoneIdentifier": MOTO_LACKS,
    "AutoScalingInstances.*.InstanceType": EC2_ONLY,
    "Activity.AutoScalingGroupARN": MOTO_LACKS,
    "Activity.Details": MOTO_LACKS,
    "Activity.EndTime": MOTO_HASTE,
    "Command.DocumentVersion": MOTO_LACKS,
    "Command.OutputS3Region": MOTO_REGION,
    "Commands.*.DocumentVersion": MOTO_LACKS,
    "Commands.*.OutputS3Region": MOTO_REGION,
    "CreatedDate": MOTO_LACKS,
    "Document.Hash": NO_HASH,
    "Document.HashType": NO_HASH,
    "DocumentDescription.Hash": NO_HASH,
    "DocumentDescription.HashType": NO_HASH,
    "DocumentVersion": MOTO_LACKS,
    "LifecycleHooks.*.NotificationTargetARN": MOTO_INVENTS,
    "LifecycleHooks.*.RoleARN": MOTO_INVENTS,
    "Parameter.Selector": MOTO_LACKS,
    "Parameters.*.Policies": MOTO_LACKS,
    "StandardErrorUrl": MOTO_LACKS,
}

# Members whose keys are identifiers: maps, not structures.
MAPS = ("VersionIdsToStages", "SecretVersionsToStages")


def shape(value):
    """Keys and types of an answer; the elements of a list or a map are merged into one."""
    if isinstance(value, dict):
        maps = {key: list(inner.values()) for key, inner in value.items() if key in MAPS}
        return {
            key: shape(inner) for key, inner in (value | maps).items() if key != "ResponseMetadata"
        }
    if isinstance(value, list):
        merged = {}
        for element in map(shape, value):
            if not isinstance(element, dict):
                return [element]
            merged |= element
        return [merged] if value else []
    return type(value).__name__


def differences(double, moto, path=""):
    """Where one side has what the other has not, or has with another type: path to what."""
    if isinstance(double, dict) and isinstance(moto, dict):
        found = {}
        for key in double.keys() | moto.keys():
            inner = f"{path}.{key}" if path else key
            if key not in moto:
                found[inner] = "only the double"
            elif key not in double:
                found[inner] = "only moto"
            else:
                found |= differences(double[key], moto[key], inner)
        return found
    if isinstance(double, list) and isinstance(moto, list):
        # An empty list says nothing about its elements.
        return differences(double[0], moto[0], f"{path}.*") if double and moto else {}
    return {} if double == moto else {path: f"{double} in the double, {moto} in moto"}


class Side:
    """One of the two, with a group of two instances in service and a hook, a parameter and a
    secret.
    """

    def __init__(self, endpoint, settle):
        self.client = {
            name: endpoint.client(name) for name in ("autoscaling", "ssm", "secretsmanager", "sts")
        }
        self.settle = settle

    def fill(self):
        autoscaling = self.client["autoscaling"]
        autoscaling.create_auto_scaling_group(
            **GROUP,
            MinSize=1,
            MaxSize=4,
            DesiredCapacity=3,
            LaunchTemplate={"LaunchTemplateName": "worker", "Version": "1"},
            AvailabilityZones=["us-east-1a"],
            Tags=[TAG],
        )
        autoscaling.put_lifecycle_hook(
            **HOOK, LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING", HeartbeatTimeout=300
        )
        ssm = self.client["ssm"]
        ssm.put_parameter(Name="/fleet/state", Value="v", Type="String")
        ssm.label_parameter_version(Name="/fleet/state", Labels=["stable"])
        ssm.create_document(**DOCUMENT)
        secrets = self.client["secretsmanager"]
        secrets.create_secret(Name="ghosthands/dev", SecretString="one", Description="d")
        secrets.put_secret_value(SecretId="ghosthands/dev", SecretString="two")
        self.settle()
        self.host = self.serving()
        self.command = ssm.send_command(**self.sent())["Command"]["CommandId"]
        self.settle()
        return self

    def sent(self):
        parameters = {"action": ["drain"]}
        return {
            "DocumentName": "GhostHands-Host",
            "InstanceIds": [self.host],
            "Comment": "c",
            "Parameters": parameters,
        }

    def serving(self):
        """An instance in service."""
        (group,) = self.client["autoscaling"].describe_auto_scaling_groups()["AutoScalingGroups"]
        return next(
            i["InstanceId"] for i in group["Instances"] if i["LifecycleState"] == "InService"
        )

    def call(self, service, method, arguments):
        given = arguments(self) if callable(arguments) else arguments
        return getattr(self.client[service], method)(**given)


@pytest.fixture
def sides(double, moto):
    # An image that moto knows from the start.
    data = {"ImageId": "ami-12c6146b", "InstanceType": "t3.micro"}
    moto.client("ec2").create_launch_template(LaunchTemplateName="worker", LaunchTemplateData=data)
    double.control("POST", "/commands/runner", {"outputs": [{}]})
    return Side(double, lambda: double.advance(30)).fill(), Side(moto, lambda: time.sleep(0)).fill()


CALLS = [
    ("autoscaling", "describe_auto_scaling_groups", {}),
    ("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroupNames": ["absent"]}),
    (
        "autoscaling",
        "describe_auto_scaling_groups",
        {"Filters": [{"Name": "tag:k", "Values": ["v"]}]},
    ),
    ("autoscaling", "describe_auto_scaling_instances", {}),
    (
        "autoscaling",
        "describe_auto_scaling_instances",
        lambda side: {"InstanceIds": [side.serving()]},
    ),
    ("autoscaling", "describe_lifecycle_hooks", GROUP),
    ("autoscaling", "describe_tags", {}),
    ("autoscaling", "describe_scaling_activities", GROUP),
    ("autoscaling", "set_desired_capacity", GROUP | {"DesiredCapacity": 2}),
    ("autoscaling", "update_auto_scaling_group", GROUP | {"MaxSize": 5}),
    (
        "autoscaling",
        "put_lifecycle_hook",
        HOOK | {"LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"},
    ),
    ("autoscaling", "create_or_update_tags", {"Tags": [TAG]}),
    ("autoscaling", "suspend_processes", GROUP | {"ScalingProcesses": ["Terminate"]}),
    ("autoscaling", "resume_processes", GROUP | {"ScalingProcesses": ["Terminate"]}),
    (
        "autoscaling",
        "set_instance_health",
        lambda side: {"InstanceId": side.serving(), "HealthStatus": "Healthy"},
    ),
    (
        "autoscaling",
        "set_instance_protection",
        lambda side: GROUP | {"InstanceIds": [side.serving()], "ProtectedFromScaleIn": True},
    ),
    (
        "autoscaling",
        "terminate_instance_in_auto_scaling_group",
        lambda side: {"InstanceId": side.serving(), "ShouldDecrementDesiredCapacity": True},
    ),
    ("ssm", "get_parameter", {"Name": "/fleet/state"}),
    ("ssm", "get_parameter", {"Name": "/fleet/state:1"}),
    ("ssm", "get_parameters", {"Names": ["/fleet/state", "absent"]}),
    ("ssm", "get_parameter", {"Name": "/fleet/state:stable"}),
    ("ssm", "get_parameter_history", {"Name": "/fleet/state"}),
    ("ssm", "put_parameter", {"Name": "/fleet/state", "Value": "w", "Overwrite": True}),
    ("ssm", "label_parameter_version", {"Name": "/fleet/state", "Labels": ["stable", "7up"]}),
    (
        "ssm",
        "unlabel_parameter_version",
        {"Name": "/fleet/state", "ParameterVersion": 1, "Labels": ["stable", "x"]},
    ),
    ("ssm", "create_document", DOCUMENT | {"Name": "Other"}),
    ("ssm", "describe_document", {"Name": "GhostHands-Host"}),
    ("ssm", "get_document", {"Name": "GhostHands-Host"}),
    ("ssm", "send_command", Side.sent),
    ("ssm", "list_commands", lambda side: {"CommandId": side.command}),
    (
        "ssm",
        "get_command_invocation",
        lambda side: {"CommandId": side.command, "InstanceId": side.host},
    ),
    ("secretsmanager", "get_secret_value", {"SecretId": "ghosthands/dev"}),
    (
        "secretsmanager",
        "get_secret_value",
        {"SecretId": "ghosthands/dev", "VersionStage": "AWSPREVIOUS"},
    ),
    ("secretsmanager", "put_secret_value", {"SecretId": "ghosthands/dev", "SecretString": "x"}),
    ("secretsmanager", "update_secret", {"SecretId": "ghosthands/dev", "SecretString": "x"}),
    ("secretsmanager", "create_secret", {"Name": "other", "SecretString": "x"}),
    ("secretsmanager", "describe_secret", {"SecretId": "ghosthands/dev"}),
    ("secretsmanager", "list_secrets", {}),
    ("sts", "get_caller_identity", {}),
    ("autoscaling", "delete_lifecycle_hook", HOOK),
    ("autoscaling", "delete_tags", {"Tags": [TAG]}),
    ("autoscaling", "delete_auto_scaling_group", GROUP | {"ForceDelete": True}),
    ("ssm", "delete_document", {"Name": "GhostHands-Host"}),
    ("ssm", "delete_parameter", {"Name": "/fleet/state"}),
]


READS = [call for call in CALLS if call[1].startswith(("describe", "get", "list"))]


def disagreements(sides, service, method, arguments):
    found = differences(*(shape(side.call(service, method, arguments)) for side in sides))
    return {path: what for path, what in found.items() if path not in EXCLUDED}


@pytest.mark.parametrize(
    ("service", "method", "arguments"), [call for call in CALLS if call not in READS]
)
def test_answers_have_the_same_shape(sides, service, method, arguments):
    assert disagreements(sides, service, method, arguments) == {}


def test_answers_that_only_read_have_the_same_shape(sides):
    # One pair of sides for all of them: they change nothing, and setting up takes longer than
    # asking.
    found = [
        (method, disagreements(sides, service, method, arguments))
        for service, method, arguments in READS
    ]
    assert [(method, what) for method, what in found if what] == []


ERRORS = [
    ("ssm", "get_parameter", {"Name": "/absent"}),
    ("ssm", "delete_parameter", {"Name": "/absent"}),
    ("ssm", "put_parameter", {"Name": "/fleet/state", "Value": "w", "Type": "String"}),
    ("ssm", "get_parameter", {"Name": "/fleet/state:9"}),
    ("ssm", "get_parameter_history", {"Name": "/absent"}),
    (
        "ssm",
        "label_parameter_version",
        {"Name": "/fleet/state", "ParameterVersion": 9, "Labels": ["a"]},
    ),
    ("ssm", "create_document", DOCUMENT),
    ("ssm", "describe_document", {"Name": "absent"}),
    ("ssm", "get_document", {"Name": "absent"}),
    (
        "ssm",
        "get_command_invocation",
        lambda side: {"CommandId": side.command, "InstanceId": "i-0123456789abcdef0"},
    ),
    ("ssm", "put_parameter", {"Name": "aws-x", "Value": "w", "Type": "String"}),
    ("secretsmanager", "get_secret_value", {"SecretId": "absent"}),
    ("secretsmanager", "get_secret_value", {"SecretId": "ghosthands/dev", "VersionStage": "NONE"}),
    ("secretsmanager", "create_secret", {"Name": "ghosthands/dev", "SecretString": "x"}),
    ("secretsmanager", "describe_secret", {"SecretId": "absent"}),
    ("autoscaling", "update_auto_scaling_group", {"AutoScalingGroupName": "absent", "MaxSize": 1}),
]


@pytest.mark.parametrize(("service", "method", "arguments"), ERRORS)
def test_errors_have_the_same_code(sides, service, method, arguments):
    codes = []
    for side in sides:
        with pytest.raises(ClientError) as caught:
            side.call(service, method, arguments)
        codes.append(caught.value.response["Error"]["Code"])
    assert codes[0] == codes[1]


def test_every_exclusion_is_still_needed(sides):
    found = {}
    for service, method, arguments in CALLS:
        found |= differences(*(shape(side.call(service, method, arguments)) for side in sides))
    assert found.keys() == EXCLUDED.keys()
