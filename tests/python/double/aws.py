"""The double and moto as the tests see them, and what the tests ask of a group again and again."""

import json
import os
import subprocess
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from support import Program, built, environment

START = "2026-01-01T00:00:00Z"
# One attempt: a retry would hide a fault that the test asked for.
ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)


class Endpoint:
    """Something that speaks the AWS API."""

    def __init__(self, url: str):
        self.url = url

    def client(self, service: str, config: Config = ONCE):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=config,
        )

    def request(self, method: str, path: str, body=None, headers=None):
        """Status, headers and bytes of a plain HTTP request."""
        data = (
            None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        if data is not None and not request.has_header("Content-type"):
            request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


class Double(Endpoint):
    """The control plane of the double."""

    def control(self, method: str, path: str, body=None):
        status, _, answer = self.request(method, "/_double" + path, body)
        assert status == 200, (status, answer)
        return json.loads(answer)

    def advance(self, seconds: float):
        self.control("POST", "/clock/advance", {"seconds": seconds})

    def group(self, name: str, low: int = 1, high: int = 4, **more):
        """A group whose instances are in service."""
        self.control(
            "POST", "/groups", {"name": name, "min": low, "max": high, "boot_seconds": 60, **more}
        )
        self.advance(60)

    def calls(self):
        return self.control("GET", "/calls")

    def kinds(self):
        """The instance transitions so far, without the instances."""
        return [transition["kind"] for transition in self.control("GET", "/events")]


def start(folder, *options: str) -> tuple[Program, Double]:
    binary = os.environ.get("FLEET_DOUBLE_BIN") or built("aws-double")
    program = Program(
        "aws-double", [binary, *options], environment(), folder, stdout=subprocess.PIPE
    )
    return program, Double(json.loads(program.first_line(30))["endpoint"])


def refused(code: str, call, **arguments) -> str:
    """The message of the error with which `call` is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return caught.value.response["Error"]["Message"]


def describe(autoscaling, name="fleet"):
    (group,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
        "AutoScalingGroups"
    ]
    return group


def states(autoscaling, name="fleet"):
    return [instance["LifecycleState"] for instance in describe(autoscaling, name)["Instances"]]


def ids(autoscaling, name="fleet"):
    return [instance["InstanceId"] for instance in describe(autoscaling, name)["Instances"]]
