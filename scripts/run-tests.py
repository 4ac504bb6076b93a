"""Runs every Rust test program of the workspace, two side by side, each within a time of its own.

cargo runs them one after the other. Most of them wait for programs that they started, so that two
take little longer than the longer one. Prints what each printed, as cargo does, once it has ended,
and last how long each took. Ends with 1 when one failed or did not end in time.

    scripts/run-tests.py [ARGUMENT OF THE TEST PROGRAMS ...]
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

SIDE_BY_SIDE = 2
# The longest takes a third of this on two cores: one that takes longer hangs.
LIMIT_S = 1500
# It is begun first, as everything else together takes about as long.
LONGEST = ("deploy-server", "deploy")
# What it holds is a bound in seconds, of statements over millions of rows: it gets the machine for
# itself, after all others.
ALONE = ("tests", "attacks")

BUILD = ["cargo", "test", "--workspace", "--locked", "--no-run"]


class Program(NamedTuple):
    """A test program: the package and the target it belongs to, and where it is."""

    package: str
    target: str
    folder: Path
    path: str

    @property
    def is_at(self) -> tuple[str, str]:
        """Its package and target."""
        return (self.package, self.target)

    @property
    def name(self) -> str:
        """How its line in the list says it."""
        return f"{self.package}/{self.target}"


def programs() -> list[Program]:
    """Builds them. Ends the run where one does not compile; cargo has said why."""
    built = subprocess.run(
        [*BUILD, "--message-format=json-render-diagnostics"],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if built.returncode != 0:
        sys.exit(built.returncode)
    found = []
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact" or not message["profile"]["test"]:
            continue
        if message["executable"] is None:
            continue
        folder = Path(message["manifest_path"]).parent
        target = message["target"]["name"]
        found.append(Program(folder.name, target, folder, message["executable"]))
    return sorted(found, key=lambda program: program.is_at != LONGEST)


def run(program: Program) -> tuple[bool, float]:
    """Runs one and prints what it said. Whether all was well, and how many seconds it took."""
    began = time.monotonic()
    # A group of its own, so that whatever it started ends with it.
    process = subprocess.Popen(
        [program.path, *sys.argv[1:]],
        cwd=program.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )
    running[program] = process
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        said += f"\nFAIL {program.name} did not end within {LIMIT_S} s\n"
    del running[program]
    sys.stdout.write(f"     Running {program.name}\n{said}\n")
    sys.stdout.flush()
    return process.returncode == 0, time.monotonic() - began


def stop(*_: object) -> None:
    """Takes the programs along when this one is stopped."""
    for process in list(running.values()):
        os.killpg(process.pid, signal.SIGKILL)
    os._exit(130)


running: dict[Program, subprocess.Popen[str]] = {}
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)

all_of_them = programs()
beside = [program for program in all_of_them if program.is_at != ALONE]
with ThreadPoolExecutor(SIDE_BY_SIDE) as lanes:
    results = list(zip(beside, lanes.map(run, beside), strict=True))
results += [(program, run(program)) for program in all_of_them if program.is_at == ALONE]
print("how long each took:")
for program, (well, took_s) in sorted(results, key=lambda result: -result[1][1]):
    print(f"{took_s:7.1f} s  {program.name}{'' if well else '  FAILED'}")
sys.exit(not all(well for _, (well, _) in results))
