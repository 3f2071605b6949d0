"""Ids of lesions and patients: which of them mean the same in every source."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Ids that the ISIC archive and HAM10000 give out once in the world.
ARCHIVE_PREFIXES = ("HAM_", "IL_", "IP_", "ISIC_")
# How far an id holds.
ARCHIVE, SOURCE, ANYWHERE = "archive", "source", "anywhere"

_MARK = " #"
_PLAIN_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?")
_NO_FRACTION = re.compile(r"\.0*$")


def is_plain_number(identity: str) -> bool:
    """Return whether an id is a plain number, which others count too: `1`, `0042`, `7.0`."""
    return bool(_PLAIN_NUMBER.fullmatch(identity))


def within(space: str, identity: str) -> str:
    """Return an id as it is written beside those of other sources: a plain number with the name of its own.

    `7.0` is `7`: programs write a column of numbers so, if a cell is empty.

    Args:
        space: Where numbers are counted, such as a source; empty if all numbers of the job are counted together.
        identity: The id; empty for none.
    """
    if not is_plain_number(identity):
        return identity
    number = _NO_FRACTION.sub("", identity)
    return f"{space}{_MARK}{number}" if space else number


def reach_of(identity: str) -> str:
    """Return how far an id holds.

    Args:
        identity: An id that `within` has returned.

    Returns:
        ARCHIVE if it is one of the archive's, SOURCE if it is a number, else ANYWHERE: other ids that are equal are
        taken for the same, so that nothing leaks.
    """
    if identity.upper().startswith(ARCHIVE_PREFIXES):
        return ARCHIVE
    return SOURCE if is_plain_number(identity.rpartition(_MARK)[2]) else ANYWHERE


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return for each name its last part, or as many of its last parts as tell it from the others.

    A part of a name ends at a slash, so that names do not depend on where an archive lies.
    """
    parts = {name: name.replace("\\", "/").rstrip("/").split("/") for name in names}

    def last(name: str, count: int) -> str:
        return "/".join(parts[name][-count:])

    def short(name: str) -> str:
        for count in range(1, len(parts[name]) + 1):
            if not any(last(other, count) == last(name, count) for other in parts if other != name):
                return last(name, count)
        return name

    return {name: short(name) for name in names}
