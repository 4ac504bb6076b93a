"""What Prometheus reads of a fleet: by its own tools, against docs/METRICS.md, and through the
dashboard.
"""

import json
import re
import subprocess

import pytest
import yaml
from conftest import METRICS, READER, ask, sample
from support import ROOT, environment, eventually, program_path

DASHBOARD = json.loads((ROOT / "docs/grafana/fleet.json").read_text())
EXPRESSIONS = [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
]
SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def pages(fleet) -> list[str]:
    answers = [
        ask(fleet.api + METRICS, token=READER),
        ask(f"http://{fleet.host}/metrics"),
    ]
    assert [headers["content-type"] for headers, _ in answers] == [CONTENT_TYPE] * 2
    return [text for _, text in answers]


def metrics_of(page: str) -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric of a page."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    labels = {name: set() for name in types}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, pairs, _ = SAMPLE.fullmatch(line).groups()
            labels[name] |= set(re.findall(r'(\w+)="', pairs or ""))
    return {name: (kind, labels[name]) for name, kind in types.items()}


def documented() -> dict[str, tuple[str, set[str]]]:
    rows = re.findall(
        r"^\| `(ghosthands_\w+)` \| (\w+) \|(.*?)\|",
        (ROOT / "docs/METRICS.md").read_text(),
        re.MULTILINE,
    )
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def promtool(*arguments: str, text: str = "") -> str:
    ended = subprocess.run(
        [program_path("promtool"), *arguments],
        input=text,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return said


def test_prometheus_own_linter_has_no_word_to_say(fleet):
    for page in pages(fleet):
        assert promtool("check", "metrics", text=page) == ""


def test_the_metrics_are_the_documented_ones_and_no_others(fleet):
    def told() -> dict:
        every = {}
        for page in pages(fleet):
            every |= metrics_of(page)
        return every

    # The host's first look at its disks and interfaces has nothing to compare itself with.
    eventually("the host has looked twice", 30, lambda: "ghosthands_host_cpu_usage_ratio" in told())
    assert told() == documented()


def test_a_host_answers_valet_with_json_as_ever(fleet):
    for accept in ("*/*", "application/json", "application/json, text/plain, */*"):
        headers, text = ask(f"http://{fleet.host}/metrics", accept=accept)
        assert headers["content-type"] == "application/json;charset=utf-8", accept
        assert set(json.loads(text)) == {"cpu", "memory", "disk", "network"}, accept


def test_the_sample_configuration_is_valid_as_it_stands(folder):
    config = sample()
    token = folder / "sample-token"
    token.write_text("token")
    # promtool looks whether it is there.
    config["scrape_configs"][0]["authorization"]["credentials_file"] = str(token)
    file = folder / "sample.yml"
    file.write_text(yaml.safe_dump(config))
    promtool("check", "config", str(file))


def test_prometheus_shows_no_token_and_a_wrong_one_reads_nothing(fleet, prometheus):
    assert READER not in prometheus.get("status/config")["yaml"]
    (info,) = prometheus.query("ghosthands_fleet_info")
    assert info["metric"]["fleet"] == "production"
    with pytest.raises(OSError, match=r"40[13]"):
        ask(fleet.api + METRICS, token="not-one-of-the-fleets-tokens")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_query_of_the_dashboard_has_an_answer(prometheus, expression):
    """Each is asked as Grafana would ask, for the one fleet that there is."""
    asked = expression.replace("$__rate_interval", "10s").replace("$fleet", "production")
    assert "$" not in asked
    eventually(f"an answer to {asked}", 30, lambda: prometheus.query(asked))


def test_the_dashboard_is_switched_by_the_fleets_that_there_are(prometheus):
    source, fleet = DASHBOARD["templating"]["list"]
    assert source["type"] == "datasource" and source["query"] == "prometheus"
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", fleet["query"]["query"]).groups()
    values = prometheus.get(f"label/{label}/values", **{"match[]": metric})
    assert values == ["production"]
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == f"${{{source['name']}}}", panel["title"]


def test_every_documented_metric_of_the_dashboard_exists():
    used = {name for one in EXPRESSIONS for name in re.findall(r"ghosthands_\w+", one)}
    assert used and used <= set(documented())
