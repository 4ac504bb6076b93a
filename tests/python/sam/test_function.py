"""The functions that `sam build` made, run the three ways a developer runs them."""

import functools
import json
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from expectations import BY_FUNCTION, answer_fits, function_of
from support import ROOT, Program, environment, eventually, logical_id, program_path, shipped

EVENTS = sorted(file for name in BY_FUNCTION for file in (ROOT / "events").glob(f"{name}-*.json"))


def post(
    url: str, body: bytes = b"", headers: dict | None = None, timeout: float = 60
) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, headers=headers or {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


# --- The runtime interface emulator, without Docker
# --------------------------------------------------


@pytest.fixture(scope="module")
def emulators(site, folder, free_port):
    """Lambda's emulator with the shipped binary of each function, by its name. One takes one
    request at a time.
    """
    samcli = next((ROOT / ".venv").glob("lib/python3*/site-packages/samcli"))
    programs: list[Program] = []

    def start(function: str):
        listen, runtime = free_port(), free_port()
        env = site.environment(function) | {
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "29",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_SESSION_TOKEN": "test",
        }
        programs.append(
            Program(
                f"emulator-{function}",
                [
                    str(samcli / "local/rapid/aws-lambda-rie-x86_64"),
                    "--runtime-interface-emulator-address",
                    f"127.0.0.1:{listen}",
                    "--runtime-api-address",
                    f"127.0.0.1:{runtime}",
                    "--log-level",
                    "info",
                    shipped(function),
                ],
                env,
                folder,
            )
        )
        url = f"http://127.0.0.1:{listen}/2015-03-31/functions/function/invocations"
        eventually("the emulator listens", 60, lambda: listens(listen))
        return lambda event: json.loads(post(url, event)[1])

    yield functools.cache(start)
    for program in programs:
        program.stop()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("event", EVENTS, ids=lambda file: file.stem)
def test_every_event_in_the_emulator(emulators, event: Path):
    answer_fits(event.stem, emulators(function_of(event.stem))(event.read_bytes()))


@pytest.mark.parametrize("function", BY_FUNCTION)
def test_rubbish_does_not_end_the_environment(emulators, function):
    emulator = emulators(function)
    for rubbish in (b"[]", b'"text"', b"null", b"17", b'{"requestContext":{"http":17}}'):
        assert emulator(rubbish)["errorType"] == "UnreadableEvent"
    event = {
        "authorize": "authorize-operator",
        "fleet-status": "fleet-status-healthz",
    }.get(function, f"{function}-schedule")
    answer_fits(event, emulator((ROOT / f"events/{event}.json").read_bytes()))


# --- sam local
# ---------------------------------------------------------------------------------------

# The emulator starts the runtime's server and the function side by side, and the function is the
# faster one now and then: it then finds nobody to ask for work. In Lambda the server is there
# first.
NOBODY_THERE = "tcp connect error: Connection refused"


def sam_invoke(container_site, event: str) -> dict:
    # The exit status says nothing, and log lines may be lost: only the answer counts.
    function = logical_id(function_of(event))
    for _ in range(5):
        ended = subprocess.run(
            [
                program_path("sam"),
                "local",
                "invoke",
                function,
                "-e",
                f"events/{event}.json",
                *container_site.options,
            ],
            cwd=ROOT,
            env=environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if ended.stdout.strip() or NOBODY_THERE not in ended.stderr:
            break
    assert ended.stdout.strip(), ended.stderr
    return json.loads(ended.stdout.strip().splitlines()[-1])


def test_jobs_become_capacity_through_sam_local(container_site, database):
    # What other events asked for, a floor among them, is there already.
    before = container_site.group()["DesiredCapacity"]
    database.enqueue(before + 3)
    answer = sam_invoke(container_site, "autoscale-schedule")
    answer_fits("autoscale-schedule", answer)
    assert answer["decision"]["demand"]["ready"] >= before + 3
    assert (
        answer["decision"]["plan"]["do"] == "set_desired" and answer["action"]["result"] == "done"
    ), answer
    assert container_site.group()["DesiredCapacity"] == answer["decision"]["desired"] >= before + 3

    # The same world again: nothing to do.
    again = sam_invoke(container_site, "autoscale-schedule")
    assert again["decision"]["plan"]["do"] == "nothing", again
    assert container_site.group()["DesiredCapacity"] == answer["decision"]["desired"]


# The drain function's events all come here; of the others those that differ by where they run.
THROUGH_SAM = [
    "authorize-operator",
    "autoscale-tick",
    "autoscale-tick-wrong-token",
    "autoscale-rubbish",
    "deploy-schedule",
    "deploy-create",
    "deploy-create-no-token",
    "fleet-status-status",
    "fleet-status-page",
] + [file.stem for file in EVENTS if function_of(file.stem) == "drain"]


@pytest.mark.parametrize("event", THROUGH_SAM)
def test_events_through_sam_local(container_site, event):
    answer_fits(event, sam_invoke(container_site, event))


WRONG = ["-H", "Authorization: Bearer wrong-wrong-wrong-wrong"]


def test_the_api_through_sam_local(container_site, folder, free_port):
    port = free_port()
    program = Program(
        "start-api",
        [
            program_path("sam"),
            "local",
            "start-api",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--warm-containers",
            "LAZY",
            *container_site.options,
        ],
        environment(),
        folder,
        cwd=ROOT,
    )
    try:
        eventually("start-api listens", 60, lambda: listens(port))
        tick = f"http://127.0.0.1:{port}/api/v1/admin/autoscale/tick"
        good = ["-H", f"Authorization: Bearer {container_site.token}"]
        # Each container starts with its first request, and may find NOBODY_THERE; from then on it
        # stays.
        for url in (
            f"http://127.0.0.1:{port}/healthz",
            f"http://127.0.0.1:{port}/api/v1/admin/deployments",
        ):
            eventually(f"{url} answers", 180, lambda url=url: curl(url, *good)[0] == 200)
        eventually(f"{tick} answers", 180, lambda: curl(tick, "-X", "POST", *good)[0] == 200)
        assert json.loads(curl(tick, "-X", "POST", *good)[1])["type"] == "decision"
        # curl sends a form; through the API it arrives in base64.
        assert curl(tick, "-d", "reason=3am", *good)[0] == 200
        # The API's authorizer says so, or the function's gate where SAM's server asks none.
        assert curl(tick, "-X", "POST")[0] == 401
        assert curl(tick, "-X", "POST", *WRONG)[0] in (401, 403)
        the_status_api(
            f"http://127.0.0.1:{port}",
            good,
            ["-H", f"Authorization: Bearer {container_site.reader}"],
        )
        deployments(f"http://127.0.0.1:{port}/api/v1/admin", good)
        # SAM answers 403 where the real API answers 404; neither reaches the function.
        assert curl(f"{tick}/none", "-X", "POST", *good)[0] in (403, 404)
    finally:
        # It removes its containers on SIGTERM.
        program.stop()


def the_status_api(api: str, operator: list[str], reader: list[str]) -> None:
    """Every route of fleet-status, with good and bad tokens and bodies."""
    assert "<!doctype html>" in curl(f"{api}/")[1]
    assert json.loads(curl(f"{api}/healthz")[1])["status"] == "ok"
    for path in ("/openapi.json", "/api/v1/admin/fleet-status", "/api/v1/admin/metrics"):
        assert curl(api + path)[0] == 401
        assert curl(api + path, *WRONG)[0] in (401, 403)
        assert curl(api + path, *reader)[0] == curl(api + path, *operator)[0] == 200
    capacity = f"{api}/api/v1/admin/capacity"
    put = ["-X", "PUT", "-H", "Content-Type: application/json", "-d"]
    assert curl(capacity, *put, '{"floor": null}')[0] == 401
    assert curl(capacity, *put, '{"floor": null}', *reader)[0] == 403
    for body in (
        "",
        "{",
        "[]",
        "null",
        '{"floor": 3}',
        '{"flor": null}',
        '{"floor": {"workers": 2}}',
        '{"paused": {"for_minutes": 99999}}',
    ):
        status, text = curl(capacity, *put, body, *operator)
        assert status == 400 and json.loads(text)["detail"], (body, text)
    status, text = curl(capacity, *put, '{"paused": {"for_minutes": 5}}', *operator)
    assert status == 200 and json.loads(text)["paused"]["until"], text
    assert (
        json.loads(curl(f"{api}/api/v1/admin/fleet-status", *reader)[1])["capacity"]["paused"]
        == json.loads(text)["paused"]
    )
    assert json.loads(curl(capacity, *put, '{"paused": null}', *operator)[1])["paused"] is None


def deployments(root: str, good: list[str]) -> None:
    """Every route of the deploy function, with good and bad tokens and bodies; no host has an agent
    here.
    """
    key = ["-H", "Idempotency-Key: k", "-H", "Content-Type: application/json"]
    unknown = f"{root}/deployments/0831e1a8-a1ac-4257-a1fd-c831bb48c7ad"
    for status, method, url, body in (
        (200, "GET", f"{root}/deployments?limit=3", None),
        (200, "GET", f"{root}/deployments/openapi.json", None),
        (404, "GET", unknown, None),
        (409, "POST", f"{root}/deployments", '{"image_tag":"v2"}'),
        (400, "POST", f"{root}/deployments", '{"image_tag":"v2","imageTag":"v2"}'),
        (400, "POST", f"{root}/deployments", '{"image_tag":'),
        (404, "POST", f"{unknown}/cancel", None),
        (404, "POST", f"{unknown}/rollback", "{}"),
        (409, "POST", f"{root}/cleanup", "{}"),
        (409, "POST", f"{root}/refresh-secrets", "{}"),
        (409, "POST", f"{root}/drain", '{"instance_ids":["i-0a1b2c3d4e5f60718"]}'),
    ):
        data = [] if body is None else ["-d", body]
        answer = curl(url, "-X", method, *key, *data, *good)
        assert answer[0] == status, (url, answer)
        assert curl(url, "-X", method, *key, *data)[0] == 401, url


def curl(url: str, *options: str) -> tuple[int, str]:
    ended = subprocess.run(
        [program_path("curl"), "-sS", "--max-time", "60", "-w", "\n%{http_code}", *options, url],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stderr
    body, _, status = ended.stdout.rpartition("\n")
    return int(status), body


# --- cargo lambda
# ------------------------------------------------------------------------------------


def test_the_schedule_through_cargo_lambda(site, folder, free_port):
    port = free_port()
    settings = [f"{name}={value}" for name, value in site.settings("autoscale").items()]
    # It builds what the suites have built already, from the same folder of targets.
    program = Program(
        "cargo-lambda",
        [
            program_path("cargo"),
            "lambda",
            "watch",
            "--invoke-address",
            "127.0.0.1",
            "--invoke-port",
            str(port),
            "--ignore-changes",
            *(word for setting in settings for word in ("--env-var", setting)),
        ],
        environment(),
        folder,
        cwd=ROOT,
    )
    try:
        eventually("cargo lambda watch listens", 60, lambda: listens(port))
        answer_fits("autoscale-schedule", cargo_lambda_invoke(port, "autoscale-schedule"))
        answer_fits("autoscale-tick-no-token", cargo_lambda_invoke(port, "autoscale-tick-no-token"))
    finally:
        program.stop()


def cargo_lambda_invoke(port: int, event: str) -> dict:
    ended = subprocess.run(
        [
            program_path("cargo"),
            "lambda",
            "invoke",
            "autoscale",
            "--invoke-address",
            "127.0.0.1",
            "--invoke-port",
            str(port),
            "--data-file",
            f"events/{event}.json",
        ],
        cwd=ROOT,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.stdout.strip(), ended.stderr
    return json.loads(ended.stdout)
