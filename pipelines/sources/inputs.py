"""Resolve `--input` and `--metadata` into sources with their tables: parse, complete, check and name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import TableError
from pipelines.common.tables import Overview
from pipelines.common.text import printable
from pipelines.domain.column_names import LONGEST_MESSAGE, columns_in
from pipelines.domain.labels import FOLDER
from pipelines.domain.metadata_columns import Columns, has_facts, spelled
from pipelines.sources.layout_registry import (
    LAYOUTS,
    RECOGNIZE,
    TABLE,
    describe_forms,
    form_of,
    known_form,
    recognize,
    why_not,
)
from pipelines.sources.metadata_search import find_layout_tables, find_metadata, neighbour_of, places_of
from pipelines.sources.metadata_tables import file_name, is_by_lesion, read_overview, require_columns, require_table
from pipelines.sources.source import Source, Table
from pipelines.sources.sources_file import is_sources_file, read_sources_file
from pipelines.storage import filesystem
from pipelines.storage.gcs_access import require_readable
from pipelines.storage.globs import has_wildcard

# Characters of column names in a note: a file that is not a table may have thousands of columns.
_LONGEST_LIST = 200
_NAME_IT = "name it with --metadata, or as metadata in a file of sources"


class Inputs(NamedTuple):
    """The sources and tables of a job."""

    sources: tuple[Source, ...]
    metadata: tuple[Table, ...] = ()  # shared tables, which describe the images of all sources
    notes: tuple[str, ...] = ()  # one line for each table that was found but is ignored


def parse_input(text: str) -> Source:
    """Parse an `--input` value: `PATH`, or `LAYOUT=PATH`.

    The prefix is a layout only if it is a known one, as a path may contain `=`.

    Raises:
        UsageError: If a layout comes without a path or with a sources file, which names its layouts itself; or if an
            unknown layout is given and the whole text is no existing path either.
    """
    prefix, equals, path = text.partition("=")
    if equals and prefix in LAYOUTS:
        if not path:
            raise UsageError(f"--input {text}: names no path; --input {prefix}=PATH is needed")
        if is_sources_file(path):
            raise UsageError(f"--input {text}: a file of sources names its layouts itself; --input {path} is needed")
        return Source(path, path, prefix)
    if equals and prefix.isidentifier() and not has_wildcard(text) and not filesystem.exists(text):
        raise UsageError(
            f"--input {text}: no such file or folder, and {prefix} is no layout; {', '.join(LAYOUTS)} are known"
        )
    return Source(text, text)


def _alike(first: Source, again: Source) -> bool:
    """Return whether the second source adds nothing to the first."""
    return (first.layout, first.tables) == (again.layout, again.tables) and again.name in (first.name, again.path)


def _distinct(sources: Iterable[Source]) -> Iterator[Source]:
    """Yield the sources without exact repeats.

    Raises:
        UsageError: If two sources share a name, or name one place in different ways.
    """
    kept: list[Source] = []
    for source in sources:
        same = next((other for other in kept if filesystem.same_place(other.path, source.path)), None)
        if same is not None:
            if _alike(same, source):
                continue
            raise UsageError(f"{source.option} {source.path}: is named twice, and not in the same way")
        if any(other.name == source.name for other in kept):
            raise UsageError(f"{source.option} {source.path}: another source is named {source.name!r} too; rename one")
        kept.append(source)
        yield source


def read_inputs(texts: Iterable[str], metadata: Iterable[str]) -> Inputs:
    """Return the sources and shared tables that options and sources files name.

    Args:
        texts: Values of `--input`.
        metadata: Values of `--metadata`.

    Raises:
        UsageError: If a value or a sources file is invalid, or two sources conflict.
    """
    sources: list[Source] = []
    shared = [Table(path) for path in metadata]
    for text in texts:
        if is_sources_file(text):
            require_readable("--input", text)
            content = read_sources_file(text)
            sources += content.sources
            shared += content.metadata
        else:
            sources.append(parse_input(text))
    tables: dict[str, Table] = {}
    for table in shared:
        tables.setdefault(table.path, table)
    return Inputs(tuple(_distinct(sources)), tuple(tables.values()))


def _with_header(table: Table, overview: Overview, notes: list[str]) -> Table:
    if overview.note:
        notes.append(f"{printable(table.path)} {overview.note}")
    return table._replace(header=tuple(overview.names), layout=recognize(overview.names))


def _read(table: Table, notes: list[str]) -> Table:
    """Return a table with its header and the layout that it shows; a line is added to `notes` if it was hard to read.

    Raises:
        UsageError: If the table cannot be read.
    """
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
    columns = columns.among(table.header)
    form = known_form(table.header)
    has_id = columns.id_column(table.header)
    if (form and (form.rows or form.by_lesion)) or (has_id and has_facts(table.header, columns)):
        yield table._replace(columns=columns)
        return
    lacks = "lesion_id, label or licence" if has_id else "image id"
    notes.append(
        f"{printable(table.path)} is ignored: no {lacks} column (it has {columns_in(table.header, _LONGEST_LIST)})"
    )


def _with_tables(source: Source, notes: list[str]) -> Source:
    """Return the source with its own tables: those that it names, or else those that lie beside its images.

    Their content is not checked yet. A line is added to `notes` for each found table that cannot be read.
    """
    if source.tables:
        return source._replace(tables=tuple(_read(table, notes) for table in source.tables))
    paths = find_metadata(source) if source.layout == RECOGNIZE else find_layout_tables(source)
    tables = [Table(path, option=source.option, found=True) for path in paths]
    if source.layout == RECOGNIZE:
        return source._replace(tables=tuple(good for table in tables for good in _readable(table, notes)))
    return source._replace(tables=tuple(_read(table, notes) for table in tables))


def _require_columns(headers: Iterable[Iterable[str]], wanted: Columns, option: Callable[[str], str]) -> None:
    """Raise UsageError if a named column is in no table.

    `option` maps a field of Columns to the option that names it.
    """
    names = list(dict.fromkeys(name for header in headers for name in header))
    for what in Columns.names():
        column = getattr(wanted, what)
        if column and spelled(names, [column]) is None:
            said = f"{option(what)} {column}: no table has this column; there are "
            raise UsageError(said + (columns_in(names, LONGEST_MESSAGE - len(said)) or "none"))


def _with_columns(table: Table, wanted: Columns) -> Table:
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
    places = " or ".join(places_of(source))
    raise UsageError(
        f"{source.option} {source.path}: no {title} (a .csv with the columns {needed}) in {places}; {_NAME_IT}"
    )


def _checked(source: Source, shared: Sequence[Table], columns: Columns, notes: list[str]) -> Source:
    """Return the source with its tables as they will be read.

    A line is added to `notes` for each found table that is ignored.
    """
    if source.layout and LAYOUTS[source.layout].forms:
        _require_layout(source, shared)
        return source._replace(
            tables=tuple(_with_columns(table, Columns())._replace(layout=source.layout) for table in source.tables)
        )
    if source.layout == TABLE and not source.tables and not shared:
        raise UsageError(f"{source.option} {source.path}: layout {TABLE} needs a table; {_NAME_IT}")
    if any(table.found for table in source.tables):
        return source._replace(
            tables=tuple(good for table in source.tables for good in _speaking(table, columns, notes))
        )
    if source.tables:
        wanted = source.tables[0].columns
        where = source.tables[0].option.removesuffix("metadata")
        _require_columns((table.header for table in source.tables), wanted, lambda what: f"{where}columns: {what}:")
        return source._replace(tables=tuple(_with_columns(table, wanted) for table in source.tables))
    return source


def _as_named(table: Table, shared: Iterable[Table]) -> Table:
    """Return the shared table if a found one was also named, so that it is read only once."""
    if not table.found:
        return table
    return next((other for other in shared if filesystem.same_place(other.path, table.path)), table)


def _hint(source: Source) -> Iterator[str]:
    """Yield a line if a source without any table lies below one of a published set, which only its layout reads."""
    found = neighbour_of(source) if source.layout == RECOGNIZE and not source.tables else None
    if found:
        layout, path = found
        way = f"--input {layout}={printable(source.path)}" if source.option == "--input" else f"layout: {layout}"
        yield f"{printable(path)} ({LAYOUTS[layout].title}) is not read, as it lies above the images; {way} reads it"


def _named_images(table: Table, others: Iterable[Table]) -> Table:
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


def _with_images(source: Source, shared: Sequence[Table]) -> Source:
    tables = source.tables
    return source._replace(tables=tuple(_named_images(table, (*tables, *shared)) for table in tables))


def _names(sources: Sequence[Source], shared: Sequence[Table]) -> dict[str, str]:
    """Return a name for each table, by path.

    The name is the first unique one of: file name, source and file name (`kaggle/metadata.csv`), path.
    """
    owners: dict[str, set[str]] = {table.path: set() for table in shared}
    for source in sources:
        for table in source.tables:
            owners.setdefault(table.path, set()).add(source.name)
    candidates = {
        path: [file_name(path), *(f"{owner}/{file_name(path)}" for owner in owning if len(owning) == 1), path]
        for path, owning in owners.items()
    }
    taken = [name for names in candidates.values() for name in names[:-1]]
    return {
        path: next(name for name in names if name == path or taken.count(name) == 1)
        for path, names in candidates.items()
    }


def complete_inputs(inputs: Inputs, columns: Columns, other_columns: Iterable[str] = ()) -> Inputs:
    """Return the sources with the tables beside their images, each table with its columns, layout and name.

    A `metadata.csv` that was merely found and is not a usable table is left out, with a note.

    Args:
        inputs: The sources and tables from `read_inputs`.
        columns: Columns that options name; they apply to shared and found tables.
        other_columns: Columns of another table, which may also contain the named ones.

    Raises:
        UsageError: If a table that was named, or that a named layout needs, is missing, cannot be read or lacks
            columns; or if a named column is in no table.
    """
    notes = list(inputs.notes)
    sources = [_with_tables(source, notes) for source in inputs.sources]
    shared = [_read(table, notes) for table in inputs.metadata]
    found = [table for source in sources for table in source.tables if table.found]
    headers = [*(table.header for table in (*shared, *found)), other_columns]
    _require_columns(headers, columns, lambda what: f"--{what}_column")
    shared = [_with_columns(table, columns) for table in shared]
    sources = [_checked(source, shared, columns, notes) for source in sources]
    notes += [] if shared else [line for source in sources for line in _hint(source)]
    sources = [_with_images(source, shared) for source in sources]
    shared = [_named_images(table, shared) for table in shared]
    sources = [source._replace(tables=tuple(_as_named(table, shared) for table in source.tables)) for source in sources]
    names = _names(sources, shared)

    def called(tables: Iterable[Table]) -> tuple[Table, ...]:
        return tuple(table._replace(name=names[table.path]) for table in tables)

    completed = tuple(source._replace(tables=called(source.tables)) for source in sources)
    return Inputs(completed, called(shared), tuple(dict.fromkeys(notes)))


def trusted_name(text: str, inputs: Inputs) -> str | None:
    """Return the name under which claims know the source that `trust=text` means.

    Args:
        text: A table's path or file name, `SOURCE/FILE`, the name of a source, or FOLDER.
        inputs: The completed inputs.

    Returns:
        The name. None if there is no such source, or if the source in `SOURCE/FILE` has two tables of that name.
    """
    by_path, by_owner = set(), set()
    for table, owner in (
        *((table, "") for table in inputs.metadata),
        *((table, source.name) for source in inputs.sources for table in source.tables),
    ):
        if text == table.path:
            by_path.add(table.name)
        elif text == f"{owner}/{file_name(table.path)}":
            by_owner.add(table.name)
    meant = by_path or by_owner
    if meant:
        # If one source has two tables with the same file name, the text is ambiguous.
        return meant.pop() if len(meant) == 1 else None
    known = {FOLDER, *(source.name for source in inputs.sources)}
    known.update(file_name(path) for path in _tables(inputs))
    return text if text in known else None


def _tables(inputs: Inputs) -> dict[str, str]:
    """Return the name of each table, by path."""
    tables = [*inputs.metadata, *(table for source in inputs.sources for table in source.tables)]
    return {table.path: table.name for table in tables}


def source_names(inputs: Inputs) -> list[str]:
    """Return the values allowed after `trust=`, for a message."""
    return list(dict.fromkeys([FOLDER, *_tables(inputs).values(), *(source.name for source in inputs.sources)]))
