"""The check of `schema_version`, which every JSON file that our programs read back begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.common.cli import UsageError


def require_schema_version(values: Mapping[str, Any], expected: int, file: str, remedy: str) -> None:
    """Raise UsageError unless the file has the version that this program reads.

    Args:
        values: Content of the file.
        expected: The version that this program reads.
        file: How messages refer to the file.
        remedy: What to do about a file of another version.

    Raises:
        UsageError: If the version differs.
        KeyError: If the file has none.
    """
    found = values["schema_version"]
    if found != expected:
        raise UsageError(f"{file} has schema version {found}, this program reads {expected}; {remedy}")
