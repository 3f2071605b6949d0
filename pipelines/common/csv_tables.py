"""Parse a table of text, whatever its encoding and delimiter are. Imports no Beam."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipelines.common.text import printable

DELIMITERS = (",", "\t", ";")
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WINDOWS = "cp1252"
# What is looked at to find the encoding of text without a mark, and the delimiter.
_MARKLESS_BYTES = 512
_SAMPLE_CHARACTERS = 64 << 10
_SAMPLE_ROWS = 20


class TableError(ValueError):
    """A file that cannot be used as a table; the message is a short reason without the path."""


class CsvText(NamedTuple):
    """The text of a table."""

    text: str
    delimiter: str
    note: str = ""  # what a user should know of how it was read


def in_line(names: Iterable[str], longest: int = 1 << 20) -> str:
    """Format column names on one line, for a message.

    A quoted name may contain line breaks; they become spaces.

    Args:
        names: The column names.
        longest: Maximum length in characters; the rest is replaced by "...".
    """
    text = " ".join(printable(", ".join(names)).split())
    return text if len(text) <= longest else f"{text[:longest]}..."


def encoding_of(data: bytes) -> str:
    """Return the encoding that the beginning of a text has: UTF-16 or UTF-32 by its look, or else UTF-8."""
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "")
    if marked:
        return marked
    head = data[:_MARKLESS_BYTES]
    # Half of what is mostly ASCII is zero in UTF-16.
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) > 1 and zeros.count(0) * 2 > len(zeros):
            return encoding
    return "utf-8"


def _decoded(data: bytes, whole: bool) -> tuple[str, str]:
    """Return the text and a note on its encoding; a character that the end of a part cuts is left out."""
    encoding = encoding_of(data)
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data, whole), ""
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise TableError(f"no text in {encoding.upper()} ({error.reason})") from error
    try:
        return data.decode(_WINDOWS), "is not UTF-8; it is read as Windows-1252, so look at its accented letters"
    except UnicodeDecodeError as error:
        raise TableError("no text in UTF-8, UTF-16 or Windows-1252") from error


def _fit(sample: str, delimiter: str) -> tuple[float, int]:
    """Return how well a delimiter fits: the share of rows that have as many cells as the header, and that number."""
    rows = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    widths: list[int] = []
    with contextlib.suppress(csv.Error):  # the reader of the whole table says where
        widths += [len(row) for row in itertools.islice(filter(None, rows), _SAMPLE_ROWS + 1)]
    if not widths or widths[0] < 2:
        return 0.0, 0
    return widths[1:].count(widths[0]) / max(len(widths) - 1, 1), widths[0]


def csv_text(data: bytes, whole: bool = True) -> CsvText:
    """Return the text of a table, and its delimiter as found by looking at the first rows.

    A first line such as `sep=;`, which is written for spreadsheets, is taken at its word.

    Args:
        data: Content of the table.
        whole: False if it is the beginning only.

    Raises:
        TableError: If the content is no text.
    """
    text, note = _decoded(data, whole)
    if "\0" in text:
        raise TableError("no text, but binary data")
    first = text[:16].partition("\n")[0]
    if len(first.rstrip()) == 5 and first.lower().startswith("sep="):
        return CsvText(text[len(first) + 1 :], first[4], note)
    sample = text[:_SAMPLE_CHARACTERS]
    if not whole or len(sample) < len(text):
        sample = sample[: sample.rfind("\n") + 1] or sample
    return CsvText(text, max(DELIMITERS, key=lambda delimiter: _fit(sample, delimiter)), note)


def csv_rows(table: CsvText) -> Iterator[list[str]]:
    """Return an iterator over the rows of a table, its header first. Loose quoting is accepted."""
    return csv.reader(io.StringIO(table.text, newline=""), delimiter=table.delimiter)


def require_whole(table: CsvText) -> None:
    """Raise TableError if a quote is not closed and so swallows the lines after it.

    A quoted value may contain line breaks. Loose quoting is accepted as long as the value stays on its line.
    """
    record: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(table.text, newline=""):
            record.append(line)
            yield line

    start = 1
    rows = csv.reader(lines(), delimiter=table.delimiter)
    try:
        for _ in rows:
            try:
                if any('"' in line for line in record):
                    list(csv.reader(record, strict=True, delimiter=table.delimiter))
            except csv.Error as error:
                if len(record) > 1 or str(error) == "unexpected end of data":
                    raise csv.Error("a quote is not closed") from error
            record.clear()
            start = rows.line_num + 1
    except csv.Error as error:
        raise TableError(f"not a CSV file (line {start}: {error})") from error
