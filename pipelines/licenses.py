"""Decide by licence which images a run may take."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.rows import ImageRow


def normalize_license(text: str) -> str:
    """Return a licence name in capitals with dashes: `cc by-nc` becomes `CC-BY-NC`."""
    return "-".join(text.upper().replace("-", " ").split())


def reject_license(row: ImageRow, allowed: Sequence[str]) -> ImageRow:
    """Return the row, rejected (`license`) unless it has a licence and every licence that tables give it is allowed.

    Rows that already have an outcome are returned unchanged.
    """
    names = {normalize_license(name) for name in row.licenses}
    if row.outcome or (names and names <= set(map(normalize_license, allowed))):
        return row
    return row.rejected("license", "license", f"licence {' and '.join(sorted(names)) or 'unknown'} is not allowed")
