"""Each alarm has a runbook that its description names, and each runbook has its alarm."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BOOKS = ROOT / "docs/runbooks"
PREFIX = "ghosthands-${Environment}-"
# What somebody who is woken looks for.
SECTIONS = ["Look", "Causes, and what to do", "It is over"]


def alarms() -> dict[str, str]:
    """The description of each alarm in the template, by the name that AWS shows."""
    resources = re.split(r"^  (?=\w+:$)", (ROOT / "template.yaml").read_text(), flags=re.MULTILINE)
    found = {}
    for text in resources:
        if "Type: AWS::CloudWatch::Alarm\n" not in text:
            continue
        name = re.search(r"^      AlarmName: !Sub (\S+)$", text, re.MULTILINE)
        says = re.search(r"^      AlarmDescription: >-\n((?:        .*\n)+)", text, re.MULTILINE)
        assert name is not None, text[:80]
        assert says is not None, text[:80]
        assert name[1].startswith(PREFIX), name[1]
        found[name[1].removeprefix(PREFIX)] = " ".join(says[1].split())
    return found


def test_every_alarm_links_to_its_runbook():
    found = alarms()
    assert len(found) >= 21
    for name, says in found.items():
        assert says.endswith(f" Runbook: docs/runbooks/{name}.md"), f"{name}: {says}"
        # CloudWatch takes no longer description.
        assert len(says) <= 1024


def test_every_runbook_is_of_an_alarm_and_says_what_to_do():
    books = {file.stem for file in BOOKS.glob("*.md")} - {"README"}
    assert books == set(alarms())
    for name in books:
        text = (BOOKS / f"{name}.md").read_text()
        assert text.startswith(f"# {name}: ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS, name
        assert "\n**Meanwhile.** " in text, name


def test_the_list_of_runbooks_is_whole():
    listed = re.findall(r"^\| \[([a-z-]+)\]\(\1\.md\) \|", (BOOKS / "README.md").read_text(), re.M)
    assert sorted(listed) == sorted(alarms())


def test_the_events_that_runbooks_name_exist():
    for file in BOOKS.glob("*.md"):
        for event in re.findall(r"file://(\S+)", file.read_text()):
            assert (ROOT / event).is_file(), f"{file.name}: {event}"
