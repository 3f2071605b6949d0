"""Read a lock: what it pins, for which interpreters, and the hashes of the files that pip may install."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "requirements"
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


@dataclass(frozen=True)
class Pin:
    """A package in one version."""

    name: str
    version: str
    requirement: Requirement
    hashes: tuple[str, ...]

    def applies(self, environment: Mapping[str, str] | None = None) -> bool:
        """Return whether an interpreter needs it: this one, or the one whose markers are given."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate(dict(environment) if environment else None)


def read_lock(path: Path) -> list[Pin]:
    """Return what a lock pins.

    Args:
        path: A file as `make lock` writes it.

    Raises:
        ValueError: A line is no pin.
    """
    text = re.sub(r"\\\n", "", path.read_text(encoding="utf-8"))
    pins = []
    for line in text.splitlines():
        pinned, *_ = line.split(" --hash=")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement = Requirement(pinned.strip())
        version = str(requirement.specifier).removeprefix("==")
        if str(requirement.specifier) != f"=={version}":
            raise ValueError(f"{path.name}: {pinned.strip()} is no pin")
        pins.append(Pin(canonicalize_name(requirement.name), version, requirement, tuple(_HASH.findall(line))))
    return pins


def pinned_here(path: Path) -> dict[str, str]:
    """Return what a lock pins for this interpreter: name -> version."""
    return {pin.name: pin.version for pin in read_lock(path) if pin.applies()}
