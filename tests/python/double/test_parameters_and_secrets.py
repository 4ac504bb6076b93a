"""SSM parameters, Secrets Manager and STS through boto3."""

import pytest
from aws import refused


def test_parameters_are_put_read_overwritten_and_deleted(double):
    ssm = double.client("ssm")
    name = "/ghosthands/dev/autoscale-state"
    refused("ParameterNotFound", ssm.get_parameter, Name=name)
    assert ssm.put_parameter(Name=name, Value="one", Type="String")["Version"] == 1
    assert "overwrite option" in refused("ParameterAlreadyExists", ssm.put_parameter, Name=name, Value="two", Type="String")
    assert ssm.put_parameter(Name=name, Value="two", Overwrite=True)["Version"] == 2
    found = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Version"], found["Type"]) == ("two", 2, "String")
    assert found["ARN"] == f"arn:aws:ssm:us-east-1:000000000000:parameter{name}"
    assert ssm.get_parameter(Name=f"{name}:1")["Parameter"]["Value"] == "one"
    many = ssm.get_parameters(Names=[name, "absent"])
    assert [p["Name"] for p in many["Parameters"]] == [name] and many["InvalidParameters"] == ["absent"]
    ssm.delete_parameter(Name=name)
    refused("ParameterNotFound", ssm.delete_parameter, Name=name)


def test_a_standard_parameter_holds_four_kilobytes(double):
    ssm = double.client("ssm")
    ssm.put_parameter(Name="full", Value="x" * 4096, Type="String")
    message = refused("ValidationException", ssm.put_parameter, Name="over", Value="x" * 4097, Type="String")
    assert "maximum parameter value of 4096 characters" in message


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"Name": "aws-mine"}, "can't be prefixed"),
        ({"Name": "with space"}, "Invalid parameter name"),
        ({"Name": "a/b"}, "fully qualified"),
        ({"Type": "SecureString"}, "KMS"),
        ({"Tier": "Advanced"}, "Standard tier only"),
        ({"AllowedPattern": "a+"}, "AllowedPattern"),
    ],
)
def test_a_bad_parameter_is_refused_with_the_reason(double, arguments, reason):
    ssm = double.client("ssm")
    given = {"Name": "fine", "Value": "a", "Type": "String"} | arguments
    assert reason in refused("ValidationException", ssm.put_parameter, **given)
    refused("ParameterNotFound", ssm.get_parameter, Name="fine")


def test_run_command_is_not_there_yet_and_says_so(double):
    ssm = double.client("ssm")
    message = refused("UnknownOperationException", ssm.send_command, DocumentName="GhostHands-Host", InstanceIds=["i-1"])
    assert "SendCommand" in message


def test_secret_versions_move_through_their_stages(double):
    secrets = double.client("secretsmanager")
    name = "ghosthands/dev"
    refused("ResourceNotFoundException", secrets.get_secret_value, SecretId=name)
    created = secrets.create_secret(Name=name, SecretString="one", Description="d")
    refused("ResourceExistsException", secrets.create_secret, Name=name, SecretString="x")
    message = refused("ResourceNotFoundException", secrets.get_secret_value, SecretId=name, VersionStage="AWSPREVIOUS")
    assert message.endswith("staging label: AWSPREVIOUS")
    secrets.put_secret_value(SecretId=name, SecretString="two")
    secrets.update_secret(SecretId=created["ARN"], SecretString="three")

    def value(**which):
        return secrets.get_secret_value(SecretId=name, **which)["SecretString"]

    assert (value(), value(VersionStage="AWSPREVIOUS")) == ("three", "two")
    assert value(VersionId=created["VersionId"]) == "one"
    stages = sorted(sum(secrets.describe_secret(SecretId=name)["VersionIdsToStages"].values(), []))
    assert stages == ["AWSCURRENT", "AWSPREVIOUS"]
    secrets.put_secret_value(SecretId=name, SecretString="four", VersionStages=["AWSPENDING"])
    assert (value(), value(VersionStage="AWSPENDING")) == ("three", "four")
    (listed,) = secrets.list_secrets()["SecretList"]
    assert (listed["Name"], listed["Description"]) == (name, "d")


def test_the_same_request_token_twice_is_one_version(double):
    secrets = double.client("secretsmanager")
    token = "11111111-2222-4333-8444-555555555555"
    secrets.create_secret(Name="s", SecretString="one")
    for _ in range(2):
        answer = secrets.put_secret_value(SecretId="s", SecretString="two", ClientRequestToken=token)
        assert answer["VersionId"] == token
    refused(
        "ResourceExistsException",
        secrets.put_secret_value,
        SecretId="s",
        SecretString="three",
        ClientRequestToken=token,
    )
    assert secrets.get_secret_value(SecretId="s", VersionStage="AWSPREVIOUS")["SecretString"] == "one"


def test_the_journal_holds_every_call_and_no_secret(double):
    secrets, ssm = double.client("secretsmanager"), double.client("ssm")
    secrets.create_secret(Name="s", SecretString="hunter2")
    secrets.get_secret_value(SecretId="s")
    refused("ParameterNotFound", ssm.get_parameter, Name="absent")
    calls = double.calls()
    assert [(call["service"], call["action"], call["status"], call["code"]) for call in calls] == [
        ("secretsmanager", "CreateSecret", 200, None),
        ("secretsmanager", "GetSecretValue", 200, None),
        ("ssm", "GetParameter", 400, "ParameterNotFound"),
    ]
    assert [call["seq"] for call in calls] == [1, 2, 3]
    assert "hunter2" not in str(calls)
    double.control("DELETE", "/calls")
    assert double.calls() == []


def test_the_caller_has_an_account(double):
    identity = double.client("sts").get_caller_identity()
    assert identity["Account"] == "000000000000"
    assert identity["Arn"].startswith("arn:aws:iam::000000000000:")


def test_a_call_without_a_signature_is_refused(double):
    status, _, body = double.request("POST", "/", b"Action=DescribeAutoScalingGroups&Version=2011-01-01")
    assert status == 403 and b"<Code>MissingAuthenticationToken</Code>" in body
    status, _, body = double.request("POST", "/", b"{}", {"X-Amz-Target": "AmazonSSM.GetParameter"})
    assert status == 403 and b'"__type":"MissingAuthenticationToken"' in body
    assert double.calls() == []
