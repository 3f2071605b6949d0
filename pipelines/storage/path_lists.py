"""Read lists of paths: text files with one path per line, CSV and Parquet with a path column; local or remote."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple, TextIO

from pipelines.common.argument_parser import without_file_scheme
from pipelines.common.cli import UsageError, first_line
from pipelines.common.csv_tables import DELIMITERS, encoding_of
from pipelines.common.gcs_client import is_gs, split_path
from pipelines.domain.image_ids import is_image_name
from pipelines.storage import windows_paths
from pipelines.storage.errors import StorageError
from pipelines.storage.filesystem import is_folder, is_local, open_file
from pipelines.storage.globs import has_wildcard
from pipelines.storage.parquet_archive import image_column

# The first of these that a table has is its path column.
PATH_COLUMNS = ("path", "file", "filename", "image_path", "file_path", "filepath")
_PARQUET = ".parquet"
_ROWS_AT_ONCE = 10_000


class DamagedListError(ValueError):
    """A Parquet file that cannot be read; the message says why, without the path."""


class NoPathColumnError(ValueError):
    """A table with none of PATH_COLUMNS, or whose path column is not text.

    The message names the table's columns or the column's type.
    """


def is_path_list(path: str) -> bool:
    """Return whether a path may name a list of paths.

    Only the name counts, except that a folder is never a list, nor is a Parquet file that holds images.
    """
    return path.lower().endswith((".txt", ".csv", _PARQUET)) and not is_folder(path) and image_column(path) is None


def _is_csv(path: str) -> bool:
    return path.lower().endswith(".csv")


def _text(file: BinaryIO, newline: str | None) -> TextIO:
    """Return the text of a list: UTF-8 or, as PowerShell writes it, UTF-16."""
    head = file.peek() if isinstance(file, io.BufferedReader) else b""
    return io.TextIOWrapper(file, encoding=encoding_of(head), newline=newline)


def _unquoted(line: str) -> str:
    # Windows' "Copy as path" puts quotes around each.
    return line[1:-1] if len(line) > 2 and line[0] == line[-1] == '"' else line


def _lines(file: TextIO) -> Iterator[str]:
    return (_unquoted(line.strip()) for line in file if not line.lstrip().startswith("#"))


def _path_column(columns: list[str]) -> int:
    names = [name.strip().lower() for name in columns]
    for name in PATH_COLUMNS:
        if name in names:
            return names.index(name)
    raise NoPathColumnError(f"needs a column {' or '.join(PATH_COLUMNS)}; it has {', '.join(columns) or 'none'}")


def _delimiter(header: str) -> str:
    """Return the delimiter that leaves a path column in the first line of a table, or else a comma."""
    for delimiter in DELIMITERS:
        with contextlib.suppress(NoPathColumnError):
            _path_column(next(csv.reader([header], delimiter=delimiter)))
            return delimiter
    return DELIMITERS[0]


def _csv_rows(file: TextIO) -> tuple[list[str], Iterator[list[str]]]:
    """Return the header of a list, empty if it has none, and the rows below it."""
    header = next(filter(str.strip, file), "")
    # Not DictReader: one dictionary per row is slow for long lists.
    rows = csv.reader(itertools.chain([header], file), delimiter=_delimiter(header))
    return next(rows, []), rows


def _cells(file: TextIO) -> Iterator[str]:
    names, rows = _csv_rows(file)
    if not names:
        return
    column = _path_column(names)
    for row in rows:
        if len(row) > column:
            yield row[column].strip()


class _ParquetList(NamedTuple):
    table: Any  # pyarrow.parquet.ParquetFile
    column: str  # of paths
    others: list[str]  # columns of text, numbers and flags


@contextlib.contextmanager
def _parquet_list(path: str) -> Iterator[_ParquetList]:
    # Imported late: few lists are Parquet.
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind_of(name: str) -> Any:
        kind = schema.field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    try:
        with open_file(path) as file:
            table = pq.ParquetFile(file)
            schema = table.schema_arrow
            column = schema.names[_path_column(schema.names)]
            kind = kind_of(column)
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise NoPathColumnError(f"its column {column} holds {kind}, not text")
            is_cell = (pa.types.is_primitive, pa.types.is_string, pa.types.is_large_string)
            plain = [name for name in schema.names if any(fits(kind_of(name)) for fits in is_cell)]
            yield _ParquetList(table, column, [name for name in plain if name != column])
    except StorageError:
        raise
    except pa.ArrowInvalid as error:
        raise DamagedListError(f"not a Parquet file ({first_line(error)})") from error
    except (OSError, pa.ArrowException) as error:  # for a damaged footer or page
        raise DamagedListError(f"cannot be read: {first_line(error)}") from error


def _parquet_cells(path: str) -> Iterator[str]:
    with _parquet_list(path) as found:
        for batch in found.table.iter_batches(_ROWS_AT_ONCE, columns=[found.column]):
            yield from (cell.strip() for cell in batch.column(0).to_pylist() if cell)


def _entries(path: str) -> Iterator[str]:
    if path.lower().endswith(_PARQUET):
        yield from _parquet_cells(path)
        return
    with open_file(path) as file:
        yield from _cells(_text(file, "")) if _is_csv(path) else _lines(_text(file, None))


def folder_of(path: str) -> str:
    """Return the folder that contains a file; empty for the working directory."""
    return os.path.dirname(path) if is_local(path) else posixpath.dirname(path)


def resolve_path(folder: str, path: str) -> str:
    """Resolve a path written in a file against that file's folder.

    The result contains no `.` or `..`, so that each file has one name.

    Args:
        folder: Folder of the file that holds the path; local or with a scheme.
        path: Relative, absolute or with a scheme; with a scheme it is returned unchanged.
    """
    if not is_local(path):
        return path
    if is_local(folder) or os.path.isabs(path):
        return os.path.normpath(os.path.join(folder, path))
    scheme, _, rest = folder.partition("://")
    return f"{scheme}://{posixpath.normpath(posixpath.join(rest, path))}"


def list_paths(path: str) -> Iterator[str]:
    """Return an iterator over the paths of a list, in its order and with repeats.

    Relative paths are resolved against the list's own folder; for those of Windows see `windows_paths`. Empty lines and
    cells are skipped; in text files, so are lines that start with `#`. The list is streamed, so iterating raises the
    errors below.

    Raises:
        StorageError: If the list cannot be read.
        UnicodeDecodeError: If a text or CSV file is neither UTF-8 nor UTF-16.
        csv.Error: If a CSV file is malformed.
        DamagedListError: If a Parquet file is malformed.
        NoPathColumnError: If a table has no path column.
        NotHereError: If it lists paths on a Windows drive, and its images are not found here.
    """
    folder = folder_of(path)
    entries = (without_file_scheme(entry) for entry in _entries(path) if entry)
    return (resolve_path(folder, entry) for entry in windows_paths.translated(entries, folder))


def list_columns(path: str) -> list[str]:
    """Return the column names of a list of paths, the column of paths first; empty if the list is not a table.

    Raises:
        Exception: As `list_paths`.
    """
    if path.lower().endswith(_PARQUET):
        with _parquet_list(path) as found:
            return [found.column, *found.others]
    if not _is_csv(path):
        return []
    with open_file(path) as file:
        names, _ = _csv_rows(_text(file, ""))
    if not names:
        return []
    column = names.pop(_path_column(names))
    return [column.strip(), *filter(None, map(str.strip, names))]


def _table_rows(path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each path of a list that is a table, as it is written, with its row."""
    if path.lower().endswith(_PARQUET):
        with _parquet_list(path) as found:
            for batch in found.table.iter_batches(_ROWS_AT_ONCE, columns=[found.column, *found.others]):
                for row in batch.to_pylist():
                    cells = {name: "" if value is None else str(value) for name, value in row.items()}
                    yield cells[found.column].strip(), cells
        return
    with open_file(path) as file:
        names, rows = _csv_rows(_text(file, ""))
        column = _path_column(names)
        names = [name.strip() for name in names]
        for line in rows:
            if len(line) > column:
                yield line[column].strip(), dict(zip(names, line, strict=False))


