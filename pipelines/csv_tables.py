"""A CSV table out of its bytes. Imports no Beam."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from pipelines.text import printable


def rows_of(data: bytes) -> Iterator[dict[str, str]]:
    """Rows of a UTF-8 CSV, by column; a byte order mark, which spreadsheets write, is passed over."""
    return csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))  # type: ignore[return-value]


def in_line(names: Iterable[str], longest: int = 1 << 20) -> str:
    """Column names for a message, in one line: a quoted name may hold line breaks. What is beyond `longest` is cut."""
    text = " ".join(printable(", ".join(names)).split())
    return text if len(text) <= longest else f"{text[:longest]}..."


class TableError(ValueError):
    """Why a file cannot be used as a table, in a few words that do not repeat its path."""


def _require_whole(text: str) -> None:
    """Raise csv.Error when a quote is not closed, so that a value swallows the lines after it.

    A quoted value may hold line breaks. What is quoted loosely is taken as long as it stays in its line.
    """
    record: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            record.append(line)
            yield line

    rows = csv.reader(lines())
    start = 1
    try:
        for _ in rows:
            try:
                list(csv.reader(record, strict=True) if any('"' in line for line in record) else ())
            except csv.Error as error:
                if len(record) > 1 or str(error) == "unexpected end of data":
                    raise csv.Error("a quote is not closed") from error
            record.clear()
            start = rows.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {start}: {error}") from error


def header_of(data: bytes) -> list[str]:
    """The columns of a table that can be read to its end. Raises TableError when it cannot, or has no rows."""
    try:
        text = data.decode("utf-8-sig")
        _require_whole(text)
        rows = csv.reader(io.StringIO(text, newline=""))
        names = [name for name in next(rows, []) if name]
        is_empty = not any(rows)
    except UnicodeDecodeError as error:
        raise TableError(f"not a UTF-8 CSV file ({error.reason})") from error
    except csv.Error as error:
        raise TableError(f"not a CSV file ({error})") from error
    if is_empty:
        raise TableError("holds no rows")
    for name in names:
        if names.count(name) > 1:
            raise TableError(f"two columns are named {name!r}; rename one")
    return names
