"""What must hold for the documents: pure functions of their text, so that they are tested
themselves.

Each returns what is wrong, one line for each finding.
"""

import re

CODE = re.compile(r"`([^`]+)`")


def cells(row: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def guarantees(text: str, tests: set[str]) -> tuple[int, list[str]]:
    """How many tests a document of guarantees names, and what is wrong with them.

    A code span with `::` is the whole name of a test or of a module with tests, but in the table
    that explains the names; a table with a column `Test` has at least one in each of its rows.
    """
    wrong: list[str] = []
    named: set[str] = set()
    column: int | None = None
    explains = False
    inside = False
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        if fenced:
            continue
        row = cells(line) if line.startswith("|") else []
        if row and not inside:
            column = row.index("Test") if "Test" in row else None
            explains = row[0] == "Written here"
        elif row and column is not None and not set(line) <= set("|-: "):
            held = column < len(row) and any("::" in name for name in CODE.findall(row[column]))
            wrong += [] if held else [f"line {number}: no test holds: {row[0]}"]
        inside = bool(row)
        if inside and explains:
            continue
        for name in CODE.findall(line):
            if "::" not in name:
                continue
            named.add(name)
            if name not in tests:
                wrong.append(f"line {number}: no test has this whole name: {name}")
    return len(named), wrong
