"""Programs that end with the test run, and an environment that reaches nothing outside."""

import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Where `sam build` leaves the functions.
FUNCTIONS = Path(os.environ.get("FLEET_FUNCTIONS", ROOT / ".aws-sam/build"))

# Every variable of AWS that a developer may have set is left behind; the keys are invented, and
# port 9 is "discard": a call that was not given an endpoint fails at once instead of going out.
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_PAGER": "",
}


# A container may take its time where many start at once.
SAM = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "120"}

# What a developer's shell may hold and a function under test must not see: its own settings.
SETTINGS = (
    "AUTOSCALE_",
    "DATABASE_",
    "DRY_RUN",
    "FLEET_",
    "GH_",
    "JOBS_PER_",
    "PGBOSS_",
    "RUST_LOG",
    "WAIT_VALUE",
)

# Where downloads are kept; for the programs that look for them, never for a function.
CACHE = {name: os.environ[name] for name in ("FLEET_CACHE",) if name in os.environ}


def environment(**more: str) -> dict[str, str]:
    """The environment of a program under test: the shell's, AWS as above, and `more`."""
    base = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", *SETTINGS))
    }
    base["PATH"] = f"{ROOT / '.venv/bin'}:{base.get('PATH', '/usr/bin:/bin')}"
    return base | AWS | SAM | more


class Program:
    """A child that dies with the test run, even when that is killed; its output goes to a file."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], folder: Path, **options):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", "--", *command],
                env=env,
                stdin=subprocess.PIPE,
                stdout=options.pop("stdout", log),
                stderr=log,
                **options,
            )

    def first_line(self, seconds: float) -> str:
        """The first line of its output, which it prints when it is ready."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline().decode() if ready else ""
        assert line, f"{self.name} is not ready after {seconds} s:\n{self.text()}"
        return line.strip()

    def text(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def end(self) -> None:
        """Waits for a program that ends by itself when its input does."""
        self.process.stdin.close()
        self.process.wait(60)

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def eventually(what: str, seconds: float, attempt):
    """The first true answer of `attempt`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = attempt()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def logical_id(function: str) -> str:
    """A function's name in template.yaml: `fleet-status` is `FleetStatus` there."""
    return "".join(word.capitalize() for word in function.split("-"))


def shipped(function: str) -> str:
    """The binary of a function as `sam build` leaves it."""
    binary = FUNCTIONS / logical_id(function) / "bootstrap"
    assert binary.exists(), f"{binary} is missing: run `sam build`"
    return str(binary)


def built(name: str) -> str:
    """A program of the workspace, as `cargo build` leaves it."""
    program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / name
    assert program.exists(), f"{program} is missing: cargo build --workspace --all-targets"
    return str(program)


def program_path(name: str) -> str:
    """A program of the virtual environment or the system."""
    found = shutil.which(name, path=environment()["PATH"])
    assert found, f"{name} is missing: scripts/setup.sh test"
    return found
