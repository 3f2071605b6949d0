"""Find, check and read the headers of the tables of each source, with the columns that the user named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import TableError
from pipelines.common.tables import Overview
from pipelines.common.text import printable
from pipelines.domain.column_names import LONGEST_MESSAGE, columns_in
from pipelines.domain.layout_registry import (
    LAYOUTS,
    RECOGNIZE,
    TABLE,
    describe_forms,
    form_of,
    known_form,
    recognize,
    why_not,
)
from pipelines.domain.metadata_columns import Columns, has_facts, spelled
from pipelines.sources.labelled_lists import speaking_list, table_of_list
from pipelines.sources.metadata_search import find_layout_tables, find_metadata, neighbour_of
from pipelines.sources.metadata_tables import (
    is_by_lesion,
    read_overview,
    require_clear_classes,
    require_columns,
    require_table,
)
from pipelines.sources.source import Source, Table
from pipelines.sources.table_files import only_table
from pipelines.storage import filesystem
from pipelines.storage.archives import is_archive
from pipelines.storage.parquet_archive import image_column
from pipelines.storage.path_lists import is_path_list

# Characters of column names in a note: a file that is not a table may have thousands of columns.
_LONGEST_LIST = 200
_NAME_IT = "name it with --metadata, or as metadata in a file of sources"


def _with_header(table: Table, overview: Overview, notes: list[str]) -> Table:
    if overview.note:
        notes.append(f"{printable(table.path)} {overview.note}")
    return table._replace(header=tuple(overview.names), layout=recognize(overview.names))


def read_table(table: Table, notes: list[str]) -> Table:
    """Return a table with its header and the layout that it shows; a line is added to `notes` if it was hard to read.

    Raises:
        UsageError: If the table cannot be read.
    """
    if is_archive(table.path) and not image_column(table.path):
        try:
            table = table._replace(path=only_table(table.path))
        except TableError as error:
            raise UsageError(f"{table.option} {printable(table.path)}: {error}") from error
    return _with_header(table, require_table(table.option, table.path), notes)


def _readable(table: Table, notes: list[str]) -> Iterator[Table]:
    """Yield a `metadata.csv` found beside images with its header, or note why it is damaged."""
    try:
        yield _with_header(table, read_overview(table.path), notes)
    except TableError as error:
        notes.append(f"{printable(table.path)} is ignored: {error}")


def _speaking(table: Table, columns: Columns, notes: list[str]) -> Iterator[Table]:
    """Yield a found table as it will be read, or note why it is ignored.

    Any file may be named `metadata.csv`, so it may be something else entirely.
    """
    if table.by_path:
        yield from speaking_list(table, columns)
        return
    columns = columns.among(table.header)
    form = known_form(table.header)
    has_id = columns.id_column(table.header)
    if form and (form.rows or form.by_lesion):
        yield table._replace(columns=columns)
        return
    if has_id and has_facts(table.header, columns):
        require_clear_classes(table.option, printable(table.path), table.header, columns)
        yield table._replace(columns=columns)
        return
    lacks = "lesion_id, label or licence" if has_id else "image id"
    notes.append(
        f"{printable(table.path)} is ignored: no {lacks} column (it has {columns_in(table.header, _LONGEST_LIST)})"
    )


def with_tables(source: Source, notes: list[str]) -> Source:
    """Return the source with its own tables: those that it names, or else those that lie beside its images.

    Their content is not checked yet. A line is added to `notes` for each found table that cannot be read.
    """
    if source.tables:
        return source._replace(tables=tuple(read_table(table, notes) for table in source.tables))
    if source.layout in (RECOGNIZE, TABLE) and is_path_list(source.path):
        return source._replace(tables=tuple(table_of_list(source)))
    paths = find_metadata(source) if source.layout == RECOGNIZE else find_layout_tables(source)
    tables = [Table(path, option=source.option, found=True) for path in paths]
    if source.layout == RECOGNIZE:
        return source._replace(tables=tuple(good for table in tables for good in _readable(table, notes)))
    return source._replace(tables=tuple(read_table(table, notes) for table in tables))


def require_named_columns(headers: Iterable[Iterable[str]], wanted: Columns, option: Callable[[str], str]) -> None:
    """Raise UsageError if a named column is in no table.

    `option` maps a field of Columns to the option that names it.
    """
    names = list(dict.fromkeys(name for header in headers for name in header))
    for what in Columns.names():
        column = getattr(wanted, what)
        if column and spelled(names, [column]) is None:
            said = f"{option(what)} {column}: no table has this column; there are "
            raise UsageError(said + (columns_in(names, LONGEST_MESSAGE - len(said)) or "none"))


def with_columns(table: Table, wanted: Columns) -> Table:
    """Return the table as it will be read.

    Where the table lacks a named column, the known column names apply instead.
    """
    columns = wanted.among(table.header)
    if columns.id_column(table.header) is None:
        columns = wanted  # so that the message names the column the user asked for
    require_columns(table.option, table.path, table.header, columns)
    return table._replace(columns=columns)


def _has_main(layout: str, tables: Iterable[Table]) -> bool:
    forms = (form_of(layout, table.header) for table in tables)
    return any(form is not None and form.main for form in forms)


def _require_layout(source: Source, shared: Sequence[Table]) -> None:
    """Raise UsageError unless a source has the tables that its layout needs, and no others."""
    title, needed = LAYOUTS[source.layout].title, describe_forms(source.layout)
    for table in source.tables:
        if form_of(source.layout, table.header) is None:
            raise UsageError(
                f"{table.option} {table.path}: is no {title}; {why_not(source.layout, table.header)}; "
                f"it has {columns_in(table.header, _LONGEST_LIST)}"
            )
    if _has_main(source.layout, [*source.tables, *shared]):
        return
    if source.tables:
        first = source.tables[0]
        raise UsageError(f"{first.option} {first.path}: the {title} itself is missing, with {needed}")
    said = f"no {title} (a .csv with the columns {needed})"
    raise UsageError(f"{source.option} {source.path}: {said} in it, above or beside it; {_NAME_IT}")


def checked(source: Source, shared: Sequence[Table], columns: Columns, notes: list[str]) -> Source:
    """Return the source with its tables as they will be read.

    A line is added to `notes` for each found table that is ignored.
    """
    if source.layout and LAYOUTS[source.layout].forms:
        _require_layout(source, shared)
        return source._replace(
            tables=tuple(with_columns(table, Columns())._replace(layout=source.layout) for table in source.tables)
        )
    if any(table.found for table in source.tables):
        source = source._replace(
            tables=tuple(good for table in source.tables for good in _speaking(table, columns, notes))
        )
    elif source.tables:
        wanted = source.tables[0].columns
        where = source.tables[0].option.removesuffix("metadata")
        require_named_columns(
            (table.header for table in source.tables), wanted, lambda what: f"{where}columns: {what}:"
        )
        source = source._replace(tables=tuple(with_columns(table, wanted) for table in source.tables))
    if source.layout == TABLE and not source.tables and not shared:
        raise UsageError(f"{source.option} {source.path}: layout {TABLE} needs a table; {_NAME_IT}")
    return source


def as_named(table: Table, shared: Iterable[Table]) -> Table:
    """Return the shared table if a found one was also named, so that it is read only once."""
    if not table.found:
        return table
    return next((other for other in shared if filesystem.same_place(other.path, table.path)), table)


def hint_of(source: Source) -> Iterator[str]:
    """Yield a line if a source without any table lies below one of a published set, which only its layout reads."""
    found = neighbour_of(source) if source.layout == RECOGNIZE and not source.tables else None
    if found:
        layout, path = found
        way = f"--input {layout}={printable(source.path)}" if source.option == "--input" else f"layout: {layout}"
        outside = f"is not read, as it lies outside {printable(source.path)}"
        yield f"{printable(path)} ({LAYOUTS[layout].title}) {outside}; {way} reads it"


def with_images(table: Table, others: Iterable[Table]) -> Table:
    """Return a table by lesion with the table that names the images of each lesion.

    Raises:
        UsageError: If there is no such table.
    """
    if table.columns != Columns() or not is_by_lesion(table.header):
        return table
    fitting = (other for other in others if {"lesion_id", "isic_id"} <= set(other.header))
    images = next(fitting, None)
    if images is None:
        raise UsageError(
            f"{table.option} {table.path}: says what lesions are; name the table too that has their images, with the "
            "columns lesion_id and isic_id"
        )
    return table._replace(images=images.path)


def with_images_of(source: Source, shared: Sequence[Table]) -> Source:
    """Return the source with each of its tables as `with_images` has it."""
    tables = source.tables
    return source._replace(tables=tuple(with_images(table, (*tables, *shared)) for table in tables))
