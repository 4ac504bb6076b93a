#!/usr/bin/env python3
"""Measures deploy-server on this machine: how long a service is away during a swap, in the old
order and in ours; how long the way back takes; memory, size and the latency of /health.

    deploy-server/bench/measure.py BINARY [ROUNDS]

Needs root, dockerd, docker, docker-registry, rustc and busybox-static. Starts an engine and a
registry of its own in a temporary folder and stops them at the end. Prints a table in Markdown.
"""

import http.client
import http.server
import itertools
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
STANDIN = os.path.join(HERE, "..", "tests", "standin")
SECRET = "a-secret-for-the-benchmark"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(probe, within=60):
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            if probe():
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit("measure: waited in vain")


def unit_environment():
    """What the systemd unit sets for the server."""
    with open(
        os.path.join(HERE, "..", "..", "host", "deploy-server.service"), encoding="utf-8"
    ) as unit:
        return [
            pair
            for line in unit
            if line.startswith("Environment=")
            for pair in line.strip().split("=", 1)[1].split()
        ]


def percentile(values, share):
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Metadata(http.server.BaseHTTPRequestHandler):
    """The metadata of an instance in service: a host that reads it is the one that is measured."""

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_PUT(self):
        self.answer(200, b"token")

    def do_GET(self):
        state = self.path.endswith("/autoscaling/target-lifecycle-state")
        self.answer(*(200, b"InService") if state else (404, b""))

    def log_message(self, *_):
        pass


