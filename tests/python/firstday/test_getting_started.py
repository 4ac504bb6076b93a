"""docs/GETTING-STARTED.md, run from its first command to its last, in one shell.

The AWS CLI talks to moto; `psql`, `sam` and the API are stand-ins that check what they are given:
no transform, no database and no function is needed to see whether the commands fit each other.
"""

import hashlib
import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from policy_sentry.querying.actions import get_action_data
from support import ROOT

GUIDE = (ROOT / "docs/GETTING-STARTED.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
ID = "11111111-0000-4000-8000-000000000000"


@pytest.fixture
def api():
    """The fleet's API as the guide meets it; `asked` is every request."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("content-length", 0))
            asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
            if self.path.endswith("fleet-status"):
                found = {"asgName": "g", "currentCapacity": 1, "queueDepth": 0, "unavailable": []}
            elif self.command == "POST":
                found = {"id": ID}
            else:
                found = {"state": "succeeded", "counts": {"succeeded": 1}}
            text = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = answer  # noqa: N815 - the library's names

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def stand_in(programs, name: str, text: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\nset -eu\n{text}\n")
    (programs / name).chmod(0o755)


@pytest.fixture
def site(account, api, tmp_path):
    """A copy of the tree, an account with the stack that `sam deploy` would make, and programs."""
    tree, log = tmp_path / "tree", tmp_path / "log"
    (tree / "docs").mkdir(parents=True)
    for name in ("fleet.yaml", "samconfig.toml", "docs/sql", "docs/policies", "host"):
        (tree / name).symlink_to(ROOT / name)
    (tree / "samconfig.toml").unlink()
    (tree / "samconfig.toml").write_text((ROOT / "samconfig.toml").read_text())
    (tree / "worker-secret.json").write_text('{"GH_DEPLOY_SECRET": "a secret of some length"}')
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"PageUrl": {"Value": f"{api[0]}/"}},
    }
    account.client("cloudformation").create_stack(
        StackName="ghosthands-staging-fleet", TemplateBody=json.dumps(template)
    )
    told = f'echo "$(basename "$0") $*" >>{log}'
    stand_in(
        account.programs,
        "sam",
        # The first setting is staging's; comments are in no quotes.
        f"{told}\ngrep -o '\"Mode=[a-z]*' samconfig.toml | head -n 1 | tr -d '\"' >>{log}",
    )
    (tree / "scripts").mkdir()
    stand_in(tree / "scripts", "build-functions.sh", told)
    stand_in(account.programs, "psql", f'{told}\ntest -s "$5"')
    # The builder is test_image.py's affair; here its answer is wanted.
    image = account.client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    (tree / "host").unlink()
    (tree / "host").mkdir()
    stand_in(tree / "host", "bake-image.sh", f'{told}\ntest -n "$SUBNET"\necho {image}')
    account.tree, account.log, account.asked = tree, log, api[1]
    return account


def test_the_guide_runs_from_an_empty_account_to_the_first_job(site):
    # The preflight is an automation of SSM, which moto does not run.
    text = "\n".join(BLOCKS).replace('"ImageId=$IMAGE"', '"ImageId=$IMAGE" Preflight=false')
    assert "Preflight=false" in text
    given = {
        "OWNER_DATABASE_URL": "postgresql://owner@db/x",
        "READER_DATABASE_URL": "postgresql://reader:p@db/x",
        "VERSION": "1.2.3",
        "PACKAGE_URL": "https://example.com/host.deb",
        "PACKAGE_SHA256": "a" * 64,
        "IMAGE_TAG": "v1",
    }
    # The guide puts .venv/bin first; here it has the stand-ins.
    (site.tree / ".venv").mkdir()
    (site.tree / ".venv/bin").symlink_to(site.programs)
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env=site.env | given,
        cwd=site.tree,
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    secrets = site.client("secretsmanager")
    fleet = json.loads(
        secrets.get_secret_value(SecretId="ghosthands/staging/fleet")["SecretString"]
    )
    assert fleet["DATABASE_URL"] == given["READER_DATABASE_URL"]
    assert fleet["FLEET_TOKENS"]["me"]["scopes"] == ["operate"]
    assert not (site.tree / "fleet-secret.json").exists()
    groups = site.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [group["AutoScalingGroupName"] for group in groups] == ["ghosthands-worker-asg"]
    # First it observes, and only then it acts; production is left as it was.
    told = site.log.read_text().splitlines()
    of_sam = [line.strip() for line in told if line.startswith(("build", "sam", "Mode"))]
    assert of_sam == [
        *("build-functions.sh", "sam deploy --config-env staging", "Mode=observe"),
        *("sam deploy --config-env staging", "Mode=act"),
    ]
    assert (site.tree / "samconfig.toml").read_text().count("Mode=observe") >= 2
    [token] = {headers["Authorization"].split()[1] for _, _, headers, _ in site.asked}
    assert fleet["FLEET_TOKENS"]["me"]["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    [begun] = [one for one in site.asked if one[0] == "POST"]
    assert json.loads(begun[3]) == {"image_tag": "v1"}
    assert site.asked[-1][1] == f"/api/v1/admin/deployments/{ID}"


def test_the_minutes_of_the_guide_are_at_most_thirty():
    rows = re.findall(r"^\| (\d) .* \| (\d+) \| (\d*) *\|$", GUIDE, re.MULTILINE)
    assert [int(step) for step, _, _ in rows] == list(range(1, 10))
    assert sum(int(minutes) for _, minutes, _ in rows) <= 30
    assert [int(step) for step in re.findall(r"^## (\d)\. ", GUIDE, re.MULTILINE)] == list(
        range(1, 10)
    )


def test_what_the_guide_says_to_set_is_a_parameter():
    parameters = set()
    for name in ("template.yaml", "fleet.yaml"):
        parameters |= set(
            re.findall(r"^  (\w+):\n    Type: ", (ROOT / name).read_text(), re.MULTILINE)
        )
    for name in re.findall(r"\b([A-Z]\w+)=(?:none|act|observe)\b", GUIDE):
        assert name in parameters, name


@pytest.mark.parametrize("name", ["deployer", "deployer-workers"])
def test_every_right_of_the_deployer_is_one_that_aws_knows(name):
    policy = json.loads((ROOT / f"docs/policies/{name}.json").read_text())
    wrong = []
    for statement in policy["Statement"]:
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action
            if not get_action_data(*action.split(":")):
                wrong.append(action)
    assert not wrong, wrong
    # A managed policy has at most so many characters, blanks not counted.
    assert len(re.sub(r"\s", "", json.dumps(policy))) <= 6144
