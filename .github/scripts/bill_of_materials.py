"""Prints the bill of materials of a release, CycloneDX 1.5: every crate that Cargo.lock names.

bill_of_materials.py VERSION
"""

import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def component(package: dict) -> dict:
    """One package of Cargo.lock. Those without a source are the workspace's own."""
    found = {
        "type": "library",
        "name": package["name"],
        "version": package["version"],
        "purl": f"pkg:cargo/{package['name']}@{package['version']}",
    }
    found["bom-ref"] = found["purl"]
    if "checksum" in package:
        found["hashes"] = [{"alg": "SHA-256", "content": package["checksum"]}]
    return found


def bill(version: str) -> dict:
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "ghosthands-fleet",
                "version": version,
                "bom-ref": "ghosthands-fleet",
            }
        },
        "components": [component(package) for package in lock["package"]],
    }


if __name__ == "__main__":
    print(json.dumps(bill(sys.argv[1]), indent=1))
