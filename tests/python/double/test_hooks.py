"""Lifecycle hooks through boto3: waits, heartbeats, timeouts, events, instance metadata."""

import json

import pytest
from aws import describe, ids, refused, states

HOOK = {"AutoScalingGroupName": "fleet", "LifecycleHookName": "ghosthands-drain-hook"}
TERMINATING = {"LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}


@pytest.fixture
def waiting(double, autoscaling):
    """The id of an instance that waits in its terminate hook, second of two in the group."""
    double.group("fleet", desired=2)
    autoscaling.put_lifecycle_hook(
        **HOOK, **TERMINATING, HeartbeatTimeout=300, NotificationMetadata="note"
    )
    instance = ids(autoscaling)[0]
    autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=instance, ShouldDecrementDesiredCapacity=True
    )
    assert states(autoscaling) == ["Terminating:Wait", "InService"]
    return instance


def test_a_hook_is_described_as_it_was_put(double, autoscaling):
    double.group("fleet")
    put = autoscaling.put_lifecycle_hook
    put(**HOOK, **TERMINATING, HeartbeatTimeout=300)
    (hook,) = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName="fleet")["LifecycleHooks"]
    assert hook == HOOK | TERMINATING | {
        "HeartbeatTimeout": 300,
        "GlobalTimeout": 30000,
        "DefaultResult": "ABANDON",
    }
    # A change keeps what it does not name.
    put(**HOOK, DefaultResult="CONTINUE")
    (hook,) = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName="fleet")["LifecycleHooks"]
    assert (hook["HeartbeatTimeout"], hook["DefaultResult"]) == (300, "CONTINUE")
    assert "between 30 and 7200" in refused("ValidationError", put, **HOOK, HeartbeatTimeout=5)
    assert "CONTINUE or ABANDON" in refused(
        "ValidationError", put, **HOOK, DefaultResult="NONSENSE"
    )
    other = HOOK | {"LifecycleHookName": "other"}
    assert "LifecycleTransition" in refused("ValidationError", put, **other)
    ghost = HOOK | {"AutoScalingGroupName": "ghost"}
    assert "not found" in refused("ValidationError", put, **ghost, **TERMINATING)
    autoscaling.delete_lifecycle_hook(**HOOK)
    assert (
        autoscaling.describe_lifecycle_hooks(AutoScalingGroupName="fleet")["LifecycleHooks"] == []
    )


@pytest.mark.parametrize("result", ["CONTINUE", "ABANDON"])
def test_the_machine_runs_until_the_action_is_completed(double, autoscaling, waiting, result):
    double.advance(299)
    assert states(autoscaling)[0] == "Terminating:Wait"
    complete = autoscaling.complete_lifecycle_action
    answer = complete(**HOOK, InstanceId=waiting, LifecycleActionResult=result)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert states(autoscaling)[0] == "Terminating:Proceed"
    message = refused(
        "ValidationError", complete, **HOOK, InstanceId=waiting, LifecycleActionResult=result
    )
    assert message == f"No active Lifecycle Action found with instance ID {waiting}"
    double.advance(5)
    assert states(autoscaling) == ["InService"]
    assert double.kinds()[-3:] == ["TerminatingWait", "ShuttingDown", "Terminated"]


def test_the_token_of_the_event_completes_the_action(double, autoscaling, waiting):
    (event,) = [
        e for e in double.control("GET", "/bus") if e["detail-type"].endswith("Lifecycle Action")
    ]
    assert event["detail-type"] == "EC2 Instance-terminate Lifecycle Action"
    assert event["source"] == "aws.autoscaling"
    assert event["resources"] == [describe(autoscaling)["AutoScalingGroupARN"]]
    token = event["detail"].pop("LifecycleActionToken")
    assert event["detail"] == HOOK | TERMINATING | {
        "EC2InstanceId": waiting,
        "NotificationMetadata": "note",
        "Origin": "AutoScalingGroup",
        "Destination": "EC2",
    }
    complete = autoscaling.complete_lifecycle_action
    wrong = "00000000-0000-4000-8000-000000000000"
    message = refused(
        "ValidationError",
        complete,
        **HOOK,
        LifecycleActionToken=wrong,
        LifecycleActionResult="CONTINUE",
    )
    assert message == f"No active Lifecycle Action found with token {wrong}"
    complete(**HOOK, LifecycleActionToken=token, LifecycleActionResult="CONTINUE")
    assert states(autoscaling)[0] == "Terminating:Proceed"


def test_a_heartbeat_starts_the_timeout_anew(double, autoscaling, waiting):
    double.advance(299)
    autoscaling.record_lifecycle_action_heartbeat(**HOOK, InstanceId=waiting)
    double.advance(299)
    assert states(autoscaling)[0] == "Terminating:Wait"
    double.advance(1)
    assert states(autoscaling)[0] == "Terminating:Proceed"
    refused(
        "ValidationError", autoscaling.record_lifecycle_action_heartbeat, **HOOK, InstanceId=waiting
    )


