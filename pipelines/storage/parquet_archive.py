"""Rows of a Parquet file that holds one encoded image a row, as sets on Hugging Face do."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import posixpath
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.domain.metadata_columns import ID_COLUMNS
from pipelines.storage.archive_member import BY_ROW, ArchiveError, Member, one_kind_of_error
from pipelines.storage.errors import StorageError
from pipelines.storage.file_versions import versions_of
from pipelines.storage.filesystem import is_folder, open_file

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

EXTENSION = ".parquet"
# Columns of plain bytes that are images; a column of structs with `bytes` is one by any name.
_IMAGE_COLUMNS = ("image", "img", "image_bytes", "bytes", "jpg", "png")
_ROWS_AT_ONCE = 32
# The part of a column that is held while rows are passed over.
_BUFFER_BYTES = 1 << 20


class ImageColumn(NamedTuple):
    """The column of a Parquet file that holds images."""

    name: str
    contents: str  # path of the column with the bytes
    paths: str  # path of the column with file names; empty if there is none


def _image_column(schema: pa.Schema) -> ImageColumn | None:
    import pyarrow.types as kinds

    def is_bytes(kind: pa.DataType | None) -> bool:
        return kind is not None and (kinds.is_binary(kind) or kinds.is_large_binary(kind))

    for field in schema:
        if kinds.is_struct(field.type):
            inner = {
                field.type.field(index).name: field.type.field(index).type for index in range(field.type.num_fields)
            }
            if is_bytes(inner.get("bytes")):
                return ImageColumn(field.name, f"{field.name}.bytes", f"{field.name}.path" if "path" in inner else "")
        elif field.name.lower() in _IMAGE_COLUMNS and is_bytes(field.type):
            return ImageColumn(field.name, field.name, "")
    return None


@contextlib.contextmanager
def open_parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file such that columns are read in small pieces."""
    import pyarrow.parquet as pq

    with open_file(path) as file:
        yield pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)


@functools.lru_cache(maxsize=256)
def _column_of(path: str, version: str) -> ImageColumn | None:
    import pyarrow as pa

    with contextlib.suppress(StorageError, pa.ArrowException, OSError), open_parquet(path) as file:
        return _image_column(file.schema_arrow)
    return None


def image_column(path: str) -> ImageColumn | None:
    """Return the column of a Parquet file that holds images; None for anything else, and where that cannot be told."""
    if not path.lower().endswith(EXTENSION) or is_folder(path):
        return None
    try:
        (state,) = versions_of([path])
    except StorageError:
        return None
    return _column_of(path, f"{state.version}/{state.size}") if state.size else None


def table_columns(file: pq.ParquetFile, column: ImageColumn) -> list[str]:
    """Return the columns of a Parquet file besides its images."""
    return [name for name in file.schema_arrow.names if name != column.name]


def _cells(file: pq.ParquetFile, column: str) -> list[str]:
    """Return the cells of a column, which may be within another, as text."""
    outer, _, inner = column.partition(".")
    cells = file.read([column]).column(outer).to_pylist()
    return [str((cell or {}).get(inner) if inner else cell) if cell is not None else "" for cell in cells]


def row_names(path: str) -> list[str]:
    """Return a name for each row: its image id, else the name of its file, else its number; no two are the same.

    Raises:
        ArchiveError: If the file cannot be read, or holds no images.
    """
    column = image_column(path)
    with one_kind_of_error(), open_parquet(path) as file:
        if column is None:
            raise ArchiveError("holds no column of images")
        known = [name for name in ID_COLUMNS if name in table_columns(file, column)]
        places = [*known[:1], *([column.paths] if column.paths else [])]
        stem = os.path.splitext(posixpath.basename(path.replace("\\", "/")))[0]
        numbered = [f"{stem}-{row:07d}" for row in range(file.metadata.num_rows)]
        for place in places:
            names = [posixpath.basename(cell.replace("\\", "/")) for cell in _cells(file, place)]
            if all(names) and len(set(names)) == len(names):
                return names
    return numbered


def parquet_members(path: str) -> Iterator[Member]:
    """Yield the rows of a Parquet file that holds images; each has an equal part of the file's size.

    Raises:
        ArchiveError: If the file cannot be read.
    """
    names = row_names(path)
    (state,) = versions_of([path])
    size = state.size // len(names) if names else 0
    for row, name in enumerate(names):
        yield Member(name, row, size, size, BY_ROW, -1)


def read_rows(path: str, members: Iterable[Member]) -> Iterator[tuple[Member, bytes | ArchiveError]]:
    """Yield each member with its content, or with the error that prevented reading it.

    Args:
        path: The Parquet file, which is opened once.
        members: Rows, best in order: those before the first are passed over.
    """
    members = list(members)
    found: dict[int, bytes] = {}
    failure = ArchiveError("no such row")
    try:
        with one_kind_of_error():
            # Rows before a damaged one are kept.
            found.update(_rows(path, sorted({member.offset for member in members})))
    except ArchiveError as error:
        failure = error
    for member in members:
        yield member, found.get(member.offset, failure)


def _rows(path: str, wanted: list[int]) -> Iterator[tuple[int, bytes]]:
    column = image_column(path)
    if column is None:
        raise ArchiveError("holds no column of images")
    with open_parquet(path) as file:
        starts = [0, *itertools.accumulate(file.metadata.row_group(g).num_rows for g in range(file.num_row_groups))]
        for group, (start, end) in enumerate(itertools.pairwise(starts)):
            rows = [row for row in wanted if start <= row < end]
            if not rows:
                continue
            place = start
            for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=[column.contents]):
                cells = batch.column(0)
                cells = cells.field(0) if column.contents != column.name else cells
                for row in rows:
                    if place <= row < place + batch.num_rows:
                        yield row, (cells[row - place].as_py() or b"")
                place += batch.num_rows
                if place > rows[-1]:
                    break
