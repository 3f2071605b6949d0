"""Parse the first sheet of a workbook: Excel's .xlsx, .xlsb and .xls, and .ods. Imports no Beam."""

from __future__ import annotations

import io
from typing import Any

from pipelines.common.csv_tables import TableError

# A zip file, as .xlsx and .ods are, and the container of .xls.
_SIGNATURES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")

# Rows among which the header is.
_MOST_ABOVE = 30


def is_workbook(data: bytes) -> bool:
    """Return whether content begins as a workbook does, however its file is named."""
    return data.startswith(_SIGNATURES)


def _cell_text(value: Any) -> str:
    # A workbook has no whole numbers: the id 17 is stored as 17.0.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _from_header(rows: list[list[str]]) -> list[list[str]]:
    """Return the rows from the header on: a title or a legend above it fills few of the columns."""
    filled = [sum(1 for cell in row if cell.strip()) for row in rows[:_MOST_ABOVE]]
    return rows[next((place for place, cells in enumerate(filled) if 2 * cells >= max(filled)), 0) :]


def workbook_rows(data: bytes) -> tuple[list[list[str]], str]:
    """Return the rows of the first sheet from its header on, and a note on the sheets that are not read.

    Args:
        data: Content of the workbook.

    Raises:
        TableError: If it cannot be read, or if the library that reads it is not installed.
    """
    try:
        # An extra, and imported late: few tables are workbooks.
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise TableError("is a workbook; install isic-lesion-pipelines[excel], or save it as CSV") from None
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        first, *others = book.sheet_names
        rows = _from_header([[_cell_text(value) for value in row] for row in book.get_sheet_by_index(0).to_python()])
    except (CalamineError, ValueError) as error:
        raise TableError(f"not a workbook, or a damaged one ({error})") from error
    others = [name for name in others if book.get_sheet_by_name(name).height]
    if not others:
        return rows, ""
    return rows, f"has {len(others) + 1} sheets; only the first, {first!r}, is read"
