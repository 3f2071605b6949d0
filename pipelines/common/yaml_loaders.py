"""YAML loaders that refuse a key that stands twice: the default ones silently drop the first."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class _Once:
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)  # type: ignore[misc]


class SafeOnceLoader(_Once, yaml.SafeLoader):
    """Reads numbers, booleans and dates as such."""


class TextOnceLoader(_Once, yaml.BaseLoader):
    """Leaves every value as it is written."""


def where_wrong(error: yaml.YAMLError) -> str:
    """Return what is wrong with a text, with its line if that is known, for use inside a UsageError."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return f": {(str(error) or type(error).__name__).splitlines()[0][:200]}"
    mark = error.problem_mark or error.context_mark
    return f"{f', line {mark.line + 1}' if mark else ''}: {error.problem or error.context}"
