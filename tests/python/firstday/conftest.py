"""An AWS account on this machine: moto, and the AWS CLI in this very process, because a new
interpreter for each of its calls would take most of the time."""

import contextlib
import io
import json
import os
import socketserver
import threading
from urllib.request import Request, urlopen

import boto3
import pytest
from awscli.clidriver import create_clidriver
from botocore.config import Config
from moto.server import ThreadedMotoServer
from support import AWS, ROOT, environment

# In seconds.
PATIENCE = 300

# What stands in for the AWS CLI on the path of a script: it hands its arguments over.
SHIM = """#!/usr/bin/python3 -SE
import json, os, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({path!r})
link.sendall(json.dumps([os.getcwd(), *sys.argv[1:]]).encode() + b"\\n")
answer = json.loads(link.makefile().read())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""


class Account:
    """An account. `env` leads scripts to it, `calls` are the arguments of each call of the CLI."""

    def __init__(self, port: int, folder):
        self.endpoint = f"http://127.0.0.1:{port}"
        # Moto loads a service at its first call, and a busy machine takes its time.
        self.options = ["--endpoint-url", self.endpoint, "--cli-read-timeout", str(PATIENCE)]
        self.calls: list[list[str]] = []
        programs = folder / "programs"
        programs.mkdir()
        path = str(folder / "aws.sock")
        (programs / "aws").write_text(SHIM.format(path=path))
        (programs / "aws").chmod(0o755)
        self.programs = programs
        self.env = environment()
        self.env["PATH"] = f"{programs}:{self.env['PATH']}"
        account, one_at_a_time = self, threading.Lock()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                folder, *arguments = json.loads(self.rfile.readline())
                with one_at_a_time:
                    # A parameter may be a file of the caller's.
                    os.chdir(folder)
                    answer = account.call(arguments)
                self.wfile.write(json.dumps(answer).encode())

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(path, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def call(self, arguments: list[str]) -> dict:
        self.calls.append(arguments)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = create_clidriver().main([*self.options, *arguments])
            except SystemExit as end:
                code = end.code
        return {"code": code or 0, "out": out.getvalue(), "err": err.getvalue()}

    def client(self, service: str):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        patient = Config(read_timeout=PATIENCE)
        return boto3.client(
            service, "us-east-1", endpoint_url=self.endpoint, config=patient, **keys
        )


@pytest.fixture(scope="session")
def moto_server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def account(moto_server, tmp_path, monkeypatch) -> Account:
    # Where the CLI finds its own data, it wrote itself.
    foreign = [name for name in os.environ if name.startswith("AWS_") and name != "AWS_DATA_PATH"]
    for name in foreign:
        monkeypatch.delenv(name)
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    found = Account(moto_server, tmp_path)
    urlopen(Request(f"{found.endpoint}/moto-api/reset", method="POST")).read()
    yield found
    found.server.shutdown()
