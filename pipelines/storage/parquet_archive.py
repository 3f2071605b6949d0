"""Rows of a Parquet file that holds one encoded image a row, as sets on Hugging Face do."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.domain.identities import is_plain_number
from pipelines.domain.image_ids import isic_id_of
from pipelines.domain.metadata_columns import ID_COLUMNS, spelled
from pipelines.storage.archive_member import BY_ROW, ArchiveError, Member, one_kind_of_error
from pipelines.storage.errors import StorageError
from pipelines.storage.file_versions import versions_of
from pipelines.storage.filesystem import is_folder, open_file

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

EXTENSION = ".parquet"
# Columns of plain bytes that are images, best first; a column of structs with `bytes` is one by any name.
_IMAGE_COLUMNS = ("image", "img", "image_bytes", "bytes", "jpg", "png")
_NO_PHOTOGRAPH = re.compile(r"mask|segment|superpixel|thumb", re.IGNORECASE)
_ROWS_AT_ONCE = 32
# The part of a column that is held while rows are passed over.
_BUFFER_BYTES = 1 << 20


class ImageColumn(NamedTuple):
    """The column of a Parquet file that holds images."""

    name: str
    contents: str  # path of the column with the bytes
    paths: str  # path of the column with file names; empty if there is none


def _is_bytes(kind: pa.DataType | None) -> bool:
    import pyarrow.types as kinds

    return kind is not None and (kinds.is_binary(kind) or kinds.is_large_binary(kind))


def _image_columns(schema: pa.Schema) -> Iterator[ImageColumn]:
    import pyarrow.types as kinds

    for field in schema:
        if kinds.is_struct(field.type):
            inner = {
                field.type.field(index).name: field.type.field(index).type for index in range(field.type.num_fields)
            }
            if _is_bytes(inner.get("bytes")):
                yield ImageColumn(field.name, f"{field.name}.bytes", f"{field.name}.path" if "path" in inner else "")
        elif field.name.lower() in _IMAGE_COLUMNS and _is_bytes(field.type):
            yield ImageColumn(field.name, field.name, "")


def _image_column(schema: pa.Schema) -> ImageColumn | None:
    """Return the column of images with the best known name, else the first that is not named as one of masks."""

    def order(column: ImageColumn) -> tuple[bool, int]:
        name = column.name.lower()
        known = _IMAGE_COLUMNS.index(name) if name in _IMAGE_COLUMNS else len(_IMAGE_COLUMNS)
        return bool(_NO_PHOTOGRAPH.search(name)), known

    return min(_image_columns(schema), key=order, default=None)


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


def table_columns(file: pq.ParquetFile) -> list[str]:
    """Return the columns of a Parquet file that a table can have: no images, and nothing with parts."""
    import pyarrow.types as kinds

    return [field.name for field in file.schema_arrow if not (_is_bytes(field.type) or kinds.is_nested(field.type))]


def _cells(file: pq.ParquetFile, column: str) -> list[str]:
    """Return the cells of a column, which may be within another, as text."""
    outer, _, inner = column.partition(".")
    cells = file.read([column]).column(outer).to_pylist()
    return [str((cell or {}).get(inner) if inner else cell) if cell is not None else "" for cell in cells]


def id_column(file: pq.ParquetFile) -> str | None:
    """Return the column of a Parquet file with image ids, or None."""
    return spelled(table_columns(file), ID_COLUMNS)


def _shard_of(path: str) -> str:
    """Return what tells a file from the others of its set: its stem, after the folder's name if it is a number."""
    folder, name = posixpath.split(path.replace("\\", "/"))
    stem = os.path.splitext(name)[0]
    folder = posixpath.basename(folder)
    return f"{folder}-{stem}" if folder and is_plain_number(stem) else stem


def row_names(path: str) -> list[str]:
    """Return a name for each row: its image id, else the name of its file, else its number; no two are the same.

    File names and plain numbers are counted again in each file of a set, so the file's own stem stands before them.

    Raises:
        ArchiveError: If the file cannot be read, or holds no images.
    """
    column = image_column(path)
    with one_kind_of_error(), open_parquet(path) as file:
        if column is None:
            raise ArchiveError("holds no column of images")
        shard = _shard_of(path)
        numbered = [f"{shard}-{row:07d}" for row in range(file.metadata.num_rows)]
        known = id_column(file)
        for place in filter(None, (known, column.paths)):
            names = [posixpath.basename(cell.replace("\\", "/")) for cell in _cells(file, place)]
            counts = collections.Counter(names)
            if not all(name and (counts[name] == 1 or isic_id_of(name)) for name in names):
                continue
            return [
                # An ISIC id that several rows have is found in their names.
                f"{number}-{name}"
                if counts[name] > 1
                else name
                if isic_id_of(name) or (place == known and not is_plain_number(os.path.splitext(name)[0]))
                else f"{shard}-{name}"
                for number, name in zip(numbered, names, strict=True)
            ]
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
