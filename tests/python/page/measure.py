"""Measures the status and the page with 200 machines, and prints the table of docs/BENCHMARKS.md:
scripts/bench.sh status
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import boto3
import conftest as page
from playwright.sync_api import sync_playwright
from support import CACHE, Program, built, environment, eventually, program_path

HOSTS = 200
ASKED = 200
LOADS = 20
DOCUMENT = "GhostHands-Host"


def released(function: str) -> str:
    """The binary as it is shipped, but for the sysroot."""
    return str(
        Path(os.environ.get("CARGO_TARGET_DIR", page.ROOT / "target")) / "release" / function
    )


class Database:
    def __init__(self, answer: dict):
        self.url, self.ca_pem = answer["url"], answer["ca_pem"]


def prove_versions(fleet: page.Fleet) -> None:
    """Every host has printed which version it runs."""
    ssm = boto3.client(
        "ssm",
        endpoint_url=fleet.endpoint,
        region_name="us-east-1",
        aws_access_key_id="t",
        aws_secret_access_key="t",
    )
    said = json.dumps(
        {"deployId": "d", "status": "deployed", "imageTag": "v2.14.0-3f9c2ab", "success": True}
    )
    step = {"name": "run", "action": "aws:runShellScript", "inputs": {"runCommand": ["true"]}}
    content = {"schemaVersion": "2.2", "description": "A host.", "mainSteps": [step]}
    ssm.create_document(Name=DOCUMENT, Content=json.dumps(content), DocumentType="Command")
    fleet.control("/commands/runner", {"outputs": [{"exit_code": 0, "stdout": said}]})
    hosts = fleet.in_service()
    for first in range(0, len(hosts), 50):
        ssm.send_command(
            DocumentName=DOCUMENT,
            InstanceIds=hosts[first : first + 50],
            MaxConcurrency="100%",
            MaxErrors="100%",
        )
    deadline = time.monotonic() + 120
    while fleet.ask("GET", page.STATUS)[1]["versions"]["unknown"]:
        assert time.monotonic() < deadline, "not every host has answered"
        time.sleep(1)


def row(name: str, values: list[float], unit: str) -> None:
    values.sort()
    p95 = values[int(len(values) * 0.95) - 1]
    print(
        f"| {name}, p50 (min, p95) | {statistics.median(values):.0f} {unit} "
        f"({values[0]:.0f}, {p95:.0f}) |"
    )


def measure(fleet: page.Fleet) -> None:
    print("| figure | value |\n|---|---|")
    took, size = [], 0
    for _ in range(ASKED):
        began = time.perf_counter()
        _, status = fleet.ask("GET", page.STATUS)
        took.append((time.perf_counter() - began) * 1000)
        assert not status["unavailable"] and len(status["instances"]) == HOSTS
        size = len(json.dumps(status, separators=(",", ":")))
    row(f"status of {HOSTS} hosts, warm", took, "ms")
    print(f"| of {size:,} bytes | |")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program_path("chromium"), args=page.FLAGS
        )
        paints, tables, weight = [], [], 0
        for _ in range(LOADS):
            tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            answer = tab.goto(fleet.url)
            weight = len(answer.body())
            paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
            paints.append(
                eventually(
                    "something is painted", 20, lambda tab=tab, paint=paint: tab.evaluate(paint)
                )
            )
            page.sign_in(tab, page.OPERATOR)
            began = time.perf_counter()
            tab.locator("#workers tr").nth(HOSTS - 1).wait_for()
            tables.append((time.perf_counter() - began) * 1000)
            tab.context.close()
        browser.close()
    print(f"| page weight, one request | {weight:,} bytes |")
    row("first contentful paint", paints, "ms")
    row(f"signed in to a table of {HOSTS} machines (two readings)", tables, "ms")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Program(
            "test-database",
            [built("test-database")],
            environment(**CACHE),
            folder,
            stdout=subprocess.PIPE,
        )
        double = Program(
            "aws-double",
            [built("aws-double"), "--boot-seconds", "0.2"],
            environment(),
            folder,
            stdout=subprocess.PIPE,
        )
        try:
            fleet = page.Fleet(
                json.loads(double.first_line(30))["endpoint"],
                Database(json.loads(database.first_line(120))),
                folder,
                "bench",
                HOSTS,
                released,
            )
            machines = fleet.in_service()
            fleet.register(machines[:140], busy=True)
            fleet.register(machines[140:])
            fleet.ask("POST", "/api/v1/admin/autoscale/tick")
            prove_versions(fleet)
            measure(fleet)
        finally:
            double.stop()
            database.end()


if __name__ == "__main__":
    main()