def test_heartbeats_do_not_outlast_the_global_timeout(double, autoscaling, waiting):
    # A hundred heartbeats: 30000 seconds.
    for _ in range(29_999 // 299):
        double.advance(299)
        autoscaling.record_lifecycle_action_heartbeat(**HOOK, InstanceId=waiting)
    double.advance(29_999 % 299)
    assert states(autoscaling)[0] == "Terminating:Wait"
    double.advance(1)
    assert states(autoscaling)[0] == "Terminating:Proceed"


RETAIN = {"RetentionTriggers": {"TerminateHookAbandon": "retain"}}


@pytest.fixture
def retained(double, autoscaling, waiting):
    """The id of an instance whose hook was abandoned in a group that retains such instances."""
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName="fleet", InstanceLifecyclePolicy=RETAIN
    )
    double.advance(300)
    return waiting


def test_an_abandoned_instance_is_retained_and_runs_on(double, autoscaling, retained):
    assert describe(autoscaling)["InstanceLifecyclePolicy"] == RETAIN
    double.advance(86_400)
    assert states(autoscaling) == ["Terminating:Retained", "InService"]
    assert describe(autoscaling)["DesiredCapacity"] == 1, "it is not counted"
    (reservation,) = double.client("ec2").describe_instances(InstanceIds=[retained])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "running"
    protect = {
        "AutoScalingGroupName": "fleet",
        "InstanceIds": [retained],
        "ProtectedFromScaleIn": True,
    }
    refused("ValidationError", autoscaling.set_instance_protection, **protect)


def test_continue_never_retains(double, autoscaling, waiting):
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName="fleet", InstanceLifecyclePolicy=RETAIN
    )
    autoscaling.complete_lifecycle_action(
        **HOOK, InstanceId=waiting, LifecycleActionResult="CONTINUE"
    )
    assert states(autoscaling)[0] == "Terminating:Proceed"


def test_a_retained_instance_ends_by_a_second_round_with_a_new_token(double, autoscaling, retained):
    terminate = autoscaling.terminate_instance_in_auto_scaling_group
    message = refused(
        "ValidationError", terminate, InstanceId=retained, ShouldDecrementDesiredCapacity=True
    )
    assert "must be false" in message
    terminate(InstanceId=retained, ShouldDecrementDesiredCapacity=False)
    assert states(autoscaling) == ["Terminating:Wait", "InService"]
    events = [
        e for e in double.control("GET", "/bus") if e["detail-type"].endswith("Lifecycle Action")
    ]
    first, second = (event["detail"]["LifecycleActionToken"] for event in events)
    assert first != second
    complete = autoscaling.complete_lifecycle_action
    refused(
        "ValidationError",
        complete,
        **HOOK,
        LifecycleActionToken=first,
        LifecycleActionResult="CONTINUE",
    )
    complete(**HOOK, LifecycleActionToken=second, LifecycleActionResult="CONTINUE")
    double.advance(5)
    assert states(autoscaling) == ["InService"] and describe(autoscaling)["DesiredCapacity"] == 1


def test_a_launch_hook_holds_the_newcomer(double, autoscaling):
    double.group("fleet")
    launching = {"LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
    autoscaling.put_lifecycle_hook(
        **HOOK, **launching, HeartbeatTimeout=300, DefaultResult="CONTINUE"
    )
    autoscaling.set_desired_capacity(AutoScalingGroupName="fleet", DesiredCapacity=3)
    double.advance(60)
    assert states(autoscaling) == ["InService", "Pending:Wait", "Pending:Wait"]
    newcomer = ids(autoscaling)[1]
    autoscaling.complete_lifecycle_action(
        **HOOK, InstanceId=newcomer, LifecycleActionResult="CONTINUE"
    )
    assert states(autoscaling) == ["InService", "InService", "Pending:Wait"]
    double.advance(240)
    assert states(autoscaling) == ["InService", "InService", "Pending:Wait"]
    double.advance(60)
    assert states(autoscaling) == ["InService", "InService", "InService"]


def test_the_machine_sees_where_it_is_heading(double, autoscaling, waiting):
    def metadata(instance, path, token=None):
        headers = {"X-aws-ec2-metadata-token": token} if token else {}
        status, _, body = double.request(
            "GET", f"/_double/imds/{instance}/latest/meta-data/{path}", headers=headers
        )
        return status, body.decode()

    def token(instance, **headers):
        return double.request("PUT", f"/_double/imds/{instance}/latest/api/token", b"", headers)

    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    staying = ids(autoscaling)[1]
    target = "autoscaling/target-lifecycle-state"
    assert metadata(waiting, target)[0] == 401
    assert token(waiting)[0] == 400
    going_token = token(waiting, **lifetime)[2].decode()
    staying_token = token(staying, **lifetime)[2].decode()
    assert metadata(waiting, target, going_token) == (200, "Terminated")
    assert metadata(staying, target, staying_token) == (200, "InService")
    assert metadata(staying, target, going_token)[0] == 401, "a token is for one machine"
    assert metadata(staying, "instance-id", staying_token) == (200, staying)
    assert metadata(staying, "ami-id", staying_token)[0] == 404
    double.advance(60)
    assert metadata(staying, target, staying_token)[0] == 401, "the token has ended"


def test_events_and_transitions_can_be_read_from_where_one_left_off(double, waiting):
    everything = double.control("GET", "/events")
    assert [event["seq"] for event in everything] == list(range(1, len(everything) + 1))
    assert double.control("GET", f"/events?since={everything[-2]['seq']}") == everything[-1:]
    assert everything[-1]["actions"][0]["hook"]["name"] == HOOK["LifecycleHookName"]
    assert json.dumps(everything).count("TerminatingWait") == 1
