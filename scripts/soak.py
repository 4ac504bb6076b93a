#!/usr/bin/env python3
"""Normal work with faults, floods and hostile rows beside it: the local fleet, real pg-boss jobs.

    scripts/soak.py            for SOAK_MINUTES, 15 by default, and until every job is done

Ends with a table of what was done to the fleet and of its memory, and with 0 only if every job ran,
none was interrupted, capacity is back at the minimum, and the memory of no process grew.
"""

import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
MINUTES = float(os.environ.get("SOAK_MINUTES", "15"))
WORKERS, JOB_SECONDS = 3, 6
# What a process may gain between the first and the last third of its life.
GROWTH_KB = 4096
# A process that lives shorter says nothing about memory; its first part is its warming up.
SHORTEST, WARM = max(60, MINUTES * 60 / 5), 20
FUNCTIONS = ("autoscale", "drain", "deploy", "fleet-status")

done = Counter()


def say(text: str) -> None:
    print(f"soak: {text}", flush=True)


# --- The processes of the fleet ------------------------------------------------------------------


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def processes() -> dict[int, list[str]]:
    """Every process of this machine: its command line."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (line := read(f"/proc/{entry}/cmdline")):
            found[int(entry)] = line.decode(errors="replace").rstrip("\0").split("\0")
    return found


def parent(pid: int) -> int:
    status = read(f"/proc/{pid}/status").decode(errors="replace")
    found = re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else 0


class Fleet:
    """`fleet-local up`, and what it says."""

    def __init__(self) -> None:
        jobs = max(4, int(MINUTES * 60 * WORKERS / (JOB_SECONDS + 2)))
        program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/fleet-local"
        options = {
            "jobs": jobs,
            "job-seconds": JOB_SECONDS,
            "max": WORKERS,
            "deadline-seconds": int(MINUTES * 180 + 600),
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self.jobs, self.lines = jobs, []
        self.up = subprocess.Popen(
            [program, "up", "--once", "--skip-rollouts", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Servers that were started again here: process id and folder.
        self.restarted: dict[int, tuple[subprocess.Popen, Path]] = {}
        self.listen = threading.Thread(target=self.follow, daemon=True)
        self.listen.start()

    def follow(self) -> None:
        for line in self.up.stdout:
            self.lines.append(line.rstrip())

    def told(self, pattern: str, within: float = 180) -> str:
        """The first group of the first line like this."""
        until = time.monotonic() + within
        while time.monotonic() < until and self.up.poll() is None:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found[1]
            time.sleep(0.2)
        raise SystemExit(f"soak: the fleet never said {pattern}:\n" + "\n".join(self.lines[-20:]))

    def mine(self) -> dict[int, str]:
        """The fleet's servers and functions, by process id."""
        ours = {self.up.pid, *self.restarted}
        found = {}
        for pid, command in processes().items():
            name = Path(command[0]).name
            served = name == "deploy-server" and command[1:2] == ["serve"]
            if (served or name in FUNCTIONS) and (pid in self.restarted or parent(pid) in ours):
                found[pid] = name
        return found

    def servers(self) -> list[int]:
        return [pid for pid, name in self.mine().items() if name == "deploy-server"]

    def tidy(self, everything: bool = False) -> None:
        """Ends the servers that were started again of machines that are gone."""
        for pid, (server, folder) in list(self.restarted.items()):
            if everything or not folder.exists() or server.poll() is not None:
                if server.poll() is None:
                    server.kill()
                server.wait()
                del self.restarted[pid]


# --- What is done to it --------------------------------------------------------------------------


def folder_of(pid: int) -> Path | None:
    for setting in read(f"/proc/{pid}/environ").decode(errors="replace").split("\0"):
        name, _, value = setting.partition("=")
        if name == "GH_DEPLOY_STATE_DIR":
            return Path(value).parent
    return None


