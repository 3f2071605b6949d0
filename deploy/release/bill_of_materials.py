"""Write the bill of materials (SBOM) of a wheel: `python -m deploy.release.bill_of_materials WHEEL PYTHON`.

It is CycloneDX, and made in .venv-tools. PYTHON is an interpreter in whose environment requirements/train.lock is
installed: packages, their licences and what they need are as found there. What tests and checks need beside it is left
out.
"""

from __future__ import annotations

import email
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.release.locks import LOCKS, pinned_here

EXTRAS = ("excel", "hdf5", "s3", "train")


@dataclass(frozen=True)
class Wheel:
    """A wheel: what its metadata say, and its SHA-256."""

    metadata: Message
    sha256: str


def read_wheel(path: Path) -> Wheel:
    """Read a wheel's metadata."""
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Wheel(email.message_from_bytes(archive.read(name)), hashlib.sha256(path.read_bytes()).hexdigest())


def bill(environment: Mapping[str, Any], wheel: Wheel, pins: Mapping[str, str]) -> dict[str, Any]:
    """Return the bill of a wheel.

    Args:
        environment: The bill of an environment, as cyclonedx-py writes it.
        wheel: The wheel.
        pins: What is installed with it: name -> version.

    Raises:
        SystemExit: The environment has not what the lock pins.
    """
    components = [
        component
        for component in environment["components"]
        if pins.get(canonicalize_name(component["name"])) == component["version"]
    ]
    refs = {canonicalize_name(component["name"]): component["bom-ref"] for component in components}
    if missing := sorted(pins.keys() - refs.keys()):
        sys.exit(f"not installed in the version of the lock: {', '.join(missing)}; run make venv")
    name, version = wheel.metadata["Name"], wheel.metadata["Version"]
    root = {
        "type": "application",
        "bom-ref": f"{name}=={version}",
        "name": name,
        "version": version,
        "description": wheel.metadata["Summary"],
        "licenses": [{"license": {"id": wheel.metadata["License-Expression"] or wheel.metadata["License"]}}],
        "purl": f"pkg:pypi/{name}@{version}",
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
    }
    kept = set(refs.values())
    dependencies = [
        {**entry, "dependsOn": depends}
        if (depends := [ref for ref in entry.get("dependsOn", []) if ref in kept])
        else {"ref": entry["ref"]}
        for entry in environment["dependencies"]
        if entry["ref"] in kept
    ]
    direct = {canonicalize_name(each.name) for each in _requirements(wheel.metadata)}
    return {
        **environment,
        "metadata": {**environment["metadata"], "component": root},
        "components": components,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": sorted(refs[each] for each in direct)}, *dependencies],
    }


def _requirements(metadata: Message) -> list[Requirement]:
    """Return what a package needs, with those extras that the jobs and the trainer use."""
    all_of_them = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    return [
        each
        for each in all_of_them
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in EXTRAS)
    ]


def main(arguments: Sequence[str]) -> None:
    """Write the bill beside the wheel."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    wheel, python = arguments
    described = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--spec-version", "1.6", python],
        capture_output=True,
        check=True,
    )
    document = bill(json.loads(described.stdout), read_wheel(Path(wheel)), pinned_here(LOCKS / "train.lock"))
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"no valid CycloneDX: {error}")
    place = Path(wheel).with_suffix(".cdx.json")
    place.write_text(text, encoding="utf-8")
    print(f"{place}: {len(document['components'])} packages")


if __name__ == "__main__":
    main(sys.argv[1:])
