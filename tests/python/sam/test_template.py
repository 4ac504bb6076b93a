"""What the template promises, held against the function and the documents."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from expectations import BY_FUNCTION
from samcli.cli.types import CfnParameterOverridesType
from samcli.yamlhelper import yaml_parse
from support import ROOT, environment, logical_id, shipped

TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
RESOURCES = TEMPLATE["Resources"]
PARAMETERS = TEMPLATE["Parameters"]
FUNCTIONS = {name: RESOURCES[logical_id(name)]["Properties"] for name in BY_FUNCTION}
VARIABLES = {name: properties["Environment"]["Variables"] for name, properties in FUNCTIONS.items()}

each_function = pytest.mark.parametrize("function", FUNCTIONS)


def statements(function: str) -> list[dict]:
    """What a function's role allows, conditional parts included."""
    policy = RESOURCES[f"{logical_id(function)}Role"]["Properties"]["Policies"][0]["PolicyDocument"]
    return [statement.get("Fn::If", [None, statement])[1] for statement in policy["Statement"]]


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def allowed(function: str) -> set[str]:
    return {action for statement in statements(function) for action in listed(statement["Action"])}


def complaints(function: str, **settings: str) -> dict[str, str]:
    """What a function says of these settings when it starts, by variable."""
    # Whatever starts has a runtime to ask for work; nobody answers there, and it ends.
    lambda_host = {
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9",
        "AWS_LAMBDA_FUNCTION_NAME": function,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_LOG_GROUP_NAME": "g",
        "AWS_LAMBDA_LOG_STREAM_NAME": "s",
    }
    ended = subprocess.run(
        [shipped(function)],
        env=environment(**lambda_host, **settings),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "panicked" not in ended.stderr, ended.stderr
    if ended.returncode != 78:
        return {}
    report = json.loads(ended.stdout.splitlines()[0])["report"]
    return {line.split()[0]: line for line in report.splitlines()[1:]}


def parameter_of(function: str, variable: str) -> str | None:
    value = VARIABLES[function][variable]
    return value.get("Ref") if isinstance(value, dict) else None


@each_function
def test_every_variable_is_one_that_the_function_reads(function):
    # A control character is part of no valid value, so a variable that is read is complained about.
    assert set(complaints(function, **dict.fromkeys(VARIABLES[function], "\x01"))) == set(
        VARIABLES[function]
    )


@each_function
def test_every_variable_is_documented(function):
    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    assert [name for name in VARIABLES[function] if f"`{name}`" not in text] == []


NUMBERS = [
    (function, name)
    for function, variables in VARIABLES.items()
    for name in variables
    if PARAMETERS.get(parameter_of(function, name), {}).get("Type") == "Number"
]


@pytest.mark.parametrize(("function", "name"), NUMBERS)
def test_the_template_allows_just_what_the_function_takes(function, name):
    least, most = (
        int(PARAMETERS[parameter_of(function, name)][bound]) for bound in ("MinValue", "MaxValue")
    )
    for value in (least, most):
        # AUTOSCALE_MIN is also held against AUTOSCALE_MAX, so both move together.
        both = (
            dict.fromkeys(("AUTOSCALE_MIN", "AUTOSCALE_MAX"), str(value))
            if name.startswith("AUTOSCALE_M")
            else {}
        )
        assert name not in complaints(function, **both | {name: str(value)}), value
    for value in (least - 1, most + 1):
        assert name in complaints(function, **{name: str(value)}), value


# Texts whose defaults the template repeats.
TEXTS = [
    ("autoscale", "PGBOSS_SCHEMA"),
    ("autoscale", "PGBOSS_QUEUE"),
    ("drain", "DRAIN_HOOK"),
    ("drain", "DRAIN_DOCUMENT"),
    ("deploy", "FLEET_DOCUMENT"),
    ("fleet-status", "PGBOSS_SCHEMA"),
    ("fleet-status", "FLEET_DOCUMENT"),
]


@pytest.mark.parametrize(("function", "name"), NUMBERS + TEXTS)
def test_the_template_repeats_the_functions_own_defaults(function, name):
    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    row = next(
        line
        for line in text.splitlines()
        if line.startswith("|") and f"`{name}`" in line.split("|")[1]
    )
    assert f"`{PARAMETERS[parameter_of(function, name)]['Default']}`" in row, row


@each_function
def test_the_role_may_touch_its_own_things_only(function):
    for statement in statements(function):
        actions = listed(statement["Action"])
        assert not [action for action in actions if "*" in action]
        if statement["Resource"] == "*":
            # AWS knows no narrower resource for these.
            assert all(
                re.match(
                    r"(autoscaling|ssm):(Describe|List)|ssm:CancelCommand|ec2:"
                    r"|cloudwatch:DescribeAlarms$",
                    action,
                )
                for action in actions
            ), actions
    assert "ManagedPolicyArns" not in RESOURCES[f"{logical_id(function)}Role"]["Properties"]


# The modules of shared/clients whose calls a function makes.
MODULES = {
    "autoscale": (
        "auto_scaling.rs",
        "launches.rs",
        "parameters.rs",
        "rollouts/stored.rs",
        "secrets.rs",
    ),
    "deploy": ("alarms.rs", "rollouts/mod.rs", "rollouts/stored.rs", "secrets.rs"),
    "drain": ("lifecycle.rs", "run_command/drains.rs", "ec2.rs"),
    "fleet-status": ("launches.rs", "tags.rs", "parameters.rs", "proofs.rs", "secrets.rs"),
}
# Calls of a module that a function has no use for.
UNUSED = {"fleet-status": {"ssm:PutParameter"}}
# What IAM calls them.
SERVICES = {
    "autoscaling": r"(complete_lifecycle|record_lifecycle|describe_(auto|lifecycle|scaling)"
    r"|set_desired|terminate_instance|create_or_update)_\w+|delete_tags|describe_instance_refreshes",
    "ssm": r"(?:get|put|delete)_parameters?|(?:send|cancel)_command"
    r"|list_command(?:s|_invocations)|describe_instance_information",
    "secretsmanager": r"get_secret_value",
}


def test_the_function_that_is_asked_first_may_read_the_tokens_and_nothing_else():
    assert allowed("authorize") == {
        "secretsmanager:GetSecretValue",
        "kms:Decrypt",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }


@pytest.mark.parametrize("function", MODULES)
def test_the_role_covers_every_call_of_the_function(function):
    sources = "".join(
        (ROOT / "shared/clients/src" / module).read_text() for module in MODULES[function]
    )
    called = {
        f"{service}:{''.join(word.capitalize() for word in match.group(1).split('_'))}"
        for service, calls in SERVICES.items()
        for match in re.finditer(rf"\.({calls})\(\)", sources)
    }
    called |= {f"ec2:{action}" for action in re.findall(r'"(DescribeInstances)"', sources)}
    called |= {f"cloudwatch:{action}" for action in re.findall(r'"(DescribeAlarms)"', sources)}
    assert len(called) >= 4, called
    # The group is read by the same code in all.
    if function != "autoscale":
        called.add("autoscaling:DescribeAutoScalingGroups")
    called -= UNUSED.get(function, set())
    assert called <= allowed(function)
    elsewhere = {
        action for action in allowed(function) if action.startswith(("logs:", "sqs:", "kms:"))
    }
    network = {
        action
        for action in allowed(function)
        if "Network" in action or "Subnets" in action or "IpAddresses" in action
    }
    assert allowed(function) - elsewhere - network == called


def with_one_tick(value) -> int:
    """What holds where an invocation makes one tick, and places are reserved."""
    if not isinstance(value, dict):
        return value
    condition, yes, no = value["Fn::If"]
    return with_one_tick(yes if condition == "Reserves" else no)


@pytest.mark.parametrize("function", ["autoscale", "drain"])
def test_ticks_come_every_minute_and_end_within_it(function):
    properties = FUNCTIONS[function]
    assert with_one_tick(properties["Timeout"]) <= 60
    assert properties["Events"]["EveryMinute"]["Properties"]["Schedule"] == "rate(1 minute)"
    assert properties["LoggingConfig"]["LogFormat"] == "JSON"
    assert with_one_tick(properties["ReservedConcurrentExecutions"]) >= 1


def test_one_tick_of_autoscale_at_a_time():
    assert with_one_tick(FUNCTIONS["autoscale"]["ReservedConcurrentExecutions"]) == 1
    assert with_one_tick(FUNCTIONS["autoscale"]["Timeout"]) < 60


def test_an_invocation_that_makes_the_ticks_of_its_minute_has_the_time_and_a_place_beside_others():
    _, reserved, _ = FUNCTIONS["autoscale"]["ReservedConcurrentExecutions"]["Fn::If"]
    _, places, _ = reserved["Fn::If"]
    _, timeout, _ = FUNCTIONS["autoscale"]["Timeout"]["Fn::If"]
    last_tick = 60 - min(PARAMETERS["TickSeconds"]["AllowedValues"])
    assert timeout >= last_tick + 20
    # It overlaps the next one's first tick, and a person or a job may ask for one beside both.
    assert places == 3


# --- The first deployment
# -------------------------------------------------------------------------------


def test_the_template_as_it_is_shipped_changes_nothing_in_any_function():
    assert PARAMETERS["Mode"]["Default"] == "observe"
    assert TEMPLATE["Conditions"]["Observes"] == {"Fn::Equals": [{"Ref": "Mode"}, "observe"]}
    # The authorizer has nothing that it could change.
    for function, variables in VARIABLES.items():
        if function == "authorize":
            continue
        assert variables["DRY_RUN"] == {"Fn::If": ["Observes", "true", "false"]}, function
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name in ("staging", "production"):
        assert "Mode=observe" in config[name]["deploy"]["parameters"]["parameter_overrides"]


def test_four_places_of_the_accounts_concurrency_are_enough_and_none_can_be_asked_for():
    reserved = [
        properties["ReservedConcurrentExecutions"]
        for properties in FUNCTIONS.values()
        if "ReservedConcurrentExecutions" in properties
    ]
    assert sum(with_one_tick(value) for value in reserved) <= 4
    assert PARAMETERS["ReservedConcurrency"]["AllowedValues"] == ["few", "none"]
    for value in reserved:
        condition, _, otherwise = value["Fn::If"]
        assert condition == "Reserves" and otherwise == {"Ref": "AWS::NoValue"}


ALARMS = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}


