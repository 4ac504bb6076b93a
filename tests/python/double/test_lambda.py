"""Functions: the Invoke API through boto3 and the CLI, schedules, an HTTP API."""

import base64
import json
import urllib.request

import pytest
from aws import Endpoint, ids
from botocore.exceptions import ClientError
from support import built, eventually


@pytest.fixture
def probe(double):
    """A function that answers with its event, or does what the event says."""
    double.control(
        "POST",
        "/functions",
        {"name": "probe", "binary": built("examples/probe"), "timeout_seconds": 2},
    )
    return "probe"


def invoke(double, payload, **more):
    answer = double.client("lambda").invoke(
        FunctionName="probe", Payload=json.dumps(payload), **more
    )
    return answer, answer["Payload"].read()


def started(double):
    """How often the function was started."""
    return double.control("GET", "/functions/probe")["cold_starts"]


def lines(double, count):
    """The events that the function printed; the pipe may bring one a moment after the answer."""

    def printed():
        logs = double.control("GET", "/functions/probe")["logs"]
        return [
            json.loads(line["text"])["got"] for line in logs if line["text"].startswith('{"got"')
        ]

    eventually(f"{count} events", 60, lambda: len(printed()) >= count)
    return printed()


def test_invoke_answers_with_the_response(double, probe):
    answer, payload = invoke(double, {"n": 1})
    assert json.loads(payload) == {"n": 1}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert started(double) == 1


def test_invoke_reports_errors_timeouts_and_crashes_as_lambda_does(double, probe):
    for what, kind in (
        ("fail", None),
        ("sleep", "Sandbox.Timedout"),
        ("exit", "Runtime.ExitError"),
    ):
        answer, payload = invoke(double, {"do": what})
        error = json.loads(payload)
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert set(error) == {"errorType", "errorMessage"}
        assert kind in (None, error["errorType"])
    assert started(double) == 2, "the first two shared a process"
    assert json.loads(invoke(double, {})[1]) == {}
    assert started(double) == 3


def test_invoke_refuses_strangers_and_nonsense(double, probe):
    client = double.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="nobody")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName="probe", Payload=b"not json")
    assert client.invoke(FunctionName="probe", InvocationType="DryRun")["StatusCode"] == 204


def test_a_busy_function_throttles(double, probe):
    client = double.client("lambda")
    # An asynchronous invocation holds the only process while the synchronous one comes.
    assert (
        client.invoke(
            FunctionName="probe", InvocationType="Event", Payload=b'{"do":"sleep","millis":1500}'
        )["StatusCode"]
        == 202
    )
    eventually("it has begun", 60, lambda: started(double) == 1)

    def invoke_more_than_fit() -> None:
        for _ in range(50):
            client.invoke(FunctionName="probe", Payload=b"{}")

    with pytest.raises(ClientError) as caught:
        invoke_more_than_fit()
    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_the_cli_invokes(double, probe, cli, tmp_path):
    out = tmp_path / "out.json"
    answer = cli(
        "lambda", "invoke", "--function-name", "probe", "--payload", '{"by":"cli"}', str(out)
    )
    assert answer["StatusCode"] == 200
    assert json.loads(out.read_text()) == {"by": "cli"}


def test_a_schedule_follows_the_clock(double, probe):
    double.control(
        "POST", "/schedules", {"name": "tick", "rate": "rate(1 minute)", "function": "probe"}
    )
    double.advance(3 * 60)
    events = lines(double, 3)
    assert [event["time"] for event in events] == [f"2026-01-01T00:0{n}:00Z" for n in (1, 2, 3)]
    assert events[0] | {"id": None} == {
        "version": "0",
        "id": None,
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2026-01-01T00:01:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:000000000000:rule/tick"],
        "detail": {},
    }
    assert len({event["id"] for event in events}) == 3
    status, _, body = double.request(
        "POST", "/_double/schedules", {"name": "x", "rate": "rate(5 minute)", "function": "probe"}
    )
    assert status == 400 and b"singular for 1" in body


def test_events_reach_their_targets(double, probe):
    double.control(
        "POST",
        "/rules",
        {"pattern": {"detail-type": ["EC2 Instance Launch Successful"]}, "function": "probe"},
    )
    double.group("fleet", desired=2)
    # Both at one instant and one process: the second is throttled, and tried again a second later.
    assert len(lines(double, 1)) == 1
    double.advance(1)
    events = lines(double, 2)
    assert [event["detail-type"] for event in events] == ["EC2 Instance Launch Successful"] * 2
    assert events[0]["detail"]["AutoScalingGroupName"] == "fleet"


def test_disturbed_events_are_sent_and_do_not_arrive(double, probe):
    launched = "EC2 Instance Launch Successful"
    double.control("POST", "/rules", {"pattern": {"detail-type": [launched]}, "function": "probe"})
    double.control("PUT", "/disturbances", {launched: {"lose": 1}})
    double.group("fleet", desired=1)
    assert [event["detail-type"] for event in double.control("GET", "/bus")] == [launched]
    assert started(double) == 0
    assert double.control("GET", "/bus/given-up") == []
    double.control("PUT", "/disturbances", {})
    double.group("other", desired=1)
    assert started(double) == 1
    for plan, code, reason in (
        ({"*": {"lose": 3}}, 400, b"lose must be between 0 and 1, not 3"),
        ({"*": {"delay_seconds": [9, 1]}}, 400, b"delay_seconds must be two rising numbers"),
        ({"*": {"loose": 1}}, 422, b"unknown field `loose`"),
    ):
        status, _, body = double.request("PUT", "/_double/disturbances", plan)
        assert (status, reason in body) == (code, True), body
    for pattern, reason in (
        ({"source": "aws.ec2"}, b"event pattern, source"),
        ({"$or": []}, b"does not model"),
    ):
        status, _, body = double.request(
            "POST", "/_double/rules", {"pattern": pattern, "function": "probe"}
        )
        assert status == 400 and reason in body


