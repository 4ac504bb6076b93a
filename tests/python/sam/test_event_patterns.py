"""Which event wakes which rule, by a matcher of EventBridge's patterns that we did not write:
moto's. The events are those of events/, and AWS's published samples as the crate aws_lambda_events
carries them."""

import json
import os
from pathlib import Path

import pytest
from moto.events.models import EventPattern
from samcli.yamlhelper import yaml_parse
from support import ROOT

GROUP, DOCUMENT = "ghosthands-worker-asg", "GhostHands-Host"
RESOURCES = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]

# The rules that each kind of event wakes, by the beginning of its file's name; the longest that
# fits counts.
WAKES = {
    "autoscale-foreign-event": {"Drain/TakenBack"},
    "drain-terminate": {"Drain/Leaving"},
    "drain-terminate-other-group": set(),
    "drain-terminate-old-form": {"Drain/Leaving"},
    "drain-launch": set(),
    "drain-test-notification": set(),
    "drain-command": {"Deploy/Answered"},
    "drain-invocation": {"Drain/Answered"},
    "drain-invocation-other-document": set(),
    "drain-rebalance": {"Drain/TakenBack"},
    "drain-spot": {"Drain/TakenBack"},
    "drain-retirement": {"Drain/Retired"},
    "drain-reboot-scheduled": {"Drain/Retired"},
    "deploy-command": {"Deploy/Answered"},
    "deploy-command-other-document": set(),
    "deploy-invocation": {"Drain/Answered"},
}


def resolved(value, group: str):
    """The pattern with its parameters, as CloudFormation sends it."""
    if isinstance(value, dict):
        if "Ref" in value:
            return {"GroupName": group, "HostDocumentName": DOCUMENT}[value["Ref"]]
        return {name: resolved(inner, group) for name, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, group) for inner in value]
    return value


def woken(event: dict, group: str = GROUP) -> set[str]:
    """The rules whose patterns the event matches."""
    found = set()
    for function, resource in RESOURCES.items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        for name, rule in resource["Properties"].get("Events", {}).items():
            if rule["Type"] != "EventBridgeRule":
                continue
            pattern = resolved(rule["Properties"]["Pattern"], group)
            if EventPattern.load(json.dumps(pattern)).matches_event(event):
                found.add(f"{function}/{name}")
    return found


def expected(name: str) -> set[str]:
    fits = [beginning for beginning in WAKES if name.startswith(beginning)]
    return WAKES[max(fits, key=len)]


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def is_of_aws(path: Path) -> bool:
    """Not the body of a request, nor a schedule, whose rule has no pattern, nor rubbish."""
    event = read(path)
    source = event.get("source", "") if isinstance(event, dict) else ""
    return str(source).startswith("aws.") and source != "aws.events"


EVENTS = [path for path in sorted((ROOT / "events").glob("*.json")) if is_of_aws(path)]


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_an_event_wakes_the_rules_that_are_for_it_and_no_other(path):
    assert woken(read(path)) == expected(path.stem)


def test_every_rule_is_woken_by_some_event():
    rules = {
        f"{function}/{name}"
        for function, resource in RESOURCES.items()
        for name, rule in resource.get("Properties", {}).get("Events", {}).items()
        if isinstance(rule, dict) and rule.get("Type") == "EventBridgeRule"
    }
    assert set().union(*(woken(read(path)) for path in EVENTS)) == rules


def test_aws_own_samples_of_auto_scaling_wake_the_drain_where_an_instance_of_the_group_leaves():
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    samples = sorted(
        home.glob(
            "registry/src/*/aws_lambda_events-*/src/fixtures/example-autoscaling-event-*.json"
        )
    )
    assert samples, "the crate is there once the functions are built"
    for sample in samples:
        event = read(sample)
        leaves = sample.stem.endswith("terminate-action")
        assert woken(event, "my-asg") == ({"Drain/Leaving"} if leaves else set()), sample.name
        assert woken(event) == set(), "of another group"