def test_production_tells_somebody_of_alarms():
    rule = TEMPLATE["Rules"]["ProductionTellsSomebody"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Environment"}, "production"]}
    [assertion] = rule["Assertions"]
    asked = {
        clause["Fn::Not"][0]["Fn::Equals"][0]["Ref"] for clause in assertion["Assert"]["Fn::Or"]
    }
    assert asked == {"AlarmEmail", "AlarmTopicArn"}
    topic = {"Fn::If": ["MakesAlarmTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}
    for name, alarm in ALARMS.items():
        for key in ("AlarmActions", "OKActions"):
            assert alarm[key]["Fn::If"][:2] == ["HasAlarmTopic", [topic]], name


def test_silence_is_told_only_after_there_was_something_to_hear():
    silent = {name: alarm for name, alarm in ALARMS.items() if name.endswith("Silent")}
    assert len(silent) == 3
    for name, alarm in silent.items():
        # A metric that Lambda gives for nothing, and whose absence is the alarm's first state.
        assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Invocations"), name
        assert alarm["TreatMissingData"] == "missing"
        assert alarm["InsufficientDataActions"] == alarm["AlarmActions"]


def test_no_alarm_stays_up_for_longer_than_its_cause():
    for name, alarm in ALARMS.items():
        # A depth that lasts until somebody empties the queue would be up for days.
        assert not alarm["MetricName"].startswith("ApproximateNumberOfMessages"), name
        silent = name.endswith("Silent")
        assert alarm["TreatMissingData"] == ("missing" if silent else "notBreaching"), name
        assert alarm["Period"] * alarm["EvaluationPeriods"] <= 3600, name


# --- Certificates as a parameter
# -------------------------------------------------------------------------------

PEM = "-----BEGIN CERTIFICATE-----\nMIIB+/a=\n-----END CERTIFICATE-----\n"


def as_sam_reads(overrides) -> dict:
    return CfnParameterOverridesType().convert(overrides, None, None)


@pytest.mark.parametrize("ways", [f'DatabaseCa="{PEM}"', [f'DatabaseCa="{PEM}{PEM}"']])
def test_certificates_in_quotes_arrive_whole(ways):
    found = as_sam_reads(ways)["DatabaseCa"]
    assert found in (PEM, PEM + PEM)
    assert re.fullmatch(PARAMETERS["DatabaseCa"]["AllowedPattern"], found)


def test_certificates_in_a_file_of_parameters_arrive_whole(tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text(json.dumps({"DatabaseCa": PEM, "Mode": "observe"}))
    assert as_sam_reads(f"file://{file}") == {"DatabaseCa": PEM, "Mode": "observe"}


def test_certificates_that_sam_cut_are_refused_before_anything_is_deployed():
    cut = as_sam_reads(f"DatabaseCa={PEM} Mode=observe")["DatabaseCa"]
    assert cut == "-----BEGIN"
    pattern = PARAMETERS["DatabaseCa"]["AllowedPattern"]
    assert not re.fullmatch(pattern, cut)
    for good in ("", "/opt/ca.pem", PEM, PEM + PEM):
        assert re.fullmatch(pattern, good), good
    assert "double quotes" in PARAMETERS["DatabaseCa"]["ConstraintDescription"]


def test_every_alarm_watches_a_metric_that_exists():
    metrics = "".join(
        file.read_text() for file in (ROOT / "shared/clients/src/telemetry").glob("*.rs")
    )
    filtered = [
        metric
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::Logs::MetricFilter"
        for metric in resource["Properties"]["MetricTransformations"]
    ]
    for name, resource in RESOURCES.items():
        alarm = resource["Properties"]
        if resource["Type"] != "AWS::CloudWatch::Alarm":
            continue
        if any(
            metric["MetricName"] == alarm["MetricName"]
            and metric["MetricNamespace"] == alarm["Namespace"]
            for metric in filtered
        ):
            continue
        if not alarm["Namespace"].startswith("AWS/"):
            assert f'"{alarm["Namespace"]}"' in metrics, name
            assert f'"{alarm["MetricName"]}"' in metrics, name
            assert alarm["Dimensions"] == [{"Name": "group", "Value": {"Ref": "GroupName"}}]


def test_an_alarm_tells_of_errors_of_each_function():
    watched = {
        dimension["Value"]["Ref"]
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
        and (resource["Properties"]["Namespace"], resource["Properties"]["MetricName"])
        == ("AWS/Lambda", "Errors")
        for dimension in resource["Properties"]["Dimensions"]
    }
    functions = {
        name
        for name, resource in RESOURCES.items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert watched == functions


# --- Who calls, and how often
# -------------------------------------------------------------------------------


def test_what_is_refused_and_what_is_throttled_is_counted_from_the_access_log():
    api = RESOURCES["Api"]["Properties"]
    fields = json.loads(api["AccessLogSettings"]["Format"])
    assert fields["status"] == "$context.status"
    # The same address and ids as in an audit line.
    assert fields["ip"] == "$context.identity.sourceIp"
    assert fields["requestId"] == "$context.requestId"
    assert fields["lambdaRequestId"] == "$context.integration.requestId"
    patterns = " ".join(
        resource["Properties"]["FilterPattern"]
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::Logs::MetricFilter"
    )
    for status in ("401", "403", "413", "429"):
        assert f'$.status = "{status}"' in patterns, status


def test_the_api_asks_who_calls_before_every_route_that_is_not_open():
    auth = RESOURCES["Api"]["Properties"]["Auth"]
    token = auth["Authorizers"][auth["DefaultAuthorizer"]]
    assert token["FunctionArn"] == {"Fn::GetAtt": ["Authorize", "Arn"]}
    assert token["EnableSimpleResponses"] and token["AuthorizerPayloadFormatVersion"] == "2.0"
    # Without the header nobody is asked, and an answer is kept no longer than the tokens are.
    assert token["Identity"] == {"Headers": ["Authorization"], "ReauthorizeEvery": 60}
    open_routes = {
        event["Properties"]["Path"]
        for function in FUNCTIONS.values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "HttpApi" and event["Properties"].get("Auth") == {"Authorizer": "NONE"}
    }
    assert open_routes == {"/", "/healthz"}
    # The same routes that ask the functions' own gate for nobody.
    routes = (ROOT / "functions/fleet-status/src/routes.rs").read_text()
    assert set(re.findall(r'get\("([^"]+)", Access::Open', routes)) == open_routes
    for name in ("autoscale", "deploy"):
        sources = (ROOT / f"functions/{name}/src").rglob("*.rs")
        assert not any("Access::Open" in file.read_text() for file in sources)


def routes() -> set[str]:
    """Method and path of each route of the API."""
    return {
        f"{event['Properties']['Method']} {event['Properties']['Path']}"
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::Serverless::Function"
        for event in resource["Properties"].get("Events", {}).values()
        if event["Type"] == "HttpApi"
    }


def test_a_route_whose_limit_is_deployed_goes_in_two_steps():
    """API Gateway changes the routes before the stage whose limits name them, and refuses a stage
    with a limit for a route that is gone: README, "Upgrade"."""
    listed = (Path(__file__).parent / "limited_routes.txt").read_text().splitlines()
    deployed = [line for line in listed if line and not line.startswith("#")]
    gone = set(deployed) - routes()
    assert not gone, f"take the limit out, release, and rename or remove only then: {gone}"
    limits = set(RESOURCES["Api"]["Properties"]["RouteSettings"])
    assert limits <= set(deployed), "a new limit belongs into limited_routes.txt"


def test_each_route_that_changes_something_has_a_limit_of_its_own():
    api = RESOURCES["Api"]["Properties"]
    assert set(api["RouteSettings"]) <= routes(), "a limit for a route that does not exist"
    needed_in_an_emergency = {
        "POST /api/v1/admin/deployments",
        "POST /api/v1/admin/deployments/{id}/cancel",
        "POST /api/v1/admin/deployments/{id}/rollback",
        "PUT /api/v1/admin/capacity",
    }
    for route in needed_in_an_emergency:
        assert api["RouteSettings"][route]["ThrottlingRateLimit"] >= 10, route


# --- What each role may do
# -------------------------------------------------------------------------------


def test_docs_security_says_what_each_role_could_do_if_taken_over():
    page = (ROOT / "docs/SECURITY.md").read_text()
    roles = {f"{logical_id(function)}Role" for function in FUNCTIONS}
    assert roles == {name for name, it in RESOURCES.items() if it["Type"] == "AWS::IAM::Role"}
    in_template = {
        (f"{logical_id(function)}Role", action)
        for function in FUNCTIONS
        for action in allowed(function)
    }
    in_page = set()
    for role, actions, could in re.findall(
        r"^\| `(\w+Role)` \| ((?:`[a-z0-9]+:\w+`(?:<br>)?)+) \| (.+) \|$", page, re.MULTILINE
    ):
        assert len(could) > 20, role
        for action in re.findall(r"`([a-z0-9]+:\w+)`", actions):
            assert (role, action) not in in_page, f"{role} {action} is told twice"
            in_page.add((role, action))
    assert in_page == in_template


def test_a_condition_on_tag_keys_is_not_met_by_a_request_without_any():
    checked = 0
    for function in FUNCTIONS:
        for statement in statements(function):
            condition = statement.get("Condition", {})
            for operator, keys in condition.items():
                for key in keys if operator.startswith("ForAllValues:") else ():
                    assert condition["Null"][key] == "false", f"{function} {statement['Sid']}"
                    checked += 1
    assert checked


def test_only_functions_that_read_the_queue_may_read_the_databases_address():
    def reads(function: str) -> set:
        return {name for name in VARIABLES[function] if name.endswith("_SECRET_ID")}

    assert reads("deploy") == reads("authorize") == {"FLEET_SECRET_ID"}
    assert reads("drain") == set()
    assert reads("autoscale") == reads("fleet-status") == {"DATABASE_SECRET_ID", "FLEET_SECRET_ID"}
    for function in ("deploy", "authorize"):
        assert "DatabaseSecretId" not in json.dumps(statements(function))
    assert not any(action.startswith("secretsmanager:") for action in allowed("drain"))


def test_no_role_may_delete_a_parameter_so_none_is_deleted_and_created_again():
    """SSM asks for 30 s in between, and may read for longer what was there before."""
    for name in ("template.yaml", "fleet.yaml"):
        assert "DeleteParameter" not in (ROOT / name).read_text(), name
    granted = [action for function in FUNCTIONS for action in allowed(function)]
    assert "ssm:PutParameter" in granted
    assert not [action for action in granted if "*" in action or "DeleteParameter" in action]


# --- The host document
# -------------------------------------------------------------------------------

DOCUMENT = RESOURCES["HostDocument"]["Properties"]
SSM_DOCUMENT = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:document"


def test_the_document_has_no_room_for_free_text():
    for name, parameter in DOCUMENT["Content"]["parameters"].items():
        if "allowedValues" not in parameter:
            pattern = parameter["allowedPattern"]
            assert pattern.startswith("^") and pattern.endswith("$"), name
            for text in (
                "1; reboot",
                "$(reboot)",
                "`reboot`",
                "'",
                '"',
                "a b",
                "\n",
                "{{ssm:secret}}",
            ):
                assert not re.fullmatch(pattern, text), f"{name} takes {text!r}"
    # A parameter that the script puts anywhere but between quotes would be read by the shell.
    script = "\n".join(DOCUMENT["Content"]["mainSteps"][0]["inputs"]["runCommand"])
    assert len(re.findall(r"{{", script)) == len(re.findall(r"'{{ \w+ }}'", script)) > 0


def test_surveys_come_by_a_schedule_of_their_own_and_can_only_ask():
    survey = RESOURCES["SurveyDocument"]["Properties"]
    assert survey["Name"] == {"Fn::Sub": "${HostDocumentName}-Survey"}
    assert "parameters" not in survey["Content"]
    [step] = survey["Content"]["mainSteps"]
    assert step["inputs"]["runCommand"][-1] == "exec deploy-server status --fleet"
    # AWS takes names of 128 characters.
    name = "x" * 128
    pattern = PARAMETERS["HostDocumentName"]["AllowedPattern"]
    assert not re.fullmatch(pattern, name[len("-Survey") - 1 :])
    assert re.fullmatch(pattern, name[len("-Survey") :])
    schedule = FUNCTIONS["deploy"]["Events"]["Survey"]["Properties"]
    assert schedule["Schedule"] == {"Fn::Sub": "rate(${SurveyMinutes} minutes)"}
    event = json.loads((ROOT / "events/deploy-survey.json").read_text())
    assert json.loads(schedule["Input"]) == event
    # It is the same number by which what hosts said expires.
    assert VARIABLES["fleet-status"]["FLEET_SURVEY_MINUTES"] == {"Ref": "SurveyMinutes"}
    # A rate of one would have to be written in another way.
    assert int(PARAMETERS["SurveyMinutes"]["MinValue"]) > 1


def test_only_the_deploy_function_may_ask_and_the_ends_of_surveys_wake_nobody():
    surveys = {"Fn::Sub": f"{SSM_DOCUMENT}/${{HostDocumentName}}-Survey"}
    may = [
        name for name in RESOURCES if name.endswith("Role") and "-Survey" in str(RESOURCES[name])
    ]
    assert may == ["DeployRole"]
    [use] = [s for s in statements("deploy") if s["Sid"] == "UseTheDocuments"]
    assert use["Action"] == "ssm:SendCommand"
    assert use["Resource"] == [{"Fn::Sub": f"{SSM_DOCUMENT}/${{HostDocumentName}}"}, surveys]
    for function in FUNCTIONS.values():
        for event in function.get("Events", {}).values():
            if event["Type"] == "EventBridgeRule":
                detail = event["Properties"]["Pattern"].get("detail", {})
                assert detail.get("document-name", [{"Ref": "HostDocumentName"}]) == [
                    {"Ref": "HostDocumentName"}
                ]


def test_the_document_gives_the_host_the_time_it_is_asked_to_take():
    policy = (ROOT / "shared/core/src/drain/policy.rs").read_text()
    window = int(re.search(r"WINDOW_S: u32 = (\d+);", policy)[1])
    step = DOCUMENT["Content"]["mainSteps"][0]["inputs"]
    grace = int(PARAMETERS["WorkerGraceSeconds"]["MaxValue"])
    assert step["timeoutSeconds"] == "{{ ExecutionSeconds }}"
    # A job that runs to the window's end is answered about; a worker that is stopped is not given a
    # window.
    assert max(window, grace) + 60 <= int(
        DOCUMENT["Content"]["parameters"]["ExecutionSeconds"]["default"]
    )


def test_drain_listens_to_its_own_group_and_document():
    events = FUNCTIONS["drain"]["Events"]
    patterns = {
        name: event["Properties"]["Pattern"]
        for name, event in events.items()
        if event["Type"] == "EventBridgeRule"
    }
    assert patterns["Leaving"]["detail"] == {"AutoScalingGroupName": [{"Ref": "GroupName"}]}
    assert patterns["Answered"]["detail"]["document-name"] == [{"Ref": "HostDocumentName"}]
    # Each event file is matched by a rule, unless it is the schedule's, none of ours, or of the
    # kind that says the same again.
    for file in (ROOT / "events").glob("drain-*.json"):
        event = json.loads(file.read_text())
        found = [
            name
            for name, pattern in patterns.items()
            if event.get("source") in pattern["source"]
            and event["detail-type"] in pattern["detail-type"]
        ]
        others = (
            "schedule",
            "launch",
            "rubbish",
            "test-notification",
            "command",
            "command-no-resources",
        )
        own = file.stem.removeprefix("drain-") not in others
        assert len(found) == own, file


def with_defaults(value) -> int:
    """The number that a template with its defaults has: ticks come within the minute, and places
    are reserved."""
    return with_defaults(value["Fn::If"][1]) if isinstance(value, dict) else value


def test_ticks_come_as_often_as_a_dollar_buys_and_six_places_are_enough_for_them():
    month = 730 * 60 * 0.25 * 0.0000166667
    # Half a second a tick, and the wait for the next one.
    costs = {every: (60.5 - every) * month for every in PARAMETERS["TickSeconds"]["AllowedValues"]}
    assert PARAMETERS["TickSeconds"]["Default"] == (10 if costs[10] < 1 else 20)
    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    for every, cost in costs.items():
        assert re.search(rf"^\| {every} \| \${cost:.2f} \|", text, re.MULTILINE), every
    reserved = [
        properties["ReservedConcurrentExecutions"]
        for properties in FUNCTIONS.values()
        if "ReservedConcurrentExecutions" in properties
    ]
    assert sum(with_defaults(value) for value in reserved) <= 6


def test_who_asks_for_more_ticks_than_there_are_pages_nobody():
    """A caller who enqueues is refused in bursts, by the API and by Lambda, and loses nothing."""
    pattern = RESOURCES["ApiThrottledMetric"]["Properties"]["FilterPattern"]
    assert '$.route != "POST /api/v1/admin/autoscale/tick"' in pattern
    assert "POST /api/v1/admin/autoscale/tick" in routes()
    throttled = ALARMS["AutoscaleThrottled"]
    assert (throttled["Namespace"], throttled["MetricName"]) == ("AWS/Lambda", "AsyncEventsDropped")


def test_people_are_throttled_by_route_and_the_page_may_poll():
    routes = RESOURCES["Api"]["Properties"]["RouteSettings"]
    events = [
        event
        for function in FUNCTIONS.values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "HttpApi"
    ]
    known = {f"{event['Properties']['Method']} {event['Properties']['Path']}" for event in events}
    assert set(routes) <= known
    # A page asks every ten seconds.
    assert routes["GET /api/v1/admin/fleet-status"]["ThrottlingRateLimit"] >= 10
    assert FUNCTIONS["fleet-status"]["Timeout"] < 30


def test_deploy_listens_to_its_own_document_and_has_every_route():
    events = FUNCTIONS["deploy"]["Events"]
    pattern = events["Answered"]["Properties"]["Pattern"]
    assert pattern["detail"]["document-name"] == [{"Ref": "HostDocumentName"}]
    routes = {
        (e["Properties"]["Method"], e["Properties"]["Path"])
        for e in events.values()
        if e["Type"] == "HttpApi"
    }
    snapshot = next((ROOT / "functions/deploy/src").rglob("*openapi*.snap")).read_text()
    document = json.loads(snapshot.split("---", 2)[2])
    assert routes == {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    # The API would throttle a page that looks every few seconds by the default.
    assert (
        RESOURCES["Api"]["Properties"]["RouteSettings"]["GET /api/v1/admin/deployments/{id}"][
            "ThrottlingRateLimit"
        ]
        >= 10
    )


def test_the_dashboard_shows_metrics_that_exist():
    metrics = "".join(
        file.read_text() for file in (ROOT / "shared/clients/src/telemetry").glob("*.rs")
    )
    body = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    for widget in body["widgets"]:
        for metric in widget["properties"]["metrics"]:
            if (
                len(metric) > 1
                and metric[0] != "AWS/Lambda"
                and metric[1] not in ("Errors", "Duration")
                and metric[0] != "..."
            ):
                assert f'"{metric[1]}"' in metrics, metric


# --- Saved queries
# -------------------------------------------------------------------------------

QUERIES = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::Logs::QueryDefinition"
}


def test_saved_queries_look_into_the_logs_of_the_functions_that_print_their_records():
    records = {"decision": "autoscale", "drain": "drain", "rollout": "deploy"}
    found = set()
    for name, query in QUERIES.items():
        assert query["Name"]["Fn::Sub"].startswith("ghosthands-${Environment}/"), name
        for record, function in records.items():
            if f'"{record}"' in query["QueryString"]:
                found.add(record)
                assert {"Ref": f"{logical_id(function)}Log"} in query["LogGroupNames"], name
                source = (ROOT / f"functions/{function}/src/record.rs").read_text()
                assert f'#[serde(tag = "type", rename = "{record}")]' in source
                # What it shows is in the record by this name.
                shown = re.findall(r"\b(at|summary|request_id|trigger)\b", query["QueryString"])
                assert shown and all(re.search(rf"\b{field}: ", source) for field in shown), name
    assert found == set(records)


def test_a_job_passport_names_the_query_that_the_stack_saves():
    source = (ROOT / "shared/core/src/passport/query.rs").read_text()
    saved = QUERIES["JobDecisionsQuery"]["QueryString"]
    assert saved.replace('"', '\\"') in source
    log = RESOURCES["AutoscaleLog"]["Properties"]["LogGroupName"]["Fn::Sub"]
    assert log.replace("${Environment}", "{environment}") in source


def test_the_environments_set_parameters_that_exist():
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name in ("staging", "production"):
        overrides = dict(
            pair.split("=", 1)
            for pair in config[name]["deploy"]["parameters"]["parameter_overrides"]
        )
        assert set(overrides) <= set(PARAMETERS)
        assert overrides["Environment"] == name
