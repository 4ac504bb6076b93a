"""What each event file promises by its name, held against the function's answer."""

import json
from collections.abc import Callable

GROUP = "ghosthands-worker-asg"


def unauthorized(answer: dict) -> None:
    assert answer["statusCode"] == 401, answer
    assert answer["headers"]["www-authenticate"] == "Bearer"
    assert json.loads(answer["body"])["title"] == "Unauthorized"


def unreadable(answer: dict) -> None:
    assert answer["errorType"] == "UnreadableEvent", answer


def autoscale(name: str, answer: dict) -> None:
    match name:
        case "schedule":
            assert answer["type"] == "decision" and answer["trigger"] == "schedule", answer
            assert answer["group"] == GROUP
            assert answer["decision"]["demand"]["jobs"] >= 0
        case "tick" | "tick-base64-body":
            assert answer["statusCode"] == 200, answer
            body = json.loads(answer["body"])
            assert body["type"] == "decision" and body["trigger"] == "api", body
        case "tick-wrong-token" | "tick-no-token":
            unauthorized(answer)
        case "foreign-event" | "rubbish":
            unreadable(answer)
        case other:
            raise AssertionError(f"no expectation for {other}: add one")


def drain(name: str, answer: dict) -> None:
    passes = {
        "schedule": "schedule",
        "test-notification": "test",
        "command": "command",
        "spot": "spot",
    }
    match name:
        case "launch" | "rubbish":
            unreadable(answer)
        case "terminate-other-group" | "invocation-other-document":
            assert answer["type"] == "foreign_event", answer
            assert "somebody" in answer["because"] or "AWS-RunShellScript" in answer["because"]
        case "reboot-scheduled":
            assert answer["type"] == "foreign_event", answer
            assert answer["because"].endswith("which ends no machine"), answer
        case _:
            # The instances that the files name are in no group here, so everything else is a pass
            # that leaves everybody alone.
            kind = name.split("-", maxsplit=1)[0]
            trigger = passes.get(name) or {"terminate": "lifecycle"}.get(kind, kind)
            assert answer["type"] == "drain" and answer["trigger"] == trigger, answer
            assert answer["group"] == GROUP and not answer["dry_run"]
            assert answer["summary"] == ["nobody is leaving"], answer
            named = name not in (
                "terminate-no-instance",
                "command-no-resources",
                "rebalance-bad-id",
            )
            assert ("problem" in answer) != named, answer


def problem(answer: dict, status: int, says: str) -> None:
    assert answer["statusCode"] == status, answer
    assert answer["headers"]["content-type"] == "application/problem+json"
    body = json.loads(answer["body"])
    assert body["status"] == status and says in body["detail"], body


def fleet_status(name: str, answer: dict) -> None:
    match name:
        case "page":
            assert answer["statusCode"] == 200 and answer["headers"]["content-type"].startswith(
                "text/html"
            ), answer
            assert "default-src 'none'" in answer["headers"]["content-security-policy"]
        case "healthz":
            assert json.loads(answer["body"])["status"] == "ok", answer
        case "openapi":
            assert json.loads(answer["body"])["openapi"] == "3.1.0", answer
        case "status" | "status-operator":
            assert answer["statusCode"] == 200, answer
            assert answer["headers"]["x-fleet-role"] == (
                "reader" if name == "status" else "operator"
            )
            body = json.loads(answer["body"])
            assert (
                body["asgName"] == GROUP
                and body["currentCapacity"] >= 1
                and body["queueDepth"] >= 0
            ), body
            assert not {"group", "queue"} & {one["source"] for one in body["unavailable"]}, body[
                "unavailable"
            ]
        case "job-not-found":
            problem(answer, 404, "looked in")
        case "job-bad-id":
            problem(answer, 400, "is no job id")
        case "metrics":
            assert answer["statusCode"] == 200, answer
            kind = "text/plain; version=0.0.4; charset=utf-8"
            assert answer["headers"]["content-type"] == kind, answer["headers"]
            assert 'ghosthands_fleet_source_up{source="queue"} 1' in answer["body"], answer
        case "status-no-token" | "status-wrong-token" | "job-no-token":
            unauthorized(answer)
        case "capacity" | "capacity-base64-body":
            assert answer["statusCode"] == 200, answer
            floor = json.loads(answer["body"])["floor"]
            assert (floor and floor["workers"]) == (3 if name == "capacity" else None)
        case "capacity-reader":
            problem(answer, 403, "scope operate")
        case "capacity-bad-body":
            problem(answer, 400, "floor.expires_at is missing")
        case "capacity-above-max":
            problem(answer, 400, "above the maximum of 10")
        case "no-such-route":
            problem(answer, 404, "no such route")
        case "wrong-method":
            problem(answer, 405, "takes PUT, not DELETE")
            assert answer["headers"]["allow"] == "PUT"
        case "foreign-event":
            unreadable(answer)
        case other:
            raise AssertionError(f"no expectation for {other}: add one")


def deploy(name: str, answer: dict) -> None:
    # In this fleet no host has an agent, so that nothing can be begun, and everything before that
    # is met.
    statuses = {
        "create": 409,
        "create-base64-body": 409,
        "create-bad-tag": 400,
        "create-unknown-field": 400,
        "create-no-key": 400,
        "list": 200,
        "openapi": 200,
        "get": 404,
        "cancel": 404,
        "rollback": 404,
        "cleanup": 409,
        "refresh-secrets": 409,
        "drain": 409,
    }
    passes = {
        "schedule": "schedule",
        "invocation": "invocation",
        "command": "command",
        "command-parameters-as-text": "command",
    }
    match name:
        case "create-no-token":
            unauthorized(answer)
        case "rubbish":
            unreadable(answer)
        case "command-drain" | "command-other-document":
            assert answer["type"] == "foreign_event", answer
        case "survey":
            # Here is no such document, which ends the survey and not the function.
            assert answer["type"] == "survey" and "InvalidDocument" in answer["summary"], answer
        case _ if name in passes:
            assert answer["type"] == "rollout" and answer["trigger"] == passes[name], answer
            assert answer["summary"] == ["no rollout is in progress"], answer
        case _:
            assert answer["statusCode"] == statuses[name], answer
            body = json.loads(answer["body"])
            if statuses[name] >= 400:
                assert answer["headers"]["content-type"] == "application/problem+json"
                assert body["status"] == statuses[name] and body["detail"], body


# By the event files' first words, which is also the function's package.
def authorize(name: str, answer: dict) -> None:
    assert answer == {"isAuthorized": name == "operator"}, answer


BY_FUNCTION: dict[str, Callable[[str, dict], None]] = {
    "authorize": authorize,
    "autoscale": autoscale,
    "deploy": deploy,
    "drain": drain,
    "fleet-status": fleet_status,
}


def function_of(event: str) -> str:
    """The function that an event file is for."""
    return next(function for function in BY_FUNCTION if event.startswith(f"{function}-"))


def answer_fits(event: str, answer: dict) -> None:
    """Holds the answer to an event file against what the file's name promises."""
    function = function_of(event)
    BY_FUNCTION[function](event.removeprefix(f"{function}-"), answer)
