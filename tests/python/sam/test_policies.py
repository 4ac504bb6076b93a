"""What the templates allow, held against the public authorization reference of AWS, as
policy_sentry carries it: every action exists, takes the resource that is named, and knows the
condition."""

import fnmatch
import re

import pytest
from policy_sentry.querying.actions import get_action_data
from policy_sentry.querying.arns import get_raw_arns_for_service
from policy_sentry.querying.conditions import get_condition_keys_for_service
from samcli.yamlhelper import yaml_parse
from support import ROOT

TEMPLATES = {
    name: yaml_parse((ROOT / name).read_text()) for name in ("template.yaml", "fleet.yaml")
}
# Statements with a star over actions that know a resource, and why.
WIDE = {
    "AttachToTheNetwork": "Lambda checks these on all interfaces before it makes one",
    "SeeAlarms": "CloudWatch describes composite alarms only to whoever may describe all",
}


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def statements() -> list:
    found = []
    for template, content in TEMPLATES.items():
        for name, resource in content["Resources"].items():
            properties = resource["Properties"]
            documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
            if resource["Type"] == "AWS::IAM::Policy":
                documents = [properties["PolicyDocument"]]
            for document in documents:
                for statement in document["Statement"]:
                    allowed = statement.get("Fn::If", [None, statement])[1]
                    id = f"{template.split('.')[0]}-{name}-{allowed['Sid']}"
                    found.append(pytest.param(allowed, id=id))
    return found


def plain(text: str) -> str:
    """The text with something in place of each variable; a parameter's name begins with a slash."""
    return re.sub(r"\$\{[^}]*\}", "x", text.replace("${StateParameter}", "/x"))


def texts(resource) -> list[str]:
    """Every text that a resource's intrinsic functions can come to, variables as a star."""
    if isinstance(resource, str):
        return [resource]
    if isinstance(resource, list):
        return [text for one in resource for text in texts(one)]
    if "Fn::If" in resource:
        return texts(resource["Fn::If"][1:])
    if "Fn::Sub" in resource:
        text = resource["Fn::Sub"]
        if isinstance(text, list):
            text, given = text
            return [
                plain(text.replace("${" + name + "}", one))
                for name, value in given.items()
                for one in texts(value)
            ]
        return [plain(text)]
    # Of another resource or a parameter: its form is that of its type.
    return []


def fits(arn: str, raw: str) -> bool:
    """Whether an ARN with its variables replaced is one of the form that AWS writes down."""
    pattern = re.sub(r"\$\{[^}]*\}", "*", raw)
    probe = arn.replace("*", "x").replace("?", "x")
    return fnmatch.fnmatchcase(probe, pattern)


def resource_types(action: str) -> dict[str, dict]:
    service, name = action.split(":")
    [data] = [get_action_data(service, name)[service]]
    return {one["resource_arn_format"]: one for one in data}


@pytest.mark.parametrize("statement", statements())
def test_each_action_exists_and_takes_the_resource_that_is_named(statement):
    for action in listed(statement["Action"]):
        assert "*" not in action
        service, name = action.split(":")
        assert get_action_data(service, name), f"{action} is no action of AWS"
        forms = resource_types(action)
        named = texts(statement["Resource"])
        if named == ["*"]:
            # A star only where AWS takes nothing narrower. The key of the condition is narrower.
            narrower = [form for form in forms if form != "*"]
            assert not narrower or statement["Sid"] in WIDE, (action, narrower)
            continue
        for arn in named:
            assert any(fits(arn, form) for form in forms if form != "*"), (action, arn, list(forms))


@pytest.mark.parametrize("statement", statements())
def test_each_condition_is_one_that_the_service_knows(statement):
    services = {action.split(":")[0] for action in listed(statement["Action"])}
    for keys in statement.get("Condition", {}).values():
        for key in keys:
            if key.startswith("aws:") and not key.startswith("aws:ResourceTag"):
                continue
            known = [one for service in services for one in get_condition_keys_for_service(service)]
            forms = [re.sub(r"\$\{[^}]*\}", "*", one) for one in known]
            assert any(fnmatch.fnmatchcase(key, form) for form in forms), (key, sorted(set(forms)))


def test_the_reference_itself_is_there():
    assert get_raw_arns_for_service("autoscaling")
    assert not get_action_data("autoscaling", "EndInstance")
