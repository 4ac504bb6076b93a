"""Fleets on the double with the real functions behind an HTTP API, and a real Chromium to look at
them.
"""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from playwright.sync_api import expect, sync_playwright
from support import ROOT, built, environment, eventually, program_path

OPERATOR = "an-operators-token-for-the-page"
READER = "a-readers-token-for-the-page"
# The browser's own errands would reach outside.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
# A busy machine takes its time.
expect.set_options(timeout=30_000)
ARTIFACTS = ROOT / "target/test-artifacts/page"
STATUS = "/api/v1/admin/fleet-status"


class Fleet:
    """A group, a secret, and the functions with their routes."""

    def __init__(
        self, endpoint: str, database, folder: Path, name: str, instances: int, binary=built
    ):
        self.endpoint, self.database, self.folder, self.name = endpoint, database, folder, name
        self.group = f"{name}-asg"
        keys = {
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        self.auto_scaling = boto3.client("autoscaling", endpoint_url=endpoint, **keys)
        secrets = boto3.client("secretsmanager", endpoint_url=endpoint, **keys)
        secret = {
            "DATABASE_URL": database.url,
            "FLEET_OPERATOR_TOKEN": OPERATOR,
            "FLEET_READER_TOKEN": READER,
        }
        secrets.create_secret(Name=f"ghosthands/{name}/fleet", SecretString=json.dumps(secret))
        self.control("/groups", {"name": self.group, "min": 0, "max": 300, "desired": instances})
        settings = {
            "GH_ENVIRONMENT": name,
            "AWS_ASG_NAME": self.group,
            "AUTOSCALE_ASG_ENABLED": "true",
            "AUTOSCALE_MAX": "250",
            "DATABASE_CA": database.ca_pem,
            "AWS_ENDPOINT_URL": endpoint,
        }
        routes = []
        for function, paths in {
            "fleet-status": [
                "GET /",
                "GET /healthz",
                "GET /openapi.json",
                f"GET {STATUS}",
                "GET /api/v1/admin/jobs/{id}",
                "GET /api/v1/admin/metrics",
                "PUT /api/v1/admin/capacity",
            ],
            "autoscale": ["POST /api/v1/admin/autoscale/tick"],
        }.items():
            own = f"{name}-{function}"
            self.control(
                "/functions",
                {
                    "name": own,
                    "binary": binary(function),
                    "timeout_seconds": 29,
                    "concurrency": 3,
                    "env": settings,
                },
            )
            routes += [
                {"method": path.split()[0], "path": path.split()[1], "function": own}
                for path in paths
            ]
        self.url = self.control("/http-apis", {"routes": routes, "port": 0})["endpoint"]
        eventually("the instances are in service", 30, lambda: len(self.in_service()) == instances)

    def control(self, path: str, body, method: str = "POST"):
        request = urllib.request.Request(
            f"{self.endpoint}/_double{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def in_service(self) -> list[str]:
        (group,) = self.auto_scaling.describe_auto_scaling_groups(
            AutoScalingGroupNames=[self.group]
        )["AutoScalingGroups"]
        return [
            one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService"
        ]

    def tags(self) -> dict[str, str]:
        (group,) = self.auto_scaling.describe_auto_scaling_groups(
            AutoScalingGroupNames=[self.group]
        )["AutoScalingGroups"]
        return {tag["Key"]: tag["Value"] for tag in group["Tags"]}

    def ask(self, method: str, path: str, token: str = OPERATOR, body=None):
        request = urllib.request.Request(
            self.url + path, None if body is None else json.dumps(body).encode(), method=method
        )
        request.add_header("authorization", f"Bearer {token}")
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def fault(self, action: str, times: int) -> None:
        """The next calls of this action are refused."""
        self.control(
            "/faults",
            {
                "action": action,
                "times": times,
                "kind": "fail",
                "status": 400,
                "code": "AccessDeniedException",
                "message": "not allowed",
            },
        )

    def no_faults(self) -> None:
        self.control("/faults", None, "DELETE")

    def register(self, instances: list[str], busy: bool = False) -> None:
        """A worker that has just reported on each of these."""
        job = "(SELECT id FROM gh_automation_jobs LIMIT 1)" if busy else "NULL"
        rows = ", ".join(f"('{one}', '{one}', {job})" for one in instances)
        self.sql(
            "INSERT INTO gh_automation_jobs DEFAULT VALUES; INSERT INTO gh_worker_registry"
            f" (worker_id, ec2_instance_id, current_job_id) VALUES {rows}"
        )

    def sql(self, statements: str) -> None:
        authority = self.folder / "database-ca.pem"
        authority.write_text(self.database.ca_pem)
        url = f"{self.database.url}&sslrootcert={authority}"
        done = subprocess.run(
            [program_path("psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-c", statements, url],
            env=environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def fleet(double, database, folder) -> Fleet:
    """Three machines in service: two idle workers and a busy one; one decision is made."""
    fleet = Fleet(double, database, folder, "small", 3)
    fleet.register(fleet.in_service()[:1], busy=True)
    fleet.register(fleet.in_service()[1:])
    assert fleet.ask("POST", "/api/v1/admin/autoscale/tick")[0] == 200
    return fleet


@pytest.fixture(scope="session")
def large_group(double, database, folder) -> Fleet:
    return Fleet(double, database, folder, "large", 200)


@pytest.fixture
def large(fleet, large_group):
    """Two hundred machines. The database is the small fleet's too, whose three workers are
    elsewhere for this one.
    """
    machines = large_group.in_service()
    large_group.register(machines[:140], busy=True)
    large_group.register(machines[140:])
    assert large_group.ask("POST", "/api/v1/admin/autoscale/tick")[0] == 200
    yield large_group
    large_group.sql(
        "DELETE FROM gh_worker_registry WHERE worker_id IN "
        f"({', '.join(repr(one) for one in machines)})"
    )


@pytest.fixture(scope="session")
def chromium():
    shutil.rmtree(ARTIFACTS, ignore_errors=True)
    ARTIFACTS.mkdir(parents=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program_path("chromium"), args=FLAGS)
        yield browser
        browser.close()


class Rollouts:
    """A stand-in for the deployments routes: it records what it is asked, and its one rollout goes
    on with every look.
    """

    def __init__(self):
        self.asked: list[tuple[str, str, object, dict]] = []
        self.list: list[dict] = []
        self.refusal: tuple[int, dict] | None = None
        # How many more looks it takes until SSM lists an order.
        self.unlisted = 0
        # The first host holds its order until its running job ends.
        self.waits = False
        self.hosts = [f"i-{n:017x}" for n in range(6)]

    def begin(self, kind: str, **more) -> dict:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        one = {
            "id": f"c-{len(self.list)}",
            "kind": kind,
            "state": "in_progress",
            "requested_at": at,
            "requested_by": "operator:1a2b3c4d",
            "counts": {"pending": 6},
            "looks": 0,
            **more,
        }
        self.list.insert(0, one)
        return one

    def shown(self, one: dict) -> dict:
        """One more host is done with each look; the third one goes back."""
        if self.waits:
            return self.waiting(one)
        one["looks"] += 1
        states = [
            "succeeded"
            if n < one["looks"] - 1
            else "in_progress"
            if n < one["looks"]
            else "pending"
            for n in range(6)
        ]
        if one["kind"] == "deploy" and one["looks"] > 3:
            states[2] = "rolled_back"
        if one["state"] == "cancelled":
            states = [state if state == "succeeded" else "cancelled" for state in states]
        elif one["looks"] > 6:
            one["state"] = "partial" if "rolled_back" in states else "succeeded"
            one["ended_at"] = one["requested_at"]
        one["counts"] = {state: states.count(state) for state in states}
        hosts = [
            {
                "instance_id": host,
                "state": state,
                "version_before": "v1",
                "version_after": "v2" if state == "succeeded" else None,
                "step": "start-services" if state == "rolled_back" else None,
                "message": "the container went down: exit code 1"
                if state == "rolled_back"
                else None,
                "log": ["<b>boom</b>"] if state == "rolled_back" else None,
            }
            for host, state in zip(self.hosts, states, strict=True)
        ]
        return {**one, "hosts": hosts}

    def waiting(self, one: dict) -> dict:
        """Its first host waits for its job, and four more have no order yet."""
        limit = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4 * 3600))
        first = {
            "instance_id": self.hosts[0],
            "state": "waiting",
            "waiting_since": one["requested_at"],
            "limit_at": limit,
            "active_jobs": 1,
        }
        second = {"instance_id": self.hosts[1], "state": "at_limit"}
        rest = [{"instance_id": host, "state": "pending"} for host in self.hosts[2:]]
        counts = {"waiting": 1, "at_limit": 1, "pending": 4}
        left = {"hosts_left": 5, "last_limit_at": limit}
        return {**one, **left, "counts": counts, "hosts": [first, second, *rest]}

    def answer(self, route) -> None:
        request = route.request
        path = request.url.split("/api/v1/admin/")[1].split("?")[0]
        if request.method == "POST":
            self.asked.append(
                (
                    request.method,
                    path,
                    request.post_data_json if request.post_data else None,
                    request.headers,
                )
            )
            if self.refusal:
                status, problem = self.refusal
                return route.fulfill(
                    status=status, content_type="application/problem+json", body=json.dumps(problem)
                )
            if path == "deployments":
                one = self.begin(
                    "deploy",
                    image_tag=request.post_data_json["image_tag"],
                    strategy=request.post_data_json["strategy"],
                )
            elif path.endswith("/cancel"):
                one = next(one for one in self.list if one["id"] == path.split("/")[1])
                one["state"] = "cancelled"
            elif path.endswith(("/pause", "/continue")):
                one = next(one for one in self.list if one["id"] == path.split("/")[1])
                one["paused"] = path.endswith("/pause")
            elif path.endswith("/rollback"):
                one = self.begin("rollback", image_tag="v1")
            else:
                one = self.begin(path)
            return route.fulfill(
                status=202, json={"id": one["id"], "kind": one["kind"], "state": one["state"]}
            )
        if path == "deployments":
            return route.fulfill(json={"deployments": self.list})
        if self.unlisted:
            self.unlisted -= 1
            return route.fulfill(
                status=404, json={"detail": "there is no such deployment", "retry_after_seconds": 5}
            )
        return route.fulfill(
            json=self.shown(next(one for one in self.list if one["id"] == path.split("/")[1]))
        )


@pytest.fixture
def rollouts() -> Rollouts:
    return Rollouts()


@pytest.fixture
def open_page(chromium, rollouts):
    """Opens a fleet's page, signed in unless the token is None. Whatever the page asks elsewhere,
    and every error in it, fails the test.
    """
    contexts, faults = [], []

    def opened(
        fleet: Fleet,
        token: str | None = OPERATOR,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
    ):
        # The fleet is the whole session's, and a worker that said nothing for 90 s is silent.
        fleet.sql("UPDATE gh_worker_registry SET last_heartbeat = now()")
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((fleet.url, "data:")) else faults.append(request.url)
            ),
        )

        def console(message) -> None:
            # The browser itself notes every answer of 400 and more, which some tests ask for.
            if (
                message.type in ("error", "warning")
                and "Failed to load resource" not in message.text
            ):
                faults.append(message.text)

        page.on("console", console)
        for path in ("deployments**", "deployments/**", "cleanup", "refresh-secrets", "drain"):
            page.route(f"**/api/v1/admin/{path}", rollouts.answer)
        page.goto(fleet.url)
        if token:
            sign_in(page, token)
            page.locator("#workers tr").first.wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def sign_in(page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
