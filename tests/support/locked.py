"""What the project pins, for tests of what must agree with it."""

from __future__ import annotations

import tomllib

from deploy.release.locks import LOCKS, pinned_here
from tests.support.tiny_dataset import ROOT


def locked_version(package: str) -> str:
    """A package's version in the locks."""
    return pinned_here(LOCKS / "dev.lock")[package]


def python_version() -> str:
    """The Python that the project is checked for, such as 3.11."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
