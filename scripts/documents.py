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


WIDTH = 100

# The text of a string is data: a line may be longer by it, and by nothing else.
STRINGS = {
    ".rs": re.compile(
        r"""(?P<comment>//[^\n]*|/\*.*?\*/)"""
        r"""|\bb?r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^\n]*?|[^'\\\n])'""",
        re.DOTALL,
    ),
    ".toml": re.compile(r"""(?P<comment>\#[^\n]*)|"[^"\n]*"|'[^'\n]*'"""),
    ".sh": re.compile(r"""(?P<comment>(?:^|(?<=\s))\#[^\n]*)|"(?:\\.|[^"\\])*"|'[^']*'""", re.M),
}
# Here a formatter holds the code, or a value runs to the end of its line: comments are checked.
COMMENTS = {
    ".js": re.compile(r"\s*(//|/\*|\*)"),
    ".mjs": re.compile(r"\s*(//|/\*|\*)"),
    ".yaml": re.compile(r"\s*#"),
    ".sql": re.compile(r"\s*--"),
    ".service": re.compile(r"\s*#"),
    ".timer": re.compile(r"\s*#"),
    ".socket": re.compile(r"\s*#"),
}
CHECKED = (".md", *STRINGS, *COMMENTS)


def _without_strings(found: re.Match[str]) -> str:
    comment = found["comment"]
    if comment is not None:
        # A row of a table in Rust's documentation cannot be broken, nor can an address.
        return "" if re.match(r"//[/!] (\||<\S+>$)", comment) else comment
    # The ends of the literal stay where they are, and its lines are still lines.
    return '"' + "\n" * found.group().count("\n") + '"'


def _prose(text: str) -> str:
    """The Markdown less its tables, its examples, and lines that have no blank to break at."""
    kept, fenced = [], False
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        free = fenced or fence or line.lstrip().startswith("|")
        words = re.sub(r"^\s*(?:[-*>]|\d+\.|#+)?\s*", "", line).split()
        kept.append("" if free or len(words) < 2 else line)
    return "\n".join(kept)


def too_wide(suffix: str, text: str) -> list[str]:
    """The lines of a file that are wider than they may be."""
    if suffix == ".md":
        text = _prose(text)
    elif suffix in STRINGS:
        text = STRINGS[suffix].sub(_without_strings, text)
    elif suffix in COMMENTS:
        lines = text.splitlines()
        text = "\n".join(line if COMMENTS[suffix].match(line) else "" for line in lines)
    else:
        return []
    return [
        f"line {number} has {len(line)} characters"
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > WIDTH
    ]


def links(text: str) -> list[str]:
    """The files and folders that a Markdown document links to, relative to its own folder."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose)
    targets += re.findall(r"^\[[^\]]+\]: (\S+)", prose, re.MULTILINE)
    return [t.split("#")[0] for t in targets if not re.match(r"[a-z]+:|#", t)]


# Words that once stood for several things each: a type of this name exists once or not at all.
ONE_MEANING = {
    "Case",
    "Chain",
    "Done",
    "Finding",
    "Gone",
    "Keeper",
    "Kept",
    "Leaver",
    "Outcome",
    "Plan",
    "Told",
    "Trouble",
}
DEFINITION = re.compile(
    r"^(?:pub(?:\([a-z]+\))? )?(?:struct|enum|union|trait|type) (\w+)", re.MULTILINE
)


def several_meanings(sources: dict[str, str]) -> list[str]:
    """The words of ONE_MEANING that more than one of these sources, by file name, defines."""
    places: dict[str, list[str]] = {}
    for file, text in sources.items():
        for name in DEFINITION.findall(text):
            if name in ONE_MEANING:
                places.setdefault(name, []).append(file)
    return [f"{name}: {', '.join(in_)}" for name, in_ in sorted(places.items()) if len(in_) > 1]


PUBLIC = re.compile(r"^ *pub (?:const |async |unsafe )*fn (?P<name>\w+)", re.MULTILINE)
# What is above an item and belongs to it: documentation, attributes, and their further lines.
HEAD = re.compile(r"(?:^ *(?:///|#\[|\)\]|reason = )[^\n]*\n)*\Z", re.MULTILINE)


def _result(code: str, start: int) -> str:
    """The result type of the function whose name ends at `start`; nothing where it has none."""
    depth, end = 0, start
    while depth or code[end] not in "{;":
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(code[end], 0)
        end += 1
    arrow = re.search(r"\)\s*->\s*((?:[^()]|\([^()]*\))*)\Z", code[start:end])
    return arrow[1] if arrow else ""


def without_errors(text: str) -> list[str]:
    """The public functions of a library's file that can fail and do not say when (`# Errors`)."""
    code = text.partition("#[cfg(test)]\nmod tests {")[0]
    wrong = []
    for found in PUBLIC.finditer(code):
        head = HEAD.search(code[: found.start()])
        fails = re.match(r"(?:\w+::)*Result\b", _result(code, found.end()))
        if fails and (head is None or "# Errors" not in head.group()):
            line = code.count("\n", 0, found.start()) + 1
            wrong.append(f"line {line}: {found['name']} has no # Errors")
    return wrong


MODULE = re.compile(r"^(?:pub(?:\([a-z]+\))? )?mod \w+;\n", re.MULTILINE)
RANKS = {"std": 0, "core": 0, "alloc": 0, "crate": 2, "super": 2, "self": 2}
USES = re.compile(r"^use ([\w:]+)", re.MULTILINE)


def imports(text: str) -> list[str]:
    """What is wrong with the imports at the head of a Rust file.

    They are one block, which rustfmt sorts, or blocks in the order standard library, other crates,
    own modules, each of them once.
    """
    text = MODULE.sub("", text)
    head = re.split(r"^(?!use |pub use |pub\(|//|#|\s|\}|$)", text, maxsplit=1, flags=re.MULTILINE)
    kinds = []
    for block in re.split(r"\n\s*\n", head[0]):
        roots = [name.split("::")[0] for name in USES.findall(block)]
        if roots:
            kinds.append({RANKS.get(root, 1) for root in roots})
    if len(kinds) < 2:
        return []
    if any(len(ranks) > 1 for ranks in kinds):
        return ["a block of imports mixes standard library, other crates and own modules"]
    order = [next(iter(ranks)) for ranks in kinds]
    return [] if order == sorted(set(order)) else ["blocks of imports are out of order"]
