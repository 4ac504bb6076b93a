"""What the template promises, held against the function and the documents."""

import json
import os
import re
import subprocess
import tomllib

import pytest
from support import ROOT, environment
from samcli.yamlhelper import yaml_parse

TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
FUNCTION = TEMPLATE["Resources"]["Autoscale"]["Properties"]
VARIABLES = FUNCTION["Environment"]["Variables"]
PARAMETERS = TEMPLATE["Parameters"]
STATEMENTS = [
    part
    for statement in TEMPLATE["Resources"]["AutoscaleRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    for part in (statement.get("Fn::If", [None, statement])[1],)
]
BINARY = os.environ.get("FLEET_AUTOSCALE_BIN", str(ROOT / ".aws-sam/build/Autoscale/bootstrap"))


def complaints(**settings: str) -> dict[str, str]:
    """What the function says of these settings when it starts, by variable."""
    # Whatever starts has a runtime to ask for work; nobody answers there, and it ends.
    lambda_host = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "AWS_LAMBDA_FUNCTION_NAME": "autoscale",
                   "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "1",
                   "AWS_LAMBDA_LOG_GROUP_NAME": "g", "AWS_LAMBDA_LOG_STREAM_NAME": "s"}  # fmt: skip
    ended = subprocess.run(
        [BINARY], env=environment(**lambda_host, **settings), capture_output=True, text=True, timeout=20
    )
    assert "panicked" not in ended.stderr, ended.stderr
    if ended.returncode != 78:
        return {}
    report = json.loads(ended.stdout.splitlines()[0])["report"]
    return {line.split()[0]: line for line in report.splitlines()[1:]}


def parameter_of(variable: str) -> str | None:
    value = VARIABLES[variable]
    return value.get("Ref") if isinstance(value, dict) else None


def test_every_variable_is_one_that_the_function_reads():
    # A blank is no valid value of any setting, so a variable that is read is complained about.
    assert set(complaints(**dict.fromkeys(VARIABLES, " "))) == set(VARIABLES)


def test_every_variable_is_documented():
    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    assert [name for name in VARIABLES if f"`{name}`" not in text] == []


NUMBERS = [name for name in VARIABLES if PARAMETERS.get(parameter_of(name), {}).get("Type") == "Number"]


@pytest.mark.parametrize("name", NUMBERS)
def test_the_template_allows_just_what_the_function_takes(name):
    least, most = (int(PARAMETERS[parameter_of(name)][bound]) for bound in ("MinValue", "MaxValue"))
    for value in (least, most):
        # AUTOSCALE_MIN is also held against AUTOSCALE_MAX, so both move together.
        both = dict.fromkeys(("AUTOSCALE_MIN", "AUTOSCALE_MAX"), str(value)) if name.startswith("AUTOSCALE_M") else {}
        assert name not in complaints(**both | {name: str(value)}), value
    for value in (least - 1, most + 1):
        assert name in complaints(**{name: str(value)}), value


def test_the_template_repeats_the_functions_own_defaults():
    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    for name in NUMBERS + ["PGBOSS_SCHEMA", "PGBOSS_QUEUE"]:
        row = next(line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1])
        assert f"`{PARAMETERS[parameter_of(name)]['Default']}`" in row, row


def test_the_role_may_touch_its_own_things_only():
    for statement in STATEMENTS:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action]
        if statement["Resource"] == "*":
            # AWS knows no narrower resource for these.
            assert all(re.match(r"autoscaling:Describe|ec2:", action) for action in actions), actions
    assert "ManagedPolicyArns" not in TEMPLATE["Resources"]["AutoscaleRole"]["Properties"]


def test_the_role_covers_every_call_of_the_function():
    allowed = {action for statement in STATEMENTS for action in (
        statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])}  # fmt: skip
    # The drain function's own modules are not in this binary.
    modules = ("auto_scaling.rs", "parameters.rs", "secrets.rs")
    sources = "".join((ROOT / "shared/clients/src" / module).read_text() for module in modules)
    services = {"describe_auto_scaling_groups": "autoscaling:DescribeAutoScalingGroups",
                "describe_instance_refreshes": "autoscaling:DescribeInstanceRefreshes",
                "set_desired_capacity": "autoscaling:SetDesiredCapacity",
                "terminate_instance_in_auto_scaling_group": "autoscaling:TerminateInstanceInAutoScalingGroup",
                "get_parameter": "ssm:GetParameter", "put_parameter": "ssm:PutParameter",
                "get_secret_value": "secretsmanager:GetSecretValue"}  # fmt: skip
    called = set(re.findall(r"^\s*\.((?:describe|set|terminate|get|put)_[a-z_]+)\(\)", sources, re.MULTILINE))
    called |= set(re.findall(r"client\.((?:describe|set|terminate|get|put)_[a-z_]+)\(\)", sources))
    assert called == set(services)
    assert {services[call] for call in called} <= allowed


def test_one_at_a_time_within_the_minute():
    assert FUNCTION["ReservedConcurrentExecutions"] == 1
    assert FUNCTION["Timeout"] < 60
    assert FUNCTION["Events"]["EveryMinute"]["Properties"]["Schedule"] == "rate(1 minute)"
    assert FUNCTION["LoggingConfig"]["LogFormat"] == "JSON"


def test_every_alarm_watches_a_metric_that_exists():
    metrics = (ROOT / "shared/clients/src/telemetry/metrics.rs").read_text()
    for name, resource in TEMPLATE["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm" and resource["Properties"]["Namespace"] != "AWS/Lambda":
            assert f'"{resource["Properties"]["Namespace"]}"' in metrics, name
            assert f'"{resource["Properties"]["MetricName"]}"' in metrics, name
            assert resource["Properties"]["Dimensions"] == [{"Name": "group", "Value": {"Ref": "GroupName"}}]


def test_the_environments_set_parameters_that_exist():
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name in ("staging", "production"):
        overrides = dict(pair.split("=", 1) for pair in config[name]["deploy"]["parameters"]["parameter_overrides"])
        assert set(overrides) <= set(PARAMETERS)
        assert overrides["Environment"] == name
        assert overrides["Enabled"] == "true"
