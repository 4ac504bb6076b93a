"""host/bake-image.sh with the AWS CLI against moto: what it asks for, and what it leaves."""

import base64
import subprocess
import threading
import time

import pytest
from support import ROOT

SCRIPT = ROOT / "host/bake-image.sh"
SUM = "a" * 64
URL = "https://bucket.s3.amazonaws.com/host.deb?X-Amz-Signature=a%2Fb&c=1\\d"


@pytest.fixture
def run(account):
    ec2 = account.client("ec2")
    base = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]

    def start(*arguments: str, **settings: str) -> subprocess.CompletedProcess:
        given = {"BASE_IMAGE": base, "SUBNET": subnet, "POLL_SECONDS": "1", "BAKE_SECONDS": "600"}
        return subprocess.run(
            [SCRIPT, *arguments],
            env=account.env | given | settings,
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )

    start.ec2, start.base, start.subnet = ec2, base, subnet
    return start


def builders(ec2) -> list[dict]:
    found = ec2.describe_instances(Filters=[{"Name": "tag:ghosthands:builder", "Values": ["true"]}])
    return [one for it in found["Reservations"] for one in it["Instances"]]


def switch_off_when_it_runs(ec2) -> threading.Thread:
    """The builder's user data, which ends by this."""

    def work():
        for _ in range(6000):
            if running := [one for one in builders(ec2) if one["State"]["Name"] == "running"]:
                ec2.stop_instances(InstanceIds=[running[0]["InstanceId"]])
                return
            time.sleep(0.1)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_an_image_is_made_of_a_builder_that_is_off_and_no_builder_stays(run):
    thread = switch_off_when_it_runs(run.ec2)
    ended = run("bake", "1.2.3", URL, SUM)
    thread.join()
    assert ended.returncode == 0, ended.stderr
    [image] = run.ec2.describe_images(ImageIds=[ended.stdout.strip()])["Images"]
    assert image["Name"].startswith("ghosthands-worker-golden-1.2.3-")
    assert {"Key": "ghosthands:image", "Value": "1.2.3"} in image["Tags"]
    [builder] = builders(run.ec2)
    assert builder["State"]["Name"] == "terminated"
    answer = run.ec2.describe_instance_attribute(
        InstanceId=builder["InstanceId"], Attribute="userData"
    )
    text = base64.b64decode(answer["UserData"]["Value"]).decode()
    # The address as it is, whatever characters its signature has.
    assert f"'{URL}'" in text and f"'{SUM}  /tmp/host.deb'" in text and "@PACKAGE" not in text
    # A program that a shell can read, and its last act is to switch the machine off.
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert text.rstrip().splitlines()[-1] == "shutdown -h now"


def test_a_builder_that_does_not_end_makes_no_image_and_is_ended(run):
    ended = run("bake", "1.2.3", URL, SUM, BAKE_SECONDS="1")
    assert ended.returncode != 0 and "did not end within" in ended.stderr
    assert not ended.stdout
    [builder] = builders(run.ec2)
    assert builder["State"]["Name"] == "terminated"
    assert not run.ec2.describe_images(Owners=["self"], Filters=[IMAGES])["Images"]


IMAGES = {"Name": "tag-key", "Values": ["ghosthands:image"]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bake", "1.2", URL, SUM), "MAJOR.MINOR.PATCH"),
        (("bake", "1.2.3", "http://x/host.deb", SUM), "https://"),
        (("bake", "1.2.3", "https://x/'; reboot; '", SUM), "https://"),
        (("bake", "1.2.3", URL, "abc"), "SHA-256"),
        (("bake", "1.2.3"), "bake VERSION"),
        ((), "bake VERSION"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_started(run, arguments, says):
    ended = run(*arguments)
    assert ended.returncode == 64 and says in ended.stderr
    assert not builders(run.ec2)


def image(run, version: str) -> str:
    reservation = run.ec2.run_instances(
        ImageId=run.base, MinCount=1, MaxCount=1, SubnetId=run.subnet
    )
    id = reservation["Instances"][0]["InstanceId"]
    tags = [{"Key": "ghosthands:image", "Value": version}]
    made = run.ec2.create_image(
        InstanceId=id,
        Name=f"ghosthands-worker-golden-{version}",
        TagSpecifications=[{"ResourceType": "image", "Tags": tags}],
    )
    run.ec2.terminate_instances(InstanceIds=[id])
    # Images are told apart by the second in which they were made.
    time.sleep(1.1)
    return made["ImageId"]


def test_the_last_three_images_stay_and_so_does_one_in_use(run):
    ids = [image(run, f"1.0.{at}") for at in range(6)]
    run.ec2.run_instances(ImageId=ids[0], MinCount=1, MaxCount=1, SubnetId=run.subnet)
    run.ec2.create_launch_template(
        LaunchTemplateName="ghosthands-worker-lt-staging",
        LaunchTemplateData={"ImageId": ids[1]},
    )
    ended = run("retire")
    assert ended.returncode == 0, ended.stderr
    expected = {f"kept {ids[0]}", f"kept {ids[1]}", f"removed {ids[2]}"}
    assert {line.split(":")[0] for line in ended.stdout.splitlines()} == expected
    left = run.ec2.describe_images(Owners=["self"], Filters=[IMAGES])["Images"]
    assert {one["ImageId"] for one in left} == {*ids[:2], *ids[3:]}


def test_the_refresh_skips_what_fits_and_goes_back_by_itself():
    text = SCRIPT.read_text()
    for preference in ('"SkipMatching":true', '"AutoRollback":true', '"MinHealthyPercentage":100'):
        assert preference in text, preference
