"""Read the rows of a table from its bytes: CSV of any usual delimiter and encoding, or a workbook. Imports no Beam."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pipelines.common.csv_tables import TableError, csv_rows, csv_text, require_whole
from pipelines.common.workbooks import is_workbook, workbook_rows


class Overview(NamedTuple):
    """What is known of a table that was read to its end."""

    names: list[str]  # of the columns that have one
    note: str = ""  # what a user should know of how it was read


@functools.lru_cache(maxsize=4096)
def column_key(name: str) -> str:
    """Return what a column name is compared by: `Image ID ` is `image_id`, and composed letters are decomposed ones."""
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFC", name).strip().lower())


def _split_header(rows: Iterable[list[str]]) -> tuple[list[str], Iterator[list[str]]]:
    """Return the column names and the rows below them. Empty rows are left out."""
    rows = iter(rows)
    names = next((row for row in rows if any(map(str.strip, row))), [])
    return [name.strip() for name in names], filter(any, rows)


def names_at(head: bytes) -> list[str]:
    """Return the column names at the beginning of a CSV table, or those of a whole workbook.

    Raises:
        TableError: If it is no table.
    """
    rows = workbook_rows(head)[0] if is_workbook(head) else csv_rows(csv_text(head, whole=False))
    return _split_header(rows)[0]


def rows_of(data: bytes) -> Iterator[dict[str, str]]:
    """Return an iterator over the rows of a table, each a dictionary by column name.

    Names have no blanks around them. A row that is too short lacks its last columns.

    Args:
        data: Content of the table.

    Raises:
        TableError: If it is no table.
    """
    names, rows = _split_header(workbook_rows(data)[0] if is_workbook(data) else csv_rows(csv_text(data)))
    return (dict(zip(names, row, strict=False)) for row in rows)


def overview_of(data: bytes) -> Overview:
    """Return what is known of a table after reading it to its end.

    Args:
        data: Content of the table.

    Raises:
        TableError: If it is no table, has no rows, or has two columns with the same name.
    """
    rows: Iterable[list[str]]
    if is_workbook(data):
        rows, note = workbook_rows(data)
    else:
        table = csv_text(data)
        require_whole(table)
        rows, note = csv_rows(table), table.note
    header, below = _split_header(rows)
    if next(below, None) is None:
        raise TableError("holds no rows")
    names = [name for name in header if name]
    require_distinct(names)
    return Overview(names, note)


def require_distinct(names: Sequence[str]) -> None:
    """Raise TableError if two columns of a table have the same name."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(column_key(name), name)
        if names.count(name) > 1:
            raise TableError(f"two columns are named {name!r}; rename one")
        if other != name:
            raise TableError(f"two columns are named {other!r} and {name!r}; rename one")


def header_of(data: bytes) -> list[str]:
    """Return the column names of a table, after reading it to its end; see `overview_of`."""
    return overview_of(data).names
