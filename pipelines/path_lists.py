"""Inputs that are lists of paths: text files with a path a line, and CSVs with a path column; local or remote."""

from __future__ import annotations

import csv
import io
import os
import posixpath
from collections.abc import Iterator
from typing import TextIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.cli import UsageError
from pipelines.storage import is_folder, is_local

# The first of these that a CSV has.
PATH_COLUMNS = ("path", "file", "filename", "image_path", "file_path")


class NoPathColumnError(ValueError):
    """A CSV without any of PATH_COLUMNS; the message names the columns it has."""


def is_path_list(path: str) -> bool:
    """Whether a file's name says that it may be a list of paths; a folder is none, whatever its name."""
    return path.lower().endswith((".txt", ".csv")) and not is_folder(path)


def _is_csv(path: str) -> bool:
    return path.lower().endswith(".csv")


def _open(path: str, newline: str | None) -> TextIO:
    # utf-8-sig: spreadsheets and editors on Windows put a byte order mark first.
    if is_local(path):
        return open(path, encoding="utf-8-sig", newline=newline)
    file = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)


def _lines(file: TextIO) -> Iterator[str]:
    return (line.strip() for line in file if not line.lstrip().startswith("#"))


def _path_column(columns: list[str]) -> int:
    names = [name.strip().lower() for name in columns]
    for name in PATH_COLUMNS:
        if name in names:
            return names.index(name)
    raise NoPathColumnError(f"needs a column {' or '.join(PATH_COLUMNS)}; it has {', '.join(columns) or 'none'}")


def _cells(file: TextIO) -> Iterator[str]:
    # Not DictReader: a dictionary a row makes long lists slow.
    rows = csv.reader(file)
    header = next((row for row in rows if row), None)
    if header is None:
        return
    column = _path_column(header)
    for row in rows:
        if len(row) > column:
            yield row[column].strip()


def folder_of(path: str) -> str:
    """The folder in which a file lies; empty for the working folder."""
    return os.path.dirname(path) if is_local(path) else posixpath.dirname(path)


def resolve_path(folder: str, path: str) -> str:
    """A path in a file as seen from that file's folder, without `.` and `..`, so that one file has one name."""
    if not is_local(path):
        return path
    if is_local(folder) or os.path.isabs(path):
        return os.path.normpath(os.path.join(folder, path))
    scheme, _, rest = folder.partition("://")
    return f"{scheme}://{posixpath.normpath(posixpath.join(rest, path))}"


def list_paths(path: str) -> Iterator[str]:
    """The paths of a list, in its order, with repeats; relative ones are taken from the list's own folder.

    Empty lines and cells and, in text files, lines that start with `#` are passed over. The list is streamed.
    Raises what the filesystem raises, UnicodeDecodeError, csv.Error or NoPathColumnError.
    """
    folder = folder_of(path)
    with _open(path, "" if _is_csv(path) else None) as file:
        entries = _cells(file) if _is_csv(path) else _lines(file)
        yield from (resolve_path(folder, entry) for entry in entries if entry)


def require_path_list(option: str, path: str) -> None:
    """Raise UsageError unless `path` is a list that can be read to its end and holds a path.

    Whether the listed files exist is not looked at.
    """
    try:
        count = sum(1 for _ in list_paths(path))
    except NoPathColumnError as error:
        raise UsageError(f"{option} {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{option} {path}: not a UTF-8 text file ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise UsageError(f"{option} {path}: not a CSV file ({error})") from error
    except Exception as error:  # each filesystem raises its own kinds; none is worth a traceback
        detail = (isinstance(error, OSError) and error.strerror) or str(error) or error.__class__.__name__
        raise UsageError(f"{option} {path}: cannot be read: {detail.splitlines()[0]}") from error
    if count == 0:
        raise UsageError(f"{option} {path}: lists no path")
