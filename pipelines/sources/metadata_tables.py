"""Read metadata tables from files and check that they are usable; `table_columns` knows what their columns mean."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import TableError
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.common.tables import Overview, overview_of, rows_of
from pipelines.domain.column_names import LONGEST_MESSAGE, columns_in, strange_flags
from pipelines.domain.image_ids import image_id_of
from pipelines.domain.known_rows import known_rows
from pipelines.domain.layout_registry import as_csv, known_form
from pipelines.domain.metadata_columns import (
    ID_COLUMNS,
    TARGET_COLUMN,
    Columns,
    Facts,
    cells_of,
    facts_of,
    has_facts,
    one_hot_columns,
    spelled,
)
from pipelines.sources.other_tables import csv_of_json_lines, csv_of_parquet
from pipelines.storage.archive_member import Member
from pipelines.storage.archives import (
    is_archive,
    list_members,
    member_path,
    read_member,
    read_member_head,
    split_member_path,
)
from pipelines.storage.errors import StorageError
from pipelines.storage.filesystem import read_bytes, read_head
from pipelines.storage.parquet_archive import image_column


def file_name(path: str) -> str:
    """Return the last part of a table's path."""
    return posixpath.basename(path.replace("\\", "/"))


def table_bytes(path: str) -> bytes:
    """Return the content of a table, as CSV with a header also where it is published otherwise.

    Args:
        path: A file, or an archive member as `archive.zip!/name`.

    Raises:
        StorageError: If the table or its archive cannot be read.
        ServiceUnavailable: If Cloud Storage itself does not respond.
    """
    inside = split_member_path(path)
    if inside is None:
        return csv_of_parquet(path) if image_column(path) else _in_csv(path, read_bytes(path))
    return _in_csv(inside[1], read_member(inside[0], _member(*inside)))


def _member(archive: str, name: str) -> Member:
    member = next((member for member in list_members(archive) if member.name == name), None)
    if member is None:
        raise StorageError(f"no {name} in {archive}", "FileNotFoundError")
    return member


def table_head(path: str, count: int) -> bytes:
    """Return the first bytes of a table as they are stored, fewer if it is packed.

    Args:
        path: As for `table_bytes`.
        count: Number of bytes.

    Raises:
        StorageError: As `table_bytes`.
    """
    inside = split_member_path(path)
    return read_member_head(inside[0], _member(*inside), count) if inside else read_head(path, count)


def _in_csv(name: str, data: bytes) -> bytes:
    return csv_of_json_lines(data) if name.lower().endswith(".jsonl") else as_csv(data)


def table_rows(path: str) -> Iterator[dict[str, str]]:
    """Return an iterator over the rows of a table, each a dictionary by column name; see `tables.rows_of`."""
    return rows_of(table_bytes(path))


def images_by_lesion(path: str) -> dict[str, list[str]]:
    """Return the image ids of each lesion in a table of both."""
    found: dict[str, list[str]] = {}
    columns = Columns()
    for row in table_rows(path):
        image = (row.get(columns.id_column(row) or "") or "").strip()
        found.setdefault(cells_of(row)("lesion_id"), []).append(image)
    return found


def is_by_lesion(names: Iterable[str]) -> bool:
    """Return whether the rows of a table are lesions, and another table has to say which images show them."""
    form = known_form(names)
    return form is not None and form.by_lesion


def read_facts(path: str, columns: Columns, name: str = "", images: str = "") -> Iterator[tuple[str, Facts]]:
    """Yield the image id and Facts of every row that names an image.

    Args:
        path: The table, as for `table_bytes`.
        columns: Column names; empty ones stand for the known columns.
        name: Name of the table in the Facts; its file name if empty.
        images: For a table by lesion, another table that names the images of each lesion.
    """
    name = name or file_name(path)
    for row, one_hot in known_rows(table_rows(path), columns, lambda: images_by_lesion(images)):
        image = (row.get(columns.id_column(row) or "") or "").strip()
        if image:
            yield image_id_of(image), facts_of(row, name, columns, one_hot)


def read_overview(path: str) -> Overview:
    """Return the column names of a table and a note, after reading it to its end.

    Raises:
        TableError: If the table is an archive, cannot be read, is malformed or has no rows.
    """
    if is_archive(path) and not image_column(path):
        raise TableError(f"is an archive; name the table in it, such as {member_path(path, 'metadata.csv')}")
    try:
        data = table_bytes(path)
    except (StorageError, ServiceUnavailable) as error:
        raise TableError(f"cannot be read ({error})") from error
    overview = overview_of(data)
    flags = [*one_hot_columns(overview.names).terms, *filter(None, [spelled(overview.names, [TARGET_COLUMN])])]
    if not flags:
        return overview
    return overview._replace(note="; it ".join(filter(None, [overview.note, strange_flags(rows_of(data), flags)])))


def require_table(option: str, path: str) -> Overview:
    """Return what `read_overview` does, but raise UsageError.

    Args:
        option: Command-line option that names the table; it starts the error message.
        path: The table, as for `table_bytes`.

    Raises:
        UsageError: If `read_overview` raises TableError.
    """
    try:
        return read_overview(path)
    except TableError as error:
        raise UsageError(f"{option} {path}: {error}") from error


def require_clear_classes(option: str, path: str, names: Sequence[str], columns: Columns) -> None:
    """Raise UsageError if it cannot be said which columns of a table are one-hot.

    Args:
        option: Command-line option that names the table; it starts the error message.
        path: The table; for the message only.
        names: The table's column names.
        columns: Column names that the user gave; a label column speaks alone.
    """
    if not columns.label and (wrong := one_hot_columns(names).ambiguous):
        said = f"{option} {path}: {wrong}; leave out what is not meant, or name yours with --label_column; it has "
        raise UsageError(said + columns_in(names, LONGEST_MESSAGE - len(said)))


def require_columns(option: str, path: str, names: Sequence[str], columns: Columns) -> None:
    """Raise UsageError unless a table has a column of image ids and one with facts about images.

    Args:
        option: Command-line option that names the table; it starts the error message.
        path: The table; for the message only.
        names: The table's column names.
        columns: Column names that the user gave; empty ones stand for the known columns.
    """
    form = known_form(names)
    if columns == Columns() and form and (form.rows or form.by_lesion):
        return
    require_clear_classes(option, path, names, columns)
    if columns.id_column(names) is None:
        wanted = columns.id or f"{' or '.join(ID_COLUMNS)} (or name yours with --id_column)"
        lacks = f"needs a column {wanted}"
    elif not has_facts(names, columns):
        remedy = "" if columns.label else " (name yours with --label_column)"
        lacks = f"has no lesion_id, label or licence column{remedy}"
    else:
        return
    said = f"{option} {path}: {lacks}; it has "
    raise UsageError(said + columns_in(names, LONGEST_MESSAGE - len(said)))
