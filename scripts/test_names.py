"""Every test of the tree by its whole name, read from the sources, so that a document can name one.

A Rust test is `package::module::test` when it stands in the package's library or binary, and
`package/target::module::test` when it stands in the target `tests/target…`; a Python test is
`folder/file.py::test`, from tests/python on. A module that holds tests has a name too.
"""

import re
from pathlib import Path

# What is no code: comments, string, byte and raw string literals, character literals.
NO_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^\n]*?|[^'\\\n])'""",
    re.DOTALL,
)
TOKEN = re.compile(
    r"""(?P<attribute>\#!?\[)|\bmod\s+(?P<mod>\w+)\s*(?P<how>[;{])|\bfn\s+(?P<fn>\w+)|(?P<brace>[{}])|(?P<end>;)"""
)
TEST = re.compile(r"(?:\w+::)*test\b")
PATH = re.compile(r'path\s*=\s*"([^"]*)"')


def _blanked(text: str) -> str:
    """The text with everything that is no code replaced by blanks of the same length."""
    return NO_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def _attribute_end(code: str, start: int) -> int:
    depth = 1
    for at in range(start, len(code)):
        depth += {"[": 1, "]": -1}.get(code[at], 0)
        if depth == 0:
            return at
    return len(code)


def _file_of(
    name: str, given: str | None, file: Path, is_root: bool, inside: list[str]
) -> Path | None:
    """The file of `mod name;`, as rustc looks for it."""
    own = file.parent if is_root or file.stem == "mod" else file.parent / file.stem
    if given is not None:
        base = own.joinpath(*inside) if inside else file.parent
        return (base / given).resolve()
    folder = own.joinpath(*inside)
    for candidate in (folder / f"{name}.rs", folder / name / "mod.rs"):
        if candidate.is_file():
            return candidate
    return None


def _read(file: Path, prefix: str, is_root: bool, names: set[str]) -> None:
    text = file.read_text()
    code = _blanked(text)
    depth = 0
    # The inline modules that are open: name, and the depth that their end comes back to.
    inside: list[tuple[str, int]] = []
    attributes: list[str] = []
    at = 0
    while found := TOKEN.search(code, at):
        at = found.end()
        module = "::".join([prefix, *(name for name, _ in inside)])
        if found["attribute"]:
            end = _attribute_end(code, at)
            # The text as written: the path of a module is a string.
            attributes.append(text[at:end])
            at = end + 1
            continue
        if found["mod"] and found["how"] == "{":
            inside.append((found["mod"], depth))
            depth += 1
        elif found["mod"]:
            given = next((path[1] for one in attributes if (path := PATH.match(one))), None)
            inner = [name for name, _ in inside]
            if target := _file_of(found["mod"], given, file, is_root, inner):
                _read(target, f"{module}::{found['mod']}", False, names)
        elif found["fn"]:
            if any(TEST.match(one) for one in attributes):
                names |= {module, f"{module}::{found['fn']}"}
        elif found["brace"] == "{":
            depth += 1
        elif found["brace"] == "}":
            depth -= 1
            if inside and inside[-1][1] == depth:
                inside.pop()
        attributes = []


def rust_tests(packages: list[dict]) -> set[str]:
    """The tests of these packages, as `cargo metadata` describes them."""
    names: set[str] = set()
    for package in packages:
        for target in package["targets"]:
            kinds = set(target["kind"])
            if "test" in kinds:
                prefix = f"{package['name']}/{target['name']}"
            elif kinds & {"lib", "bin"}:
                prefix = package["name"]
            else:
                continue
            _read(Path(target["src_path"]), prefix, True, names)
    return names


def python_tests(folder: Path) -> set[str]:
    """The tests below this folder, as pytest names them from there."""
    names: set[str] = set()
    for file in folder.rglob("test_*.py"):
        found = re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
        names |= {f"{file.relative_to(folder)}::{name}" for name in found}
    return names
