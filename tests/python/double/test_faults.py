"""Faults on request, as boto3 sees them."""

import time

import pytest
from aws import describe
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

SET = {"AutoScalingGroupName": "fleet", "DesiredCapacity": 2}


def fault(double, action, kind, times=1, **more):
    double.control("POST", "/faults", {"action": action, "times": times, "kind": kind, **more})


@pytest.mark.parametrize(
    ("service", "action", "method", "arguments", "code"),
    [
        (
            "autoscaling",
            "DescribeAutoScalingGroups",
            "describe_auto_scaling_groups",
            {},
            "Throttling",
        ),
        ("sts", "GetCallerIdentity", "get_caller_identity", {}, "Throttling"),
        ("ssm", "GetParameter", "get_parameter", {"Name": "x"}, "ThrottlingException"),
        (
            "secretsmanager",
            "GetSecretValue",
            "get_secret_value",
            {"SecretId": "x"},
            "ThrottlingException",
        ),
    ],
)
def test_throttling_has_the_services_own_code(double, service, action, method, arguments, code):
    fault(double, action, "throttle")
    with pytest.raises(ClientError) as caught:
        getattr(double.client(service), method)(**arguments)
    assert caught.value.response["Error"] == {"Code": code, "Message": "Rate exceeded"} | (
        {"Type": "Sender"} if code == "Throttling" else {}
    )


def test_clients_retry_a_throttle_and_get_through(double):
    double.group("fleet")
    patient = double.client(
        "autoscaling", Config(retries={"mode": "standard", "total_max_attempts": 3})
    )
    fault(double, "SetDesiredCapacity", "throttle", times=2)
    answer = patient.set_desired_capacity(**SET)
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2
    assert [call["code"] for call in double.calls()] == ["Throttling", "Throttling", None]
    assert double.control("GET", "/faults") == []


def test_a_chosen_error_strikes_as_often_as_asked(double, autoscaling):
    double.group("fleet")
    fault(
        double,
        "SetDesiredCapacity",
        "fail",
        times=2,
        status=500,
        code="ResourceContention",
        message="busy",
    )
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            autoscaling.set_desired_capacity(**SET)
        assert caught.value.response["Error"]["Code"] == "ResourceContention"
        assert caught.value.response["Error"]["Type"] == "Receiver"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert describe(autoscaling)["DesiredCapacity"] == 1
    autoscaling.set_desired_capacity(**SET)


def test_a_dropped_connection_does_nothing_and_a_lost_reply_did_it(double, autoscaling):
    double.group("fleet")
    for kind, desired in (("drop_connection", 1), ("lose_reply", 2)):
        fault(double, "SetDesiredCapacity", kind)
        with pytest.raises((ConnectionClosedError, HTTPClientError)):
            autoscaling.set_desired_capacity(**SET)
        assert describe(autoscaling)["DesiredCapacity"] == desired
    lost = [call["status"] for call in double.calls() if call["action"] == "SetDesiredCapacity"]
    assert lost == [0, 0]


def test_a_delay_is_real_time(double, autoscaling):
    fault(double, "DescribeAutoScalingGroups", "delay", millis=400)
    began = time.monotonic()
    autoscaling.describe_auto_scaling_groups()
    assert time.monotonic() - began >= 0.4
    impatient = double.client(
        "autoscaling", Config(read_timeout=0.2, retries={"total_max_attempts": 1})
    )
    fault(double, "DescribeAutoScalingGroups", "delay", millis=1000)
    with pytest.raises(HTTPClientError):
        impatient.describe_auto_scaling_groups()


def test_faults_wait_for_their_action_and_can_be_forgotten(double, autoscaling):
    fault(double, "SetDesiredCapacity", "throttle", times=3)
    autoscaling.describe_auto_scaling_groups()
    (planned,) = double.control("GET", "/faults")
    assert planned == {"action": "SetDesiredCapacity", "times": 3, "kind": "throttle"}
    double.control("DELETE", "/faults")
    assert double.control("GET", "/faults") == []
    status, _, body = double.request(
        "POST", "/_double/faults", {"action": "X", "times": 1, "kind": "explode"}
    )
    assert status == 422 and b"explode" in body