def test_a_spot_machine_is_announced_and_taken(double, autoscaling):
    double.group("fleet", desired=1)
    (instance,) = ids(autoscaling)
    double.control("POST", f"/instances/{instance}/rebalance")
    double.control("POST", f"/instances/{instance}/reclaim", {"seconds": 120})
    rebalance, warning = double.control("GET", "/bus")[-2:]
    assert rebalance["detail-type"] == "EC2 Instance Rebalance Recommendation"
    assert warning["detail"] == {"instance-id": instance, "instance-action": "terminate"}
    double.advance(119)
    assert "Lost" not in double.kinds()
    double.advance(1)
    assert "Lost" in double.kinds()
    status, _, body = double.request("POST", f"/_double/instances/{instance}/rebalance")
    assert status == 400 and b"does not run" in body
    status, _, body = double.request(
        "POST", f"/_double/instances/{instance}/reclaim", {"seconds": -1}
    )
    assert status == 400 and b"seconds must be 0 to 604800" in body


@pytest.fixture
def api(double, probe):
    routes = [
        {"method": "POST", "path": "/api/v1/deployments/{id}", "function": probe},
        {"method": "GET", "path": "/busy", "function": probe},
    ]
    return Endpoint(double.control("POST", "/http-apis", {"routes": routes})["endpoint"])


def test_a_request_becomes_an_event_of_format_2(double, api):
    headers = {
        "Authorization": "Bearer t",
        "Cookie": "a=1; b=2",
        "Content-Type": "application/json",
    }
    status, answer_headers, body = api.request(
        "POST", "/api/v1/deployments/d-1?x=1&x=2&y=", b'{"k":1}', headers
    )
    assert (status, answer_headers["content-type"]) == (200, "application/json")
    event = json.loads(body)
    assert (event["version"], event["routeKey"]) == ("2.0", "POST /api/v1/deployments/{id}")
    assert (event["rawPath"], event["rawQueryString"]) == ("/api/v1/deployments/d-1", "x=1&x=2&y=")
    assert event["queryStringParameters"] == {"x": "1,2", "y": ""}
    assert event["pathParameters"] == {"id": "d-1"}
    assert event["headers"]["authorization"] == "Bearer t" and "cookie" not in event["headers"]
    assert event["cookies"] == ["a=1", "b=2"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"k":1}', False)
    http = event["requestContext"]["http"]
    assert (http["method"], http["path"], http["sourceIp"]) == (
        "POST",
        "/api/v1/deployments/d-1",
        "127.0.0.1",
    )
    assert event["requestContext"]["stage"] == "$default"


def test_bodies_that_are_not_text_travel_as_base64(api):
    raw = bytes(range(256))
    _, _, body = api.request(
        "POST", "/api/v1/deployments/d-1", raw, {"Content-Type": "application/octet-stream"}
    )
    event = json.loads(body)
    assert event["isBase64Encoded"] is True and base64.b64decode(event["body"]) == raw


def test_unknown_paths_and_methods_are_not_found(api):
    for method, path in (
        ("GET", "/"),
        ("GET", "/api/v1/deployments/d-1"),
        ("POST", "/api/v1/deployments"),
    ):
        status, _, body = api.request(method, path, b"" if method == "POST" else None)
        assert (status, json.loads(body)) == (404, {"message": "Not Found"})


def test_a_busy_function_is_unavailable(double, api):
    double.client("lambda").invoke(
        FunctionName="probe", InvocationType="Event", Payload=b'{"do":"sleep","millis":1500}'
    )
    # Were it throttled, it would come again by a clock that stands still.
    eventually("it has begun", 60, lambda: started(double) == 1)
    statuses = set()
    for _ in range(50):
        status, _, body = api.request("GET", "/busy")
        statuses.add(status)
        if status == 503:
            assert json.loads(body) == {"message": "Service Unavailable"}
            break
    assert 503 in statuses


def test_the_functions_status_headers_and_body_are_passed_on(double, tmp_path):
    # A function that is not written with our runtime: the Runtime API by hand.
    program = tmp_path / "bootstrap"
    program.write_text(
        """#!/usr/bin/env python3
import json, os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
answers = [
    {"statusCode": 201, "headers": {"X-One": "1"}, "cookies": ["a=1", "b=2"],
     "body": "aGk=", "isBase64Encoded": True},
    {"statusCode": "soon"},
]
while True:
    with urllib.request.urlopen(base + "next") as event:
        request = event.headers["Lambda-Runtime-Aws-Request-Id"]
    body = json.dumps(answers.pop(0)).encode()
    urllib.request.urlopen(urllib.request.Request(base + request + "/response", body)).read()
"""
    )
    program.chmod(0o755)
    double.control(
        "POST", "/functions", {"name": "byhand", "binary": str(program), "timeout_seconds": 10}
    )
    routes = [{"method": "ANY", "path": "/{proxy+}", "function": "byhand"}]
    url = double.control("POST", "/http-apis", {"routes": routes})["endpoint"]
    with urllib.request.urlopen(url + "/any/path") as answer:
        assert (answer.status, answer.read(), answer.headers["X-One"]) == (201, b"hi", "1")
        assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
    status, _, body = Endpoint(url).request("GET", "/any/path")
    assert (status, json.loads(body)) == (500, {"message": "Internal Server Error"})