def kill_a_host(fleet: Fleet) -> None:
    """kill -9 of a deploy-server, which systemd would start again two seconds later."""
    pid = random.choice(fleet.servers())
    settings = read(f"/proc/{pid}/environ").decode().rstrip("\0").split("\0")
    command = processes()[pid]
    folder = folder_of(pid)
    os.kill(pid, signal.SIGKILL)
    time.sleep(2)
    if folder and folder.exists():
        with (folder / "deploy-server.log").open("ab") as log:
            server = subprocess.Popen(
                command,
                env=dict(setting.split("=", 1) for setting in settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        fleet.restarted[server.pid] = (server, folder)


def kill_a_function(fleet: Fleet) -> None:
    """kill -9 of a function, in whatever it is doing."""
    functions = [pid for pid, name in fleet.mine().items() if name != "deploy-server"]
    os.kill(random.choice(functions), signal.SIGKILL)


def database_away(fleet: Fleet) -> None:
    """The database is silent for eight seconds."""
    servers = [
        pid
        for pid, command in processes().items()
        if Path(command[0]).name.startswith("postgres") and parent(pid) == fleet.up.pid
    ]
    silent = servers + [pid for pid in processes() if parent(pid) in servers]
    for pid in silent:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(8)
    for pid in silent:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGCONT)


def engine_restarts(fleet: Fleet) -> None:
    """A host's engine takes no connection for ten seconds; its containers run on."""
    engine = folder_of(random.choice(fleet.servers())) / "docker.sock"
    away = engine.with_suffix(".away")
    engine.rename(away)
    time.sleep(10)
    if away.exists():
        away.rename(engine)


def flood_a_host(fleet: Fleet) -> None:
    """Twenty connections that send requests without reading, for eight seconds."""
    pid = random.choice(fleet.servers())
    environ = read(f"/proc/{pid}/environ").decode().split("\0")
    port = next(int(s.split("=")[1]) for s in environ if s.startswith("GH_DEPLOY_PORT="))
    requests = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" * 50
    streams = []
    until = time.monotonic() + 8
    for _ in range(20):
        try:
            stream = socket.create_connection(("127.0.0.1", port), 2)
            stream.setblocking(False)
            streams.append(stream)
        except OSError:
            pass
    while time.monotonic() < until:
        for stream in streams:
            try:
                stream.send(requests)
                stream.recv(65536)
            except OSError:
                pass
        time.sleep(0.02)
    for stream in streams:
        stream.close()


def flood_the_api(fleet: Fleet) -> None:
    """Requests of nobody, with bodies of a megabyte."""
    api = urlsplit(fleet.told(r"^\s+(http://127\.0\.0\.1:\d+)/$"))
    body = b"x" * 1_000_000
    for number in range(20):
        token = f"Authorization: Bearer nobody-{number % 3}\r\n" if number % 2 else ""
        head = (
            f"POST /api/v1/admin/autoscale/tick HTTP/1.1\r\nHost: a\r\n{token}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        with socket.create_connection((api.hostname, api.port), 20) as stream:
            stream.sendall(head.encode() + body)
            status = stream.recv(4096).split(b" ")[1]
            assert status in (b"401", b"403", b"413"), status


HOSTILE = """
INSERT INTO gh_worker_registry (worker_id, ec2_instance_id, last_heartbeat, registered_at)
VALUES ('hostile', repeat('x', 1000000), 'infinity', '-infinity')
ON CONFLICT (worker_id) DO UPDATE SET last_heartbeat = '-infinity';
INSERT INTO gh_worker_registry (worker_id, ec2_instance_id)
SELECT 'hostile-' || n || repeat('z', 300), 'i-' || repeat('f', 300) FROM generate_series(1, 500) n
ON CONFLICT (worker_id) DO UPDATE SET last_heartbeat = now();
INSERT INTO pgboss.job_common (name, start_after, singleton_key)
VALUES ('gh_apply_job', 'infinity', 'hostile');
"""
CLEAN = """
DELETE FROM gh_worker_registry WHERE worker_id LIKE 'hostile%';
DELETE FROM pgboss.job_common WHERE singleton_key = 'hostile';
"""


def hostile_rows(fleet: Fleet) -> None:
    """Rows that no worker and no application would write, for twelve seconds."""
    url = fleet.told(r"psql '([^']+)'")
    for statements, then in ((HOSTILE, 12), (CLEAN, 0)):
        subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", statements],
            check=True,
            timeout=60,
        )
        time.sleep(then)


FAULTS = (
    kill_a_host,
    hostile_rows,
    kill_a_function,
    flood_a_host,
    database_away,
    flood_the_api,
    engine_restarts,
)


# --- Memory --------------------------------------------------------------------------------------


def resident_kb(pid: int) -> int:
    status = read(f"/proc/{pid}/status").decode(errors="replace")
    found = re.search(r"^VmRSS:\s*(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else 0


class Memory(threading.Thread):
    """Looks at every process of the fleet once in two seconds."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(daemon=True)
        self.fleet, self.seen = fleet, defaultdict(list)

    def run(self) -> None:
        while True:
            for pid, name in self.fleet.mine().items():
                if kb := resident_kb(pid):
                    self.seen[name, pid].append((time.monotonic(), kb))
            time.sleep(2)

    def growth(self) -> list[tuple[str, int, float, int, int, int]]:
        """Of each process that lived long enough: name, id, seconds, first, last and most kB."""
        rows = []
        for (name, pid), samples in sorted(self.seen.items()):
            lived = samples[-1][0] - samples[0][0]
            warm = [kb for at, kb in samples if at - samples[0][0] >= WARM]
            if lived >= SHORTEST and len(warm) >= 9:
                third = len(warm) // 3
                first, last = statistics.median(warm[:third]), statistics.median(warm[-third:])
                rows.append((name, pid, lived, int(first), int(last), max(warm)))
        return rows


def main() -> int:
    random.seed(1)
    fleet = Fleet()
    memory = Memory(fleet)
    try:
        fleet.told(r"(claims job)", 300)
        say(f"{fleet.jobs} jobs of {JOB_SECONDS} s on at most {WORKERS} hosts")
        memory.start()
        began, turn = time.monotonic(), 0
        while fleet.up.poll() is None and time.monotonic() - began < MINUTES * 60:
            fault = FAULTS[turn % len(FAULTS)]
            turn += 1
            if fleet.servers():
                say(f"{time.monotonic() - began:4.0f} s: {fault.__name__}")
                fault(fleet)
                done[fault.__name__] += 1
            fleet.tidy()
            time.sleep(random.uniform(2, 6))
        say("no more faults; waiting for the last job and the minimum")
        while fleet.up.poll() is None:
            fleet.tidy()
            time.sleep(1)
        fleet.listen.join(10)
    finally:
        if fleet.up.poll() is None:
            fleet.up.send_signal(signal.SIGINT)
            fleet.up.wait(60)
        fleet.tidy(everything=True)
    return report(fleet, memory)


def report(fleet: Fleet, memory: Memory) -> int:
    log = ROOT / "target/soak.log"
    log.write_text("\n".join(fleet.lines) + "\n")
    try:
        summary = json.loads(fleet.lines[-1])
    except (IndexError, ValueError):
        say(f"FAIL: the fleet ended with {fleet.up.returncode} and no summary; see {log}")
        return 1
    print()
    for fault in FAULTS:
        print(f"| {fault.__name__.replace('_', ' '):<18} | {done[fault.__name__]:>4} times |")
    print()
    for name in ("jobs_enqueued", "jobs_completed", "interrupted", "final_desired", "seconds"):
        print(f"| {name:<18} | {summary[name]:>10} |")
    print("\n| process (id)           | lived s | first kB | last kB | most kB |")
    rows = memory.growth()
    for name, pid, lived, first, last, most in rows:
        print(f"| {name:<14}{f'({pid})':>8} | {lived:>7.0f} | {first:>8} | {last:>7} | {most:>7} |")
    grew = [f"{name} ({pid})" for name, pid, _, first, last, _ in rows if last - first > GROWTH_KB]
    wrong = []
    if not summary["ok"] or summary["interrupted"]:
        wrong.append(f"not every job ran undisturbed: {json.dumps(summary)}")
    if grew:
        wrong.append(f"memory grew by more than {GROWTH_KB} kB: {', '.join(grew)}")
    if not rows:
        wrong.append(f"no process lived for {SHORTEST:.0f} s, so its memory says nothing")
    print()
    for problem in wrong:
        print(f"FAIL {problem}; see {log}")
    if not wrong:
        print("ok every job ran, none was interrupted, and no memory grew")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
