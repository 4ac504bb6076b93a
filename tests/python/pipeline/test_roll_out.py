"""The step "roll out and wait", against a server that answers as the OpenAPI document says."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import pytest
from support import ROOT

PROGRAM = ROOT / ".github/actions/roll-out/roll_out.py"
PATH = "/api/v1/admin/deployments"
FIRST, SECOND = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "12")
SNAPSHOT = next((ROOT / "functions/deploy/src").rglob("*openapi*.snap")).read_text()
DOCUMENT = json.loads(SNAPSHOT.split("---", 2)[2])


def fits(name: str, body: dict) -> dict:
    """What the API says it sends or takes."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(body)
    return body


def accepted(id: str = FIRST, **more) -> tuple[int, dict]:
    body = {"id": id, "kind": "deploy", "state": "in_progress", "targets": [], **more}
    return 202, fits("Accepted", body | {"status_url": f"{PATH}/{id}"})


def deployment(state: str, id: str = FIRST, **more) -> tuple[int, dict]:
    body = {"id": id, "kind": "deploy", "state": state, "image_tag": "v2", "counts": {}}
    body |= {"hosts": [], "requested_at": "2026-01-01T00:00:00Z", "requested_by": "ci"}
    return 200, fits("Deployment", body | more)


def problem(status: int, detail: str, **more) -> tuple[int, dict]:
    body = {"type": "about:blank", "title": "No", "status": status, "detail": detail}
    return status, fits("Problem", body | more)


