"""What a release is made of: its version, its notes, its files."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import ROOT

SCRIPTS = ROOT / ".github/scripts"


@pytest.fixture
def tree(tmp_path):
    """A tree of which version 0.1.0 may be released."""
    found = tmp_path / "tree"
    shutil.copytree(SCRIPTS, found / ".github/scripts")
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / name, found / name)
    text = (ROOT / "CHANGELOG.md").read_text()
    assert text.count("## [Unreleased]") == 1
    text = text.replace("## [Unreleased]", "## [Unreleased]\n\n## [0.1.0] - 2026-12-01")
    (found / "CHANGELOG.md").write_text(text + "\n## [0.0.9] - 2026-01-01\n\n- Older.\n")
    return found


def run(*command, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, **options
    )


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("v0.2.0", "the tag says 0.2.0, and Cargo.toml says 0.1.0"),
        ("0.1.0", "is no vMAJOR.MINOR.PATCH"),
        ("v0.1", "is no vMAJOR.MINOR.PATCH"),
        ("v0.1.0; reboot", "is no vMAJOR.MINOR.PATCH"),
    ],
)
def test_a_tag_that_does_not_fit_makes_no_release(tree, tag, says):
    ended = run(tree / ".github/scripts/release-version.sh", tag)
    assert ended.returncode != 0 and says in ended.stderr and not ended.stdout


def test_a_version_without_its_section_makes_no_release(tree):
    changelog = tree / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## [0.1.0]", "## [0.1.1]"))
    ended = run(tree / ".github/scripts/release-version.sh", "v0.1.0")
    assert ended.returncode != 0 and "has no section [0.1.0]" in ended.stderr


def test_the_notes_are_the_versions_section_and_every_file_has_its_sum(tree):
    files = tree / "release"
    files.mkdir()
    (files / "deploy-server-0.1.0-linux-x86_64").write_bytes(b"program")
    for _ in range(2):
        ended = run(tree / ".github/scripts/release-notes.sh", "v0.1.0", "release", cwd=tree)
        assert ended.returncode == 0, ended.stderr
    notes = (tree / "notes.md").read_text()
    assert "### Added" in notes and "Older." not in notes and "## [" not in notes
    sums = dict(
        reversed(line.split("  ", 1)) for line in (files / "SHA256SUMS").read_text().splitlines()
    )
    assert set(sums) == {file.name for file in files.iterdir()} - {"SHA256SUMS"}
    for name, found in sums.items():
        assert found == hashlib.sha256((files / name).read_bytes()).hexdigest()


def test_the_bill_of_materials_names_each_crate_with_its_sum(tree):
    ended = run("python3", tree / ".github/scripts/bill_of_materials.py", "0.1.0")
    bill = json.loads(ended.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    locked = (ROOT / "Cargo.lock").read_text()
    assert len(bill["components"]) == locked.count("[[package]]")
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(set(references)) == len(references)
    outside = [one for one in bill["components"] if "hashes" in one]
    assert len(outside) == locked.count("\nchecksum = ")
    assert all(re.fullmatch("[0-9a-f]{64}", one["hashes"][0]["content"]) for one in outside)


# --- The Debian package ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """In place of deploy-server: a program that runs, with its checksum beside it."""
    file = tmp_path_factory.mktemp("program") / "deploy-server"
    shutil.copy("/bin/true", file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_suffix(".sha256").write_text(f"{digest}  deploy-server\n")
    return file


def package(program, folder, architecture="amd64"):
    ended = run(ROOT / "scripts/package-deb.sh", program, "1.2.3", architecture, folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_package_holds_what_install_sh_puts_on_a_host(program, tmp_path, architecture):
    deb = package(program, tmp_path, architecture)
    assert deb.endswith(f"/ghosthands-host_1.2.3_{architecture}.deb")
    unpacked, installed = tmp_path / "unpacked", tmp_path / "installed"
    assert run("dpkg-deb", "-x", deb, unpacked).returncode == 0
    run("unshare", "-Ur", ROOT / "host/install.sh", program, "--root", installed)

    def files(folder) -> dict:
        return {
            str(file.relative_to(folder)): (file.stat().st_mode & 0o777, file.read_bytes())
            for file in folder.rglob("*")
            if file.is_file()
        }

    assert files(unpacked) == files(installed)
    assert "usr/local/bin/deploy-server" in files(unpacked)
    # Nobody else's files, whoever made the package.
    listing = run("dpkg-deb", "-c", deb).stdout
    assert all(" root/root " in line for line in listing.splitlines())
    fields = run("dpkg-deb", "-f", deb, "Package", "Version", "Architecture").stdout
    assert fields.split() == [
        *("Package:", "ghosthands-host", "Version:", "1.2.3"),
        *("Architecture:", architecture),
    ]


def test_the_same_files_make_the_same_package(program, tmp_path):
    one, two = (Path(package(program, tmp_path / name)) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_program_that_does_not_run_here_makes_no_package(tmp_path):
    ended = run(ROOT / "scripts/package-deb.sh", "/bin/false", "1.2.3", "amd64", tmp_path)
    assert ended.returncode != 0 and "does not run on this host" in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("1.2", "amd64"), ("1.2.3", "mips")])
def test_a_package_of_another_version_or_processor_is_refused(program, tmp_path, arguments):
    ended = run(ROOT / "scripts/package-deb.sh", program, *arguments, tmp_path)
    assert ended.returncode == 64


# --- What the package starts ----------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    """Programs in place of systemd, cron and Docker that write down what they are told."""
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    log.touch()
    (tmp_path / "crontab").write_text("0 3 * * * gh-disk-cleanup\n5 5 * * * backup\n")
    told = f'echo "$(basename "$0") $*" >>{log}\n'
    scripts = {
        # A unit is active once it was started.
        "systemctl": told + f'[ "$1" != is-active ] || grep -qE "^systemctl (re)?start $3" {log}\n',
        "crontab": told
        + f'if [ "$1" = -l ]; then cat {tmp_path}/crontab; else cat >{tmp_path}/new;'
        f" mv {tmp_path}/new {tmp_path}/crontab; fi\n",
        "docker": told + 'case "$1 $2" in "container inspect") echo false ;; esac\n',
        "deploy-server": told,
    }
    for name, text in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}")
        (programs / name).chmod(0o755)

    def take_over(replaced: str) -> list[str]:
        log_before = len(log.read_text().splitlines())
        ended = run(
            ROOT / "host/take-over",
            replaced,
            env={"PATH": f"{programs}:{os.environ['PATH']}"},
        )
        assert ended.returncode == 0, ended.stderr
        return log.read_text().splitlines()[log_before:]

    take_over.crontab = tmp_path / "crontab"
    return take_over


def test_the_firewall_is_up_before_the_server_and_the_old_cron_entry_is_gone(machine):
    told = machine("units")
    started = [line for line in told if re.match(r"systemctl (re)?start", line)]
    assert started == [
        "systemctl restart ghosthands-metadata-firewall.service",
        "systemctl start deploy-server.socket",
        "systemctl restart ghosthands-files.socket",
        "systemctl restart deploy-server.service",
        "systemctl start ghosthands-cleanup.timer",
    ]
    assert machine.crontab.read_text() == "5 5 * * * backup\n"


def test_where_nothing_was_replaced_the_server_goes_on(machine):
    machine("units")
    told = machine("nothing")
    assert not [line for line in told if re.search(r"systemctl (restart|stop)", line)]
    told = machine("binary")
    assert [line for line in told if "restart" in line] == [
        "systemctl restart deploy-server.service"
    ]
    assert not [line for line in told if line.startswith("systemctl stop")]