def list_rows(path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the paths of a list that is a table, as `list_paths` does, each with its row by column name.

    Raises:
        Exception: As `list_paths`.
    """
    folder = folder_of(path)
    rows: deque[dict[str, str]] = deque()

    def entries() -> Iterator[str]:
        for entry, row in _table_rows(path):
            if entry:
                rows.append(row)
                yield without_file_scheme(entry)

    for entry in windows_paths.translated(entries(), folder):
        yield resolve_path(folder, entry), rows.popleft()


class PathList(NamedTuple):
    """What one pass over a list of paths tells."""

    local: str | None  # the first entry on this machine
    first_in_bucket: tuple[str, ...]  # the first entry in each bucket
    names_image: bool  # whether an entry is the name of an image file
    others: tuple[str, ...]  # the other entries, such as folders and archives; empty if an entry is an image


def _look_through(paths: Iterable[str]) -> PathList:
    local = None
    buckets: dict[str, str] = {}
    names_image = False
    others: list[str] = []
    for path in paths:
        if is_gs(path):
            buckets.setdefault(split_path(path)[0], path)
        elif local is None and is_local(path):
            local = path
        if names_image:
            continue
        if is_image_name(path) and not has_wildcard(path):
            names_image = True
            others.clear()
        else:
            others.append(path)
    return PathList(local, tuple(buckets.values()), names_image, tuple(others))


def require_path_list(option: str, path: str) -> PathList:
    """Raise UsageError unless `path` is a list that can be read to its end and holds at least one path.

    Whether the listed files exist is not checked.

    Args:
        option: Command-line option that names the list; it starts the error message.
        path: The list.

    Returns:
        What the list holds.
    """
    try:
        found = _look_through(list_paths(path))
    except (NoPathColumnError, DamagedListError, windows_paths.NotHereError) as error:
        raise UsageError(f"{option} {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{option} {path}: not a UTF-8 text file ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise UsageError(f"{option} {path}: not a CSV file ({error})") from error
    except StorageError as error:
        raise UsageError(f"{option} {path}: cannot be read: {error.summary}") from error
    if not (found.names_image or found.others):
        raise UsageError(f"{option} {path}: lists no path")
    return found
