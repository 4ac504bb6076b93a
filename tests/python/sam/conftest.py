"""A site for the function: the double with a group and a secret, a database with a queue, and a way
in for containers.
"""

import json
import socket
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from expectations import BY_FUNCTION, GROUP
from support import CACHE, FUNCTIONS, ROOT, environment, logical_id, program_path

HOOK = "ghosthands-drain-hook"


# The tokens that the event files carry.
def token_of(event: str) -> str:
    return json.loads((ROOT / f"events/{event}.json").read_text())["headers"][
        "authorization"
    ].split()[1]


TOKEN = token_of("autoscale-tick")
READER_TOKEN = token_of("fleet-status-status")

# One of the names in the certificate of the test's database.
DATABASE_NAME = "db.fleet.test"


@pytest.fixture(scope="session")
def free_port():
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


class Site:
    """What the functions find in AWS, and the settings that lead them there."""

    token, reader = TOKEN, READER_TOKEN

    def __init__(self, endpoint: str, database):
        self.endpoint = endpoint
        self.database = database
        keys = {
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        self.auto_scaling = boto3.client("autoscaling", endpoint_url=endpoint, **keys)
        self.secrets = boto3.client("secretsmanager", endpoint_url=endpoint, **keys)
        self.auto_scaling.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MinSize=1,
            MaxSize=10,
            DesiredCapacity=1,
            LaunchTemplate={"LaunchTemplateName": "ghosthands-worker-lt"},
            AvailabilityZones=["us-east-1a"],
        )
        self.auto_scaling.put_lifecycle_hook(
            AutoScalingGroupName=GROUP,
            LifecycleHookName=HOOK,
            HeartbeatTimeout=300,
            DefaultResult="ABANDON",
            LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        )
        self.add_environment("host", database.url)

    def add_environment(self, name: str, database_url: str) -> None:
        secret = {
            "DATABASE_URL": database_url,
            "FLEET_OPERATOR_TOKEN": TOKEN,
            "FLEET_READER_TOKEN": READER_TOKEN,
        }
        self.secrets.create_secret(Name=f"ghosthands/{name}/fleet", SecretString=json.dumps(secret))

    def settings(self, function: str) -> dict[str, str]:
        """What a function on this machine, outside any container, is told."""
        common = {
            "GH_ENVIRONMENT": "host",
            "AWS_ASG_NAME": GROUP,
            "AWS_ENDPOINT_URL": self.endpoint,
        }
        database = {"AUTOSCALE_ASG_ENABLED": "true", "DATABASE_CA": self.database.ca_pem}
        # One tick an invocation, whose answer is waited for.
        autoscale = database | {"AUTOSCALE_TICK_SECONDS": "60"}
        own = {"autoscale": autoscale, "fleet-status": database}
        return common | own.get(function, {})

    def environment(self, function: str) -> dict[str, str]:
        return environment(**self.settings(function))

    def group(self) -> dict:
        return self.auto_scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])[
            "AutoScalingGroups"
        ][0]


@pytest.fixture(scope="session")
def site(double, database) -> Site:
    return Site(double, database)


class Forward:
    """Takes connections on an address that containers reach, and passes them on to loopback."""

    def __init__(self, address: str, target: int):
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.target = target
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            outer = socket.create_connection(("127.0.0.1", self.target))
            for source, sink in ((inner, outer), (outer, inner)):
                threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side is gone: the other is told so.
            source.close()
            sink.close()


class ContainerSite:
    """The same site, seen from a container of `sam local`."""

    token, reader = TOKEN, READER_TOKEN

    def __init__(self, site: Site, folder: Path, gateway: str):
        self.group = site.group
        endpoint, database = urlsplit(site.endpoint), urlsplit(site.database.url)
        self.forwards = [Forward(gateway, endpoint.port), Forward(gateway, database.port)]
        to_endpoint, to_database = (forward.port for forward in self.forwards)
        userinfo = database.netloc.rpartition("@")[0]
        site.add_environment(
            "container",
            database._replace(netloc=f"{userinfo}@{DATABASE_NAME}:{to_database}").geturl(),
        )
        overrides = folder / "container.json"
        functions = {
            logical_id(name): {"AWS_ENDPOINT_URL": f"http://{gateway}:{to_endpoint}"}
            for name in BY_FUNCTION
        }
        for name in ("Autoscale", "FleetStatus"):
            functions[name]["DATABASE_CA"] = site.database.ca_pem
        overrides.write_text(json.dumps(functions))
        self.options = [
            "--template",
            str(FUNCTIONS / "template.yaml"),
            "--skip-pull-image",
            "--add-host",
            f"{DATABASE_NAME}:{gateway}",
            "--env-vars",
            str(overrides),
            "--parameter-overrides",
            "Environment=container Mode=act TickSeconds=60",
        ]


@pytest.fixture(scope="session")
def container_site(site, folder) -> ContainerSite:
    """Needs a Docker engine (scripts/with-docker.sh)."""
    docker = [
        program_path("docker"),
        "network",
        "inspect",
        "bridge",
        "-f",
        "{{(index .IPAM.Config 0).Gateway}}",
    ]
    gateway = subprocess.run(
        docker, env=environment(), check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run([ROOT / "scripts/make-lambda-image.sh"], env=environment(**CACHE), check=True)
    return ContainerSite(site, folder, gateway)
