"""The fleet of `make up` with all that it shows behind it, and a Prometheus that scrapes it as
docs/METRICS.md says.
"""

import json
import re
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from support import ROOT, built, environment, eventually, program_path

OPERATOR = "local-operator-token"
READER = "local-reader-token"
METRICS = "/api/v1/admin/metrics"
# What Debian's Prometheus sends; which one it is, is no test of ours.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def ask(url: str, *, token: str | None = None, body=None, accept: str = ACCEPT):
    """The headers and the text of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Accept": accept}, method="PUT" if data else "GET")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if data:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers, answer.read().decode()


class Fleet:
    """`fleet-local up`, by what it prints."""

    def __init__(self, folder: Path):
        pace = ["--boot-seconds", "1", "--tick-seconds", "1", "--min", "1", "--max", "2"]
        jobs = ["--jobs", "1", "--job-seconds", "1"]
        self.errors = folder / "up.log"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "--", built("fleet-local"), "up", *pace, *jobs],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.lines: list[str] = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def said(self, pattern: str, seconds: float = 240) -> re.Match:
        def found():
            assert self.process.poll() is None, self.errors.read_text() + "".join(self.lines)
            return re.search(pattern, "".join(self.lines))

        return eventually(f"make up says {pattern}", seconds, found)

    @property
    def api(self) -> str:
        return self.said(r"    (http://\S+)/\n")[1]

    @property
    def host(self) -> str:
        """Address and port of the one host that is left."""
        told = "".join(self.lines)
        gone = re.findall(r"(i-\w+) +is gone", told)
        ports = dict(re.findall(r"(i-\w+) +serves \S+; deploy-server on port (\d+)", told))
        (port,) = (port for instance, port in ports.items() if instance not in gone)
        return f"127.0.0.1:{port}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="session")
def fleet(folder):
    """One host is left of two that were rolled out to: one version came, a broken one went back.
    Then somebody asks for a floor.
    """
    fleet = Fleet(folder)
    try:
        fleet.said(r"takes the floor back\n[\s\S]*capacity is back at 1\n")
        capacity = f"{fleet.api}/api/v1/admin/capacity"
        ask(capacity, token=OPERATOR, body={"floor": {"workers": 1, "for_minutes": 60}})
        yield fleet
    finally:
        fleet.stop()


def sample() -> dict:
    """The configuration in docs/METRICS.md."""
    page = (ROOT / "docs/METRICS.md").read_text()
    (text,) = re.findall(r"```yaml\n# prometheus.yml\n(.*?)```", page, re.DOTALL)
    return yaml.safe_load(text)


class Prometheus:
    def __init__(self, fleet: Fleet, folder: Path):
        token = folder / "reader-token"
        token.write_text(READER)
        config = sample()
        config["global"]["scrape_interval"] = "1s"
        for_fleet, for_hosts = config["scrape_configs"]
        for_fleet["authorization"]["credentials_file"] = str(token)
        for_fleet |= {"scheme": "http", "scrape_interval": "2s", "scrape_timeout": "2s"}
        for_fleet["static_configs"][0]["targets"] = [fleet.api.removeprefix("http://")]
        # There is no EC2 to find them in.
        del for_hosts["ec2_sd_configs"]
        for_hosts["static_configs"] = [{"targets": [fleet.host]}]
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig=KILL", "--", program_path("prometheus")),
                    f"--config.file={file}",
                    f"--storage.tsdb.path={folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def get(self, path: str, **parameters: str):
        query = urllib.parse.urlencode(parameters)
        answer = json.loads(ask(f"{self.url}/api/v1/{path}?{query}")[1])
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list:
        return self.get("query", query=expression)["result"]

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            targets = self.get("targets")["activeTargets"]
        except OSError:
            return False
        return len(targets) == 2 and all(target["health"] == "up" for target in targets)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="session")
def prometheus(fleet, folder):
    prometheus = Prometheus(fleet, folder)
    try:
        eventually("Prometheus has scraped both", 60, prometheus.is_up)
        yield prometheus
    finally:
        prometheus.stop()
