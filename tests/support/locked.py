"""What the project pins, for tests of what must agree with it."""

from __future__ import annotations

import re
import tomllib

from tests.support.tiny_dataset import ROOT


def locked_version(package: str) -> str:
    """A package's version in requirements.lock."""
    (found,) = re.findall(rf"^{re.escape(package)}==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return found


def python_version() -> str:
    """The Python that the project is checked for, such as 3.11."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
