"""What runs before a commit is what `make check` runs."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_hooks_before_a_commit_are_the_suites_of_make_check():
    hooks = re.findall(
        r"^        entry: scripts/test\.sh (\S+)$",
        (ROOT / ".pre-commit-config.yaml").read_text(),
        re.MULTILINE,
    )
    script = (ROOT / "scripts/test.sh").read_text()
    pattern = re.search(r"^check='@\((.*)\)'$", script, re.MULTILINE)
    assert pattern is not None
    suites = set(re.findall(r"^suite ([a-z-]+) ", script, re.MULTILINE)) | {"python-tree"}
    checked = {
        suite
        for suite in suites
        for part in pattern[1].split("|")
        if re.fullmatch(part.replace("*", ".*"), suite)
    }
    assert sorted(hooks) == sorted(checked)
    assert "tree" in checked