class Api:
    """Answers each request with the next of its answers, and keeps what was asked."""

    def __init__(self):
        self.answers: list = []
        self.asked: list[tuple[str, str, dict, dict | None]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                api.asked.append((self.command, self.path, dict(self.headers), body))
                answer = api.answers.pop(0) if api.answers else problem(500, "asked too often")
                if answer is None:
                    self.connection.close()
                    return
                status, found = answer
                text = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:9/elsewhere")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer  # noqa: N815 - the library's names

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def api():
    found = Api()
    yield found
    found.server.shutdown()


@pytest.fixture
def run(api, tmp_path):
    """Runs the step; `outputs` on what comes back is what later steps are given."""

    def start(**settings: str):
        outputs = tmp_path / "outputs"
        given = {
            "FLEET_URL": api.url,
            "FLEET_TOKEN": "token-of-ci-0123456789",
            "IMAGE_TAG": "v2",
            "POLL_SECONDS": "0.01",
            "WAIT_MINUTES": "0.5",
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "GITHUB_REPOSITORY": "team/ghosthands",
            "GITHUB_RUN_ID": "77",
            "GITHUB_RUN_ATTEMPT": "1",
        }
        ended = subprocess.run(
            [sys.executable, PROGRAM],
            env={"PATH": os.environ["PATH"]} | given | settings,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        ended.outputs = outputs.read_text() if outputs.exists() else ""
        return ended

    return start


def test_a_version_that_every_host_proves_ends_well(api, run):
    api.answers = [
        accepted(),
        problem(404, "no such deployment", retry_after_seconds=1),
        deployment("in_progress", counts={"in_progress": 1, "pending": 2}),
        deployment("succeeded", counts={"succeeded": 3}),
    ]
    ended = run(REASON="abc by alice", STRATEGY="half-at-a-time")
    assert ended.returncode == 0, ended.stdout
    method, path, headers, body = api.asked[0]
    assert (method, path) == ("POST", PATH)
    assert headers["Authorization"] == "Bearer token-of-ci-0123456789"
    assert headers["Idempotency-Key"] == "team/ghosthands-77-1-v2"
    assert fits("Deploy", body) == {
        "image_tag": "v2",
        "strategy": "half-at-a-time",
        "reason": "abc by alice",
    }
    assert "1 in_progress, 2 pending" in ended.stdout
    assert f"id={FIRST}\nstate=succeeded\n" in ended.outputs
    assert "token-of-ci" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("state", ["partial", "failed", "rolled_back", "cancelled"])
def test_any_other_end_fails_and_names_the_hosts(api, run, state):
    host = {"instance_id": "i-0123456789abcdef0", "state": "rolled_back", "step": "gate"}
    host["message"] = "worker is not healthy\n::set-output name=x::y"
    api.answers = [accepted(), deployment(state, hosts=[host])]
    ended = run()
    assert ended.returncode == 1
    assert "i-0123456789abcdef0 rolled_back gate worker is not healthy" in ended.stdout
    assert f"::error::the deployment {FIRST} ended as {state}" in ended.stdout
    # What a host says is no command to the runner.
    assert "::set-output" not in ended.stdout


def test_what_may_pass_is_asked_again_with_the_same_key(api, run):
    api.answers = [
        None,
        (429, {"message": "Too Many Requests"}),
        (502, b"<html>"),
        problem(503, "nothing was begun", retry_after_seconds=1),
        accepted(),
        None,
        (503, b"Service Unavailable"),
        deployment("succeeded"),
    ]
    ended = run()
    assert ended.returncode == 0, ended.stdout
    keys = {headers["Idempotency-Key"] for method, _, headers, _ in api.asked if method == "POST"}
    assert len(keys) == 1


def test_the_same_version_in_progress_is_joined(api, run):
    api.answers = [
        problem(409, "another rollout is in progress", running=SECOND),
        deployment("in_progress", id=SECOND),
        deployment("succeeded", id=SECOND),
    ]
    ended = run()
    assert ended.returncode == 0, ended.stdout
    assert SECOND in ended.outputs


def test_another_version_in_progress_is_left_alone(api, run):
    api.answers = [
        problem(409, "another rollout is in progress", running=SECOND),
        deployment("in_progress", id=SECOND, image_tag="v1"),
    ]
    ended = run()
    assert ended.returncode == 1
    assert "::error::the API answered 409: another rollout is in progress" in ended.stdout
    assert [method for method, *_ in api.asked] == ["POST", "GET"]


def test_the_way_back_undoes_the_last_rollout_that_ended(api, run):
    def listed(id, kind, state):
        found = {"id": id, "kind": kind, "state": state, "requested_at": "2026-01-01T00:00:00Z"}
        return found | {"requested_by": "ci"}

    listing = {
        "at": "2026-01-01T00:00:00Z",
        "deployments": [
            listed(f"{'3' * 8}-0000-4000-8000-000000000000", "cleanup", "succeeded"),
            listed(SECOND, "deploy", "succeeded"),
            listed(FIRST, "deploy", "succeeded"),
        ],
    }
    api.answers = [
        (200, fits("List", listing)),
        accepted(FIRST, kind="rollback"),
        deployment("succeeded", kind="rollback", image_tag="v1"),
    ]
    ended = run(IMAGE_TAG="", REASON="v2 is slow")
    assert ended.returncode == 0, ended.stdout
    method, path, _, body = api.asked[1]
    assert (method, path) == ("POST", f"{PATH}/{SECOND}/rollback")
    assert fits("RollBack", body) == {"strategy": "canary", "reason": "v2 is slow"}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (problem(401, "unknown token"), "docs/SECURITY.md"),
        (problem(403, "the scope operate is needed"), "scope operate"),
        (problem(400, "image_tag: no tag"), "image_tag: no tag"),
        (problem(409, "no host is in service"), "no host is in service"),
        ((302, {}), "the API answered 302"),
    ],
)
def test_a_refusal_ends_at_once_in_one_line(api, run, answer, says):
    api.answers = [answer]
    ended = run()
    assert ended.returncode == 1
    [line] = ended.stdout.splitlines()
    assert line.startswith("::error::") and says in line
    assert len(api.asked) == 1


def test_the_wait_has_an_end_and_the_rollout_goes_on(api, run):
    api.answers = [accepted()] + [deployment("in_progress")] * 500
    ended = run(WAIT_MINUTES="0.005")
    assert ended.returncode == 1
    assert "is still in progress and goes on" in ended.stdout


@pytest.mark.parametrize(
    "settings",
    [{"FLEET_URL": ""}, {"FLEET_TOKEN": " "}, {"FLEET_URL": "http://fleet.example"}],
)
def test_what_is_missing_or_would_show_the_token_is_said_before_anything_is_sent(
    api, run, settings
):
    ended = run(**settings)
    assert ended.returncode != 0 and ended.stdout.startswith("::error::")
    assert not api.asked
