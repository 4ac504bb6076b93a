"""What fleet.yaml makes, what its roles may do, and how it fits template.yaml."""

import json
import re
import subprocess

import boto3
import pytest
from moto import mock_aws
from samcli.yamlhelper import yaml_parse
from support import ROOT

TEXT = (ROOT / "fleet.yaml").read_text()
FLEET = yaml_parse(TEXT)
CONTROL = yaml_parse((ROOT / "template.yaml").read_text())
RESOURCES = FLEET["Resources"]
REGION = "us-east-1"


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def actions(role: str) -> set[str]:
    found = set()
    for policy in RESOURCES[role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            found |= set(listed(statement["Action"]))
    return found


@pytest.fixture(scope="module")
def stack():
    """The stack as moto's CloudFormation makes it, without the preflight: no host would answer."""
    # An endpoint of the environment would lead the clients past moto.
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        ec2 = boto3.client("ec2", region_name=REGION)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        zones = ec2.describe_availability_zones()["AvailabilityZones"][:3]
        subnets = [
            ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.0.{at}.0/24", AvailabilityZone=zone["ZoneName"]
            )["Subnet"]["SubnetId"]
            for at, zone in enumerate(zones)
        ]
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        given = {
            "VpcId": vpc,
            "SubnetIds": ",".join(subnets),
            "ImageId": image,
            "Preflight": "false",
            "VncCidr": "192.0.2.0/24",
        }
        boto3.client("cloudformation", region_name=REGION).create_stack(
            StackName="fleet",
            TemplateBody=TEXT,
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in given.items()
            ],
        )
        yield {"ec2": ec2, "subnets": subnets}


def test_the_template_is_clean():
    ended = subprocess.run(
        ["cfn-lint", ROOT / "fleet.yaml"], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout


def test_the_group_has_its_bounds_its_zones_and_its_drain_hook(stack):
    client = boto3.client("autoscaling", region_name=REGION)
    group = client.describe_auto_scaling_groups(AutoScalingGroupNames=["ghosthands-worker-asg"])[
        "AutoScalingGroups"
    ][0]
    assert (group["MinSize"], group["MaxSize"]) == (1, 10)
    assert set(group["VPCZoneIdentifier"].split(",")) == set(stack["subnets"])
    hooks = RESOURCES["WorkerGroup"]["Properties"]["LifecycleHookSpecificationList"]
    assert [(hook["LifecycleTransition"], hook["DefaultResult"]) for hook in hooks] == [
        ("autoscaling:EC2_INSTANCE_TERMINATING", "ABANDON")
    ]
    retention = RESOURCES["WorkerGroup"]["Properties"]["InstanceLifecyclePolicy"]
    assert retention == {"RetentionTriggers": {"TerminateHookAbandon": "retain"}}


def test_instances_want_version_two_of_the_metadata_service_and_show_their_tags(stack):
    versions = stack["ec2"].describe_launch_template_versions(
        LaunchTemplateName="ghosthands-worker-lt-staging", Versions=["$Latest"]
    )["LaunchTemplateVersions"]
    data = versions[0]["LaunchTemplateData"]
    options = data["MetadataOptions"]
    assert (options["HttpTokens"], options["InstanceMetadataTags"]) == ("required", "enabled")
    assert data["InstanceType"] == "t3.large"
    volume = data["BlockDeviceMappings"][0]["Ebs"]
    assert (volume["VolumeType"], int(volume["VolumeSize"]), volume["Encrypted"]) == (
        "gp3",
        40,
        True,
    )


def test_only_ports_that_were_asked_for_are_open(stack):
    groups = stack["ec2"].describe_security_groups()["SecurityGroups"]
    [workers] = [group for group in groups if group["Description"] == "GhostHands workers, staging"]
    assert [
        (rule["FromPort"], rule["IpRanges"][0]["CidrIp"]) for rule in workers["IpPermissions"]
    ] == [(6080, "192.0.2.0/24")]


def test_a_host_reads_its_own_secret_and_completes_no_lifecycle_action(stack):
    assert not {
        action for action in actions("WorkerRole") if action.startswith(("autoscaling:", "ec2:"))
    }
    statements = RESOURCES["WorkerRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    [secret] = [s for s in statements if "secretsmanager:GetSecretValue" in listed(s["Action"])]
    name = secret["Resource"]["Fn::Sub"][1]["Name"]["Fn::If"][2]["Fn::Sub"]
    # As IAM matches: six question marks are six characters, whichever.
    pattern = name.removeprefix("secret:").replace("${Environment}", "staging")
    matches = re.compile(re.escape(pattern).replace(r"\?", "."))
    assert matches.fullmatch("ghosthands/staging-AbCdEf")
    assert not matches.fullmatch("ghosthands/staging/fleet-AbCdEf")


def test_both_templates_mean_the_same_by_the_same_name():
    for name in ("Environment", "GroupName", "HookName"):
        for key in ("Default", "AllowedPattern"):
            assert FLEET["Parameters"][name][key] == CONTROL["Parameters"][name][key], (name, key)


def test_the_preflight_asks_the_host_before_the_stack_counts_as_ready():
    assert (
        RESOURCES["PreflightRun"]["Properties"]["WaitForSuccessTimeoutSeconds"] >= 900 + 600 + 300
    )
    content = RESOURCES["PreflightDocument"]["Properties"]["Content"]
    steps = {step["name"]: step for step in content["mainSteps"]}
    assert [step["action"] for step in steps.values()][-1] == "aws:runCommand"
    assert steps["suspendRebalancing"]["inputs"]["ScalingProcesses"] == ["AZRebalance"]
    # Every call of the document is one that its role allows.
    calls = {
        f"{step['inputs']['Service']}:{step['inputs']['Api']}"
        for step in steps.values()
        if "Api" in step["inputs"]
    }
    assert calls <= actions("PreflightRole"), json.dumps(sorted(calls - actions("PreflightRole")))


def test_every_parameter_is_described_and_shown_in_a_group():
    shown = [
        name
        for group in FLEET["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    ]
    assert sorted(shown) == sorted(FLEET["Parameters"])
    assert all(
        parameter.get("Description", "").endswith(".") for parameter in FLEET["Parameters"].values()
    )
