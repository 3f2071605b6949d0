"""Metadata tables as files: their rows, and whether they can be read. What columns mean is in `table_columns`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from pipelines.archives import is_archive, list_members, member_path, read_member, split_member_path
from pipelines.cli import UsageError
from pipelines.csv_tables import TableError, header_of, in_line, rows_of
from pipelines.image_names import image_id_of
from pipelines.sources import read_bytes
from pipelines.storage import failure
from pipelines.table_columns import ID_COLUMNS, Columns, Facts, facts_of, has_facts


def file_name(path: str) -> str:
    """The last part of a table's path."""
    return posixpath.basename(path.replace("\\", "/"))


def table_bytes(path: str) -> bytes:
    """A whole table: a file, or a member of an archive where `archive.zip!/name` names one."""
    inside = split_member_path(path)
    if inside is None:
        return read_bytes(path)
    archive, name = inside
    member = next((member for member in list_members(archive) if member.name == name), None)
    if member is None:
        raise FileNotFoundError(f"no {name} in {archive}")
    return read_member(archive, member)


def table_rows(path: str) -> Iterator[dict[str, str]]:
    """Rows of a UTF-8 CSV, by column; a byte order mark, which spreadsheets write, is passed over."""
    return rows_of(table_bytes(path))


def read_facts(path: str, columns: Columns, name: str = "") -> Iterator[tuple[str, Facts]]:
    """(image id, Facts) of every row that names an image. name: of the table, by default its file name."""
    name = name or file_name(path)
    for row in table_rows(path):
        image = (row.get(columns.id_column(row) or "") or "").strip()
        if image:
            yield image_id_of(image), facts_of(row, name, columns)


def read_header(path: str) -> list[str]:
    """The columns of a table that can be read to its end. Raises TableError when it cannot, or has no rows."""
    if is_archive(path):
        raise TableError(f"is an archive; name the table in it, such as {member_path(path, 'metadata.csv')}")
    try:
        data = table_bytes(path)
    except Exception as error:  # each filesystem raises its own kinds
        raise TableError(f"cannot be read ({failure(error)})") from error
    return header_of(data)


def require_table(option: str, path: str) -> list[str]:
    """`read_header`, with UsageError for what is wrong."""
    try:
        return read_header(path)
    except TableError as error:
        raise UsageError(f"{option} {path}: {error}") from error


def require_columns(option: str, path: str, names: Sequence[str], columns: Columns) -> None:
    """Raise UsageError unless a table with these columns has image ids and something to say about images."""
    has = f"it has {in_line(names)}"
    if columns.id_column(names) is None:
        wanted = columns.id or " or ".join(ID_COLUMNS)
        raise UsageError(f"{option} {path}: needs a column {wanted}; {has}")
    if not has_facts(names, columns):
        raise UsageError(f"{option} {path}: has no lesion_id, label or licence column; {has}")
