"""A double per test, on a clock that stands still until the test moves it; and moto beside it."""

import json
import socket
import subprocess

import pytest
from aws import START, Endpoint, start
from support import Program, environment, eventually, program_path


@pytest.fixture
def double(tmp_path):
    program, double = start(tmp_path, "--clock", START)
    yield double
    program.stop()


@pytest.fixture
def autoscaling(double):
    return double.client("autoscaling")


@pytest.fixture
def cli(double):
    """Runs the AWS CLI against the double: the parsed output, or the error that it printed."""

    def run(*arguments: str, fails: bool = False):
        done = subprocess.run(
            [program_path("aws"), "--output", "json", *arguments],
            env=environment(AWS_ENDPOINT_URL=double.url),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode != 0) == fails, done.stderr
        if fails:
            return done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program_path("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    folder = tmp_path_factory.mktemp("moto")
    program = Program("moto", command, environment(), folder)
    endpoint = Endpoint(f"http://127.0.0.1:{port}")

    def answers():
        assert program.process.poll() is None, program.text()
        try:
            return endpoint.request("GET", "/moto-api/data.json")[0] == 200
        except OSError:
            return False

    eventually("moto answers", 60, answers)
    yield endpoint
    program.stop()


@pytest.fixture
def moto(moto_server):
    moto_server.request("POST", "/moto-api/reset", b"")
    return moto_server
