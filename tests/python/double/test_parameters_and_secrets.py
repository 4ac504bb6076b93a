"""SSM parameters, Secrets Manager and STS through boto3."""

import pytest
from aws import refused


def test_parameters_are_put_read_overwritten_and_deleted(double):
    ssm = double.client("ssm")
    name = "/ghosthands/dev/autoscale-state"
    refused("ParameterNotFound", ssm.get_parameter, Name=name)
    assert ssm.put_parameter(Name=name, Value="one", Type="String")["Version"] == 1
    assert "overwrite option" in refused(
        "ParameterAlreadyExists", ssm.put_parameter, Name=name, Value="two", Type="String"
    )
    assert ssm.put_parameter(Name=name, Value="two", Overwrite=True)["Version"] == 2
    found = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Version"], found["Type"]) == ("two", 2, "String")
    assert found["ARN"] == f"arn:aws:ssm:us-east-1:000000000000:parameter{name}"
    assert ssm.get_parameter(Name=f"{name}:1")["Parameter"]["Value"] == "one"
    many = ssm.get_parameters(Names=[name, "absent"])
    assert [p["Name"] for p in many["Parameters"]] == [name] and many["InvalidParameters"] == [
        "absent"
    ]
    ssm.delete_parameter(Name=name)
    refused("ParameterNotFound", ssm.delete_parameter, Name=name)


def test_a_standard_parameter_holds_four_kilobytes(double):
    ssm = double.client("ssm")
    ssm.put_parameter(Name="full", Value="x" * 4096, Type="String")
    message = refused(
        "ValidationException", ssm.put_parameter, Name="over", Value="x" * 4097, Type="String"
    )
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


def test_what_the_double_does_not_model_says_so(double):
    ssm = double.client("ssm")
    assert "DescribeSessions" in refused(
        "UnknownOperationException", ssm.describe_sessions, State="Active"
    )


def test_labels_move_from_version_to_version(double):
    ssm = double.client("ssm")
    name = "/ghosthands/dev/deployed"
    refused("ParameterNotFound", ssm.label_parameter_version, Name=name, Labels=["stable"])
    for value in ("one", "two", "three"):
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    label = ssm.label_parameter_version
    assert (
        label(Name=name, ParameterVersion=1, Labels=["stable", "previous"])["ParameterVersion"] == 1
    )
    latest = label(Name=name, Labels=["stable", "7up", "aws-x", "SSMx", "a b"])
    assert (latest["ParameterVersion"], latest["InvalidLabels"]) == (
        3,
        ["7up", "aws-x", "SSMx", "a b"],
    )

    def value(which):
        found = ssm.get_parameter(Name=f"{name}:{which}")["Parameter"]
        return found["Value"], found["Version"], found["Selector"]

    assert value("stable") == ("three", 3, ":stable")
    assert value("previous") == ("one", 1, ":previous")
    assert value("2") == ("two", 2, ":2")
    for absent in ("9", "candidate"):
        message = refused("ParameterVersionNotFound", ssm.get_parameter, Name=f"{name}:{absent}")
        assert message.startswith(f"Systems Manager could not find version {absent} of {name}.")
    refused("ParameterVersionNotFound", label, Name=name, ParameterVersion=9, Labels=["stable"])
    ten = [f"l{n}" for n in range(10)]
    refused("ParameterVersionLabelLimitExceeded", label, Name=name, ParameterVersion=1, Labels=ten)
    assert value("previous")[1] == 1, "refused as a whole"
    removed = ssm.unlabel_parameter_version(
        Name=name, ParameterVersion=3, Labels=["stable", "previous"]
    )
    assert (removed["RemovedLabels"], removed["InvalidLabels"]) == (["stable"], ["previous"])
    refused("ParameterVersionNotFound", ssm.get_parameter, Name=f"{name}:stable")
    found = ssm.get_parameters(Names=[f"{name}:previous", f"{name}:stable"])
    assert [p["Value"] for p in found["Parameters"]] == ["one"] and found["InvalidParameters"] == [
        f"{name}:stable"
    ]


def test_history_comes_oldest_first_and_in_pages(double):
    ssm = double.client("ssm")
    refused("ParameterNotFound", ssm.get_parameter_history, Name="state")
    for n in range(1, 6):
        ssm.put_parameter(Name="state", Value=f"v{n}", Type="String", Overwrite=True)
    ssm.label_parameter_version(Name="state", ParameterVersion=4, Labels=["stable"])
    pages = list(
        ssm.get_paginator("get_parameter_history").paginate(
            Name="state", PaginationConfig={"PageSize": 2}
        )
    )
    found = [version for page in pages for version in page["Parameters"]]
    assert [(v["Version"], v["Value"]) for v in found] == [
        (n, f"v{n}") for n in range(1, 6)
    ] and len(pages) == 3
    assert [v["Labels"] for v in found] == [[], [], [], ["stable"], []]


def test_a_hundred_versions_are_kept_and_a_label_holds_the_oldest(double):
    ssm = double.client("ssm")
    put = {"Name": "state", "Type": "String", "Overwrite": True}
    for n in range(1, 102):
        ssm.put_parameter(**put, Value=str(n))
    refused("ParameterVersionNotFound", ssm.get_parameter, Name="state:1")
    ssm.label_parameter_version(Name="state", ParameterVersion=2, Labels=["stable"])
    message = refused("ParameterMaxVersionLimitExceeded", ssm.put_parameter, **put, Value="x")
    assert "Version 2, the oldest version" in message
    ssm.label_parameter_version(Name="state", ParameterVersion=101, Labels=["stable"])
    assert ssm.put_parameter(**put, Value="x")["Version"] == 102


def test_secret_versions_move_through_their_stages(double):
    secrets = double.client("secretsmanager")
    name = "ghosthands/dev"
    refused("ResourceNotFoundException", secrets.get_secret_value, SecretId=name)
    created = secrets.create_secret(Name=name, SecretString="one", Description="d")
    refused("ResourceExistsException", secrets.create_secret, Name=name, SecretString="x")
    message = refused(
        "ResourceNotFoundException",
        secrets.get_secret_value,
        SecretId=name,
        VersionStage="AWSPREVIOUS",
    )
    assert message.endswith("staging label: AWSPREVIOUS")
    secrets.put_secret_value(SecretId=name, SecretString="two")
    secrets.update_secret(SecretId=created["ARN"], SecretString="three")

    def value(**which):
        return secrets.get_secret_value(SecretId=name, **which)["SecretString"]

    assert (value(), value(VersionStage="AWSPREVIOUS")) == ("three", "two")
    assert value(VersionId=created["VersionId"]) == "one"
    versions = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
    stages = sorted(stage for held in versions.values() for stage in held)
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
        answer = secrets.put_secret_value(
            SecretId="s", SecretString="two", ClientRequestToken=token
        )
        assert answer["VersionId"] == token
    refused(
        "ResourceExistsException",
        secrets.put_secret_value,
        SecretId="s",
        SecretString="three",
        ClientRequestToken=token,
    )
    assert (
        secrets.get_secret_value(SecretId="s", VersionStage="AWSPREVIOUS")["SecretString"] == "one"
    )


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
    status, _, body = double.request(
        "POST", "/", b"Action=DescribeAutoScalingGroups&Version=2011-01-01"
    )
    assert status == 403 and b"<Code>MissingAuthenticationToken</Code>" in body
    status, _, body = double.request("POST", "/", b"{}", {"X-Amz-Target": "AmazonSSM.GetParameter"})
    assert status == 403 and b'"__type":"MissingAuthenticationToken"' in body
    assert double.calls() == []
