"""The image is built once for a commit, and pushed: a real engine, a real registry."""

import socket
import subprocess

import pytest
from support import ROOT, Program, environment, eventually, program_path

SCRIPT = ROOT / ".github/scripts/push-image.sh"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/store}}}}\n"
        f"http: {{addr: 127.0.0.1:{port}}}\n"
    )
    command = [program_path("docker-registry"), "serve", str(folder / "config.yml")]
    program = Program("registry", command, environment(), folder)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually("the registry answers", 20, answers)
    yield f"127.0.0.1:{port}"
    program.stop()


@pytest.fixture
def push(registry, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY hello /hello\n")
    (context / "hello").write_text("hello")

    def run(**settings: str) -> dict[str, str]:
        outputs = tmp_path / "outputs"
        outputs.write_text("")
        given = {
            "CONTEXT": str(context),
            "REPOSITORY": "ghosthands",
            "REGISTRY": registry,
            "INSECURE": "true",
            "GITHUB_SHA": COMMIT,
            "GITHUB_OUTPUT": str(outputs),
        }
        ended = subprocess.run(
            [SCRIPT],
            env=environment(**(given | settings)),
            check=False,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        found = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        return found | {"said": ended.stdout}

    run.context = context
    return run


def test_a_commit_is_one_image_for_ever(push):
    first = push()
    assert first["tag"] == COMMIT and first["digest"].startswith("sha256:")
    # Started again after somebody changed what a build would make: the image is what it was.
    (push.context / "hello").write_text("other")
    again = push()
    assert again["digest"] == first["digest"] and "is there already" in again["said"]
    other = push(GITHUB_SHA=COMMIT[::-1])
    assert other["digest"] != first["digest"]
