"""Keep spreadsheets from taking text for formulas (OWASP, CSV Injection)."""

from __future__ import annotations

# Also full-width ones, which some languages' versions take for the others.
_BEGIN_FORMULAS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


def as_text(cell: object) -> object:
    """Return a cell that a spreadsheet shows as it is: text like a formula gets an apostrophe in front.

    Spreadsheets hide the apostrophe, other programs do not. Numbers, also negative ones, stay as they are.
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_BEGIN_FORMULAS) else cell
