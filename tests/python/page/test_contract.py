"""The API against its own OpenAPI document, by a client that makes requests up."""

import subprocess

import jsonschema
from conftest import OPERATOR, READER, STATUS
from support import environment, program_path


def test_real_answers_fit_the_document(fleet):
    document = fleet.ask("GET", "/openapi.json", READER)[1]

    def fits(answer, schema: str) -> None:
        jsonschema.Draft202012Validator(
            {"$ref": f"#/components/schemas/{schema}", **document}
        ).validate(answer)

    fits(fleet.ask("GET", STATUS, READER)[1], "Status")
    fleet.fault("DescribeAutoScalingGroups", 10)
    fleet.fault("GetParameter", 10)
    fits(fleet.ask("GET", STATUS, READER)[1], "Status")
    fleet.no_faults()
    wish = {"floor": {"workers": 1, "for_minutes": 5}, "paused": None}
    fits(fleet.ask("PUT", "/api/v1/admin/capacity", OPERATOR, wish)[1], "Overrides")
    fits(fleet.ask("PUT", "/api/v1/admin/capacity", OPERATOR, {"floor": None})[1], "Overrides")
    fits(fleet.ask("PUT", "/api/v1/admin/capacity", OPERATOR, {"floor": 1})[1], "Problem")
    fits(fleet.ask("GET", STATUS, "wrong")[1], "Problem")
    job = "/api/v1/admin/jobs/0f8fad5b-d9cb-469f-a165-70867728950e"
    fits(fleet.ask("GET", job, READER)[1], "Problem")
    fleet.sql(
        "INSERT INTO pgboss.job (id, name, state, started_on, completed_on)"
        f" VALUES ('{job[-36:]}', 'gh_apply_job', 'completed', now(), now())"
    )
    fits(fleet.ask("GET", job, READER)[1], "Job")


def test_made_up_requests_get_documented_answers(fleet, folder):
    # Which moments are valid depends on the clock, so a body that fits the document may be refused
    # all the same; and a method that has no route never reaches the function.
    ended = subprocess.run(
        [
            program_path("schemathesis"),
            "run",
            f"{fleet.url}/openapi.json",
            "--url",
            fleet.url,
            "-H",
            f"Authorization: Bearer {OPERATOR}",
            "--max-examples",
            "40",
            "--seed",
            "7",
            "--no-color",
            "--checks",
            "all",
            "--exclude-checks",
            "positive_data_acceptance,unsupported_method,missing_required_header",
        ],
        env=environment(),
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert (
        fleet.ask("PUT", "/api/v1/admin/capacity", OPERATOR, {"floor": None, "paused": None})[0]
        == 200
    )
