"""Names of the numbered files of one table: `rejects-00000-of-00002.jsonl`.

A pattern has `{index:05d}-of-{count:05d}` where the names have numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBERS = "{index:05d}-of-{count:05d}"


def any_of(pattern: str) -> str:
    """Return the glob that matches all files of a table."""
    return pattern.replace(_NUMBERS, "*")


def named_like(pattern: str, names: Iterable[str]) -> dict[str, int]:
    """Return which names are files of a table, in order, with the number of files that each one says there are."""
    expression = re.compile(re.escape(pattern).replace(re.escape(_NUMBERS), r"\d{5}-of-(\d{5})"))
    return {name: int(match[1]) for name in sorted(names) if (match := expression.fullmatch(name))}


def names_of(pattern: str, count: int) -> list[str]:
    """Return the names of all files of a table, in order."""
    return [pattern.format(index=index, count=count) for index in range(count)]
