"""What the suites share: a database with pg-boss in it, and the double of AWS."""

import json
import subprocess
from pathlib import Path

import pytest
from support import CACHE, Program, built, environment


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="session")
def database(folder):
    """PostgreSQL with TLS, pg-boss's real schema, the queue: `url`, `ca_pem`, and `enqueue(n)`."""
    program = Program(
        "test-database",
        [built("test-database")],
        environment(**CACHE),
        folder,
        stdout=subprocess.PIPE,
    )
    answer = json.loads(program.first_line(120))

    class Database:
        url, ca_pem = answer["url"], answer["ca_pem"]

        @staticmethod
        def enqueue(jobs: int) -> None:
            program.process.stdin.write(f"{jobs}\n".encode())
            program.process.stdin.flush()
            assert program.first_line(30) == str(jobs)

    yield Database
    program.end()


@pytest.fixture(scope="session")
def double(folder):
    """The double of AWS; yields its endpoint."""
    command = [built("aws-double"), "--boot-seconds", "0.2", "--shutdown-seconds", "0.2"]
    program = Program("aws-double", command, environment(), folder, stdout=subprocess.PIPE)
    yield json.loads(program.first_line(30))["endpoint"]
    program.stop()
