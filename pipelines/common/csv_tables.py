"""Parse a CSV table from its bytes. Imports no Beam."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from pipelines.common.text import printable


def rows_of(data: bytes) -> Iterator[dict[str, str]]:
    """Return an iterator over the rows of a UTF-8 CSV, each a dictionary by column name.

    A byte order mark, which spreadsheets write, is skipped.
    """
    return csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))


def in_line(names: Iterable[str], longest: int = 1 << 20) -> str:
    """Format column names on one line, for a message.

    A quoted name may contain line breaks; they become spaces.

    Args:
        names: The column names.
        longest: Maximum length in characters; the rest is replaced by "...".
    """
    text = " ".join(printable(", ".join(names)).split())
    return text if len(text) <= longest else f"{text[:longest]}..."


class TableError(ValueError):
    """A file that cannot be used as a table; the message is a short reason without the path."""


def _require_whole(text: str) -> None:
    """Raise csv.Error if a quote is not closed and so swallows the lines after it.

    A quoted value may contain line breaks. Loose quoting is accepted as long as the value stays on its line.
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
    """Return the column names of a table, after reading it to its end.

    Unnamed columns are left out.

    Args:
        data: Content of the table.

    Raises:
        TableError: If the table is not UTF-8 or not CSV, has no rows, or has two columns with the same name.
    """
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
