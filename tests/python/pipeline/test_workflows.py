"""The workflows' order, rights and pins, read from the files that GitHub reads."""

import re
import subprocess

import pytest
import yaml
from support import ROOT, program_path

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
ACTION = ROOT / ".github/actions/roll-out/action.yml"


def read(file) -> dict:
    # The key `on` is a truth value in YAML 1.1.
    return {("on" if key is True else key): value for key, value in yaml.safe_load(file).items()}


WORKFLOWS = {file.stem: read(file.read_text()) for file in FILES}
JOBS = [
    pytest.param(workflow, job, id=f"{name}-{at}")
    for name, workflow in WORKFLOWS.items()
    for at, job in workflow["jobs"].items()
]


def before(jobs: dict, name: str) -> set[str]:
    """The jobs that have to end well before this one begins."""
    needs = jobs[name].get("needs", [])
    found = set([needs] if isinstance(needs, str) else needs)
    for one in list(found):
        found |= before(jobs, one)
    return found


def steps(job: dict) -> list[dict]:
    return job.get("steps", [])


def test_actionlint_finds_nothing():
    ended = subprocess.run(
        [program_path("actionlint"), *FILES], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_application_is_tested_built_and_rolled_out_in_the_guides_order():
    jobs = WORKFLOWS["application"]["jobs"]
    assert before(jobs, "typecheck") == before(jobs, "unit") == set()
    assert before(jobs, "integration") == {"typecheck", "unit"}
    assert before(jobs, "image") == {"typecheck", "unit", "integration"}
    assert before(jobs, "staging") == {"typecheck", "unit", "integration", "image"}
    assert before(jobs, "production") == {"typecheck", "unit", "integration", "image", "staging"}
    # Both roll out what was built once.
    for name in ("staging", "production"):
        [step] = [step for step in steps(jobs[name]) if "roll-out" in step.get("uses", "")]
        assert step["with"]["image-tag"] == "${{ needs.image.outputs.tag }}"


def test_nothing_tells_valet_but_the_fleet_itself():
    for file in [
        *FILES,
        ACTION,
        *(ROOT / ".github").rglob("*.py"),
        *(ROOT / ".github").rglob("*.sh"),
    ]:
        code = re.sub(r"^\s*#.*$", "", file.read_text(), flags=re.MULTILINE)
        assert "webhooks" not in code and "VALET_" not in code, file


def test_production_comes_from_main_only():
    found = 0
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            if job.get("environment") == "production":
                assert job["if"] == "github.ref == 'refs/heads/main'"
                assert job["needs"]
                found += 1
    assert found == 2


@pytest.mark.parametrize(("workflow", "job"), JOBS)
def test_what_a_job_uses_is_pinned_by_its_commit_and_its_rights_are_named(workflow, job):
    for step in [job, *steps(job)]:
        used = step.get("uses", "./")
        assert used.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used), used
        if used.startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
    # Nothing that was not asked for: without it a token may write.
    assert workflow["permissions"] == {"contents": "read"}
    assert "uses" in job or job["timeout-minutes"] <= 350


def test_each_pin_says_its_version_and_one_action_has_one_pin():
    pins: dict[str, set[str]] = {}
    for file in FILES:
        for line in file.read_text().splitlines():
            if found := re.search(r"uses: ([\w./-]+)@([0-9a-f]{40})(.*)", line):
                assert re.fullmatch(r" # v\d+\.\d+\.\d+", found[3]), line
                pins.setdefault(found[1], set()).add(found[2] + found[3])
    assert pins and all(len(versions) == 1 for versions in pins.values()), pins


def test_keys_of_aws_are_lent_for_a_job_and_none_is_kept():
    for file in FILES:
        assert not re.search(r"aws-(access|secret)", file.read_text(), re.IGNORECASE), file
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            borrows = [
                step for step in steps(job) if step.get("uses", "").startswith("aws-actions/")
            ]
            for step in borrows:
                assert job["permissions"]["id-token"] == "write"
                # Whose role it is, the environment says, which has reviewers and branches.
                assert job["environment"]
                assert set(step["with"]) == {"role-to-assume", "aws-region"}


def test_a_rollout_is_never_cancelled_and_never_beside_another():
    for name, workflow in WORKFLOWS.items():
        for at, job in workflow["jobs"].items():
            if not any("roll-out" in step.get("uses", "") for step in steps(job)):
                continue
            held = job.get("concurrency") or workflow["concurrency"]
            assert held["cancel-in-progress"] is False, (name, at)
            environment = job["environment"]
            assert held["group"] in (f"rollout-{environment}", "rollout-${{ inputs.environment }}")
    for name in ("application", "control-plane", "rollback", "release"):
        assert WORKFLOWS[name]["concurrency"]["cancel-in-progress"] is False


@pytest.mark.parametrize(("workflow", "job"), JOBS)
def test_no_text_of_a_caller_is_put_into_a_shells_program(workflow, job):
    for step in steps(job):
        assert "${{" not in step.get("run", ""), step


def test_every_script_that_a_workflow_runs_is_there_and_may_run():
    found = 0
    for _, job in [parameter.values for parameter in JOBS]:
        for step in steps(job):
            for script in re.findall(
                r"[\w./-]*/(?:scripts|\.ci)/[\w.-]+|\.ci/run", step.get("run", "")
            ):
                file = ROOT / script.removeprefix(".fleet/")
                assert file.stat().st_mode & 0o111, script
                found += 1
    assert found >= 5


def test_the_action_passes_each_input_by_the_environment():
    action = yaml.safe_load(ACTION.read_text())
    [step] = action["runs"]["steps"]
    passed = set(re.findall(r"inputs\.([a-z-]+)", " ".join(step["env"].values())))
    assert passed == set(action["inputs"])
    program = (ACTION.parent / "roll_out.py").read_text()
    assert all(f'"{name}"' in program for name in step["env"]), step["env"]


def test_a_waiting_step_ends_before_its_job_is_ended():
    waits = int(yaml.safe_load(ACTION.read_text())["inputs"]["wait-minutes"]["default"])
    for _, job in [parameter.values for parameter in JOBS]:
        for step in steps(job):
            if "roll-out" in step.get("uses", ""):
                assert int(step["with"].get("wait-minutes", waits)) + 10 <= job["timeout-minutes"]