class Bench:
    def __init__(self, binary):
        self.binary = binary
        self.folder = tempfile.mkdtemp(prefix="gh-bench")
        self.engine = os.path.join(self.folder, "docker.sock")
        self.children = []
        self.port, self.api, self.worker, registry = (free_port() for _ in range(4))
        self.registry = f"127.0.0.1:{registry}"
        self.metadata = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
        threading.Thread(target=self.metadata.serve_forever, daemon=True).start()

    def spawn(self, arguments, env=None):
        name = os.path.join(self.folder, os.path.basename(arguments[0]) + ".log")
        with open(name, "ab") as log:
            child = subprocess.Popen(arguments, env=env, stdout=log, stderr=log)
        self.children.append(child)
        return child

    def docker(self, *arguments):
        command = ["docker", "-H", f"unix://{self.engine}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def call_engine(self, method, path, body=None):
        connection = Unix(self.engine)
        headers = {"Content-Type": "application/json"}
        connection.request(method, "/v1.41" + path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            sys.exit(f"measure: {method} {path}: {text}")
        return json.loads(text) if text else None

    def start(self):
        def path(name):
            return os.path.join(self.folder, name)

        self.spawn(
            [
                "dockerd",
                "--data-root",
                path("data"),
                "--exec-root",
                path("exec"),
                "--pidfile",
                path("pid"),
                "-H",
                f"unix://{self.engine}",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
            ]
        )
        with open(path("registry.yml"), "w", encoding="utf-8") as out:
            out.write(
                f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: {self.registry}}}\n"
                f"storage: {{filesystem: {{rootdirectory: {path('registry')}}}}}\n"
            )
        self.spawn(["docker-registry", "serve", path("registry.yml")])
        until(lambda: os.path.exists(self.engine) and self.call_engine("GET", "/info"))
        root = path("root")
        for name in ("bin", "tmp", "proc", "dev"):
            os.makedirs(os.path.join(root, name))
        shutil.copy("/bin/busybox", os.path.join(root, "bin", "sh"))
        shutil.copy(os.path.join(STANDIN, "run.sh"), root)
        os.chmod(os.path.join(root, "run.sh"), 0o755)
        subprocess.run(
            [
                "rustc",
                "--edition",
                "2024",
                "-O",
                "-C",
                "target-feature=+crt-static",
                "-o",
                os.path.join(root, "standin"),
                os.path.join(STANDIN, "standin.rs"),
            ],
            check=True,
        )
        subprocess.run(["tar", "-C", root, "-cf", path("root.tar"), "."], check=True)
        for tag, api in (("v1", ""), ("v2", ""), ("broken", "crash")):
            name = f"{self.registry}/ghosthands:{tag}"
            self.docker("import", "-c", f"ENV STANDIN_API={api} TAG={tag}", path("root.tar"), name)
            self.docker("push", "-q", name)
        env = {
            "PATH": "/usr/bin:/bin",
            "GH_DEPLOY_SECRET": SECRET,
            "GH_DEPLOY_PORT": str(self.port),
            "GH_DEPLOY_HOSTNAME": "127.0.0.1",
            "GH_DEPLOY_SOCKET": path("control.sock"),
            "GH_DEPLOY_STATE_DIR": path("state"),
            "DOCKER_SOCKET": self.engine,
            "ECR_REGISTRY": self.registry,
            "GH_API_PORT": str(self.api),
            "GH_WORKER_PORT": str(self.worker),
            "GH_API_COMMAND": "/run.sh api",
            "GH_WORKER_COMMAND": "/run.sh worker",
            "GH_DEPLOY_HEALTHY_SECONDS": "1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{self.metadata.server_port}",
        }
        env.update(pair.split("=", 1) for pair in unit_environment())
        self.server = self.spawn([self.binary, "serve"], env)
        until(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None)

    def deploy(self, tag):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(
            "POST", "/deploy", json.dumps({"image_tag": tag}), {"X-Deploy-Secret": SECRET}
        )
        return json.loads(connection.getresponse().read())

    def away(self, work):
        """The longest times, in ms, between two good answers of the API and of the worker while
        `work` runs, the moments of the API's good answers, and what `work` returned; probes 1 ms
        apart.
        """
        stop = threading.Event()
        good = {(self.api, "/health"): [], (self.worker, "/worker/status"): []}

        def probe(port, path):
            while not stop.is_set():
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
                    connection.request("GET", path)
                    if connection.getresponse().status == 200:
                        good[port, path].append(time.time())
                    connection.close()
                except (OSError, http.client.HTTPException):
                    pass
                time.sleep(0.001)

        threads = [threading.Thread(target=probe, args=place) for place in good]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        result = work()
        until(lambda: all(times and times[-1] > time.time() - 0.05 for times in good.values()))
        stop.set()
        for thread in threads:
            thread.join()
        api, worker = (
            max(b - a for a, b in itertools.pairwise(times)) * 1000 for times in good.values()
        )
        return api, worker, next(iter(good.values())), result

    def old_order(self):
        """Stop, remove, create, start: what the predecessor did."""
        detail = self.call_engine("GET", "/containers/ghosthands-api/json")
        config, host = detail["Config"], detail["HostConfig"]
        body = {key: config[key] for key in ("Cmd", "Entrypoint", "Env", "Image", "Labels")}
        body["HostConfig"] = {"NetworkMode": "host", "RestartPolicy": host["RestartPolicy"]}
        self.call_engine("POST", "/containers/ghosthands-api/stop?t=30")
        self.call_engine("DELETE", "/containers/ghosthands-api?force=true&v=true")
        self.call_engine("POST", "/containers/create?name=ghosthands-api", body)
        self.call_engine("POST", "/containers/ghosthands-api/start")

    def rolled_back(self):
        """From the failure's record to the first good answer of the old API, in ms."""
        _, _, good, result = self.away(lambda: self.deploy("broken"))
        if result["status"] != "rolled_back":
            sys.exit(f"measure: {result}")
        with open(os.path.join(self.folder, "state", "journal.jsonl"), encoding="utf-8") as journal:
            records = [json.loads(line) for line in journal]
        failed = next(record["at"] for record in records if record["record"] == "failed") / 1000
        return (min(at for at in good if at > failed) - failed) * 1000

    def health(self, rate=200, seconds=10):
        """Latencies of /health in ms at a steady rate, over connections that stay open."""
        times, lock = [], threading.Lock()
        streams = 8
        begin = time.monotonic() + 0.2

        def ask(stream):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            for number in range(stream, rate * seconds, streams):
                due = begin + number / rate
                time.sleep(max(0, due - time.monotonic()))
                sent = time.monotonic()
                connection.request("GET", "/health")
                connection.getresponse().read()
                with lock:
                    times.append((time.monotonic() - sent) * 1000)

        threads = [threading.Thread(target=ask, args=(stream,)) for stream in range(streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return times

    def memory(self):
        with open(f"/proc/{self.server.pid}/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    rounds = int(sys.argv[2]) if len(sys.argv) == 3 else 20
    bench = Bench(os.path.abspath(sys.argv[1]))
    try:
        bench.start()
        first = bench.memory()
        if not bench.deploy("v1")["success"]:
            sys.exit("measure: the first deploy fails")
        old, ours, worker, back, tags = [], [], [], [], ["v2", "v1"]
        for number in range(rounds):
            # In turn, so that what else the machine does hits both alike.
            old.append(bench.away(bench.old_order)[0])
            gaps = bench.away(lambda tag=tags[number % 2]: bench.deploy(tag))
            ours.append(gaps[0])
            worker.append(gaps[1])
            back.append(bench.rolled_back())
        time.sleep(2)
        idle = bench.memory()
        health = bench.health()
        print("| What | p50 | p95 | p99 |\n|---|---|---|---|")
        for name, values in (
            ("API away, old order, ms", old),
            ("API away, ours, ms", ours),
            ("worker away, ours, ms", worker),
            ("failure to the old API's answer, ms", back),
            ("`/health` at 200/s, ms", health),
        ):
            print(
                f"| {name} | "
                + " | ".join(f"{percentile(values, share):.1f}" for share in (0.5, 0.95, 0.99))
                + " |"
            )
        print(
            f"\nRSS {first:.1f} MiB after the start, {idle:.1f} MiB idle after "
            f"{3 * rounds + 1} swaps; "
            f"binary {os.path.getsize(bench.binary) / 2**20:.2f} MiB; {rounds} rounds."
        )
    finally:
        bench.stop()


main()
