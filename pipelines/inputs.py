"""What `--input` and `--metadata` name, as sources with their tables: parsed, completed, checked, each with a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pipelines import storage
from pipelines.cli import UsageError
from pipelines.csv_tables import TableError, in_line
from pipelines.gcs_access import require_readable
from pipelines.labels import FOLDER
from pipelines.layouts import (
    LAYOUTS,
    RECOGNIZE,
    TABLE,
    Source,
    Table,
    describe_forms,
    form_of,
    missing_columns,
    recognize,
)
from pipelines.metadata import file_name, read_header, require_columns, require_table
from pipelines.sources import has_wildcard
from pipelines.sources_file import is_sources_file, read_sources_file
from pipelines.storage import printable
from pipelines.table_columns import Columns, has_facts
from pipelines.table_search import find_layout_tables, find_metadata, places_of

# Of column names in a note: what is no table may have thousands.
_LONGEST_LIST = 200
_NAME_IT = "name it with --metadata, or as metadata in a file of sources"


class Inputs(NamedTuple):
    """metadata: the tables that speak of all images. notes: a line on each table that was found but is not read."""

    sources: tuple[Source, ...]
    metadata: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def parse_input(text: str) -> Source:
    """`PATH`, or `LAYOUT=PATH` where LAYOUT is known: a path may hold `=`."""
    prefix, equals, path = text.partition("=")
    if equals and prefix in LAYOUTS:
        if not path:
            raise UsageError(f"--input {text}: names no path; --input {prefix}=PATH is needed")
        if is_sources_file(path):
            raise UsageError(f"--input {text}: a file of sources names its layouts itself; --input {path} is needed")
        return Source(path, path, prefix)
    if equals and prefix.isidentifier() and not has_wildcard(text) and not storage.exists(text):
        raise UsageError(
            f"--input {text}: no such file or folder, and {prefix} is no layout; {', '.join(LAYOUTS)} are known"
        )
    return Source(text, text)


def _alike(first: Source, again: Source) -> bool:
    """Whether the second says nothing that the first does not."""
    return (first.layout, first.tables) == (again.layout, again.tables) and again.name in (first.name, again.path)


def _distinct(sources: Iterable[Source]) -> Iterator[Source]:
    """The sources without exact repeats. Raises UsageError where two have one name, or one place in two ways."""
    kept: list[Source] = []
    for source in sources:
        same = next((other for other in kept if storage.same_place(other.path, source.path)), None)
        if same is not None:
            if _alike(same, source):
                continue
            raise UsageError(f"{source.option} {source.path}: is named twice, and not in the same way")
        if any(other.name == source.name for other in kept):
            raise UsageError(f"{source.option} {source.path}: another source is named {source.name!r} too; rename one")
        kept.append(source)
        yield source


def read_inputs(texts: Iterable[str], metadata: Iterable[str]) -> Inputs:
    """The sources and tables that options and files of sources name. Raises UsageError."""
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


def _read(table: Table, read: Callable[[str], list[str]] | None = None) -> Table:
    header = tuple(read(table.path) if read else require_table(table.option, table.path))
    return table._replace(header=header, layout=recognize(header))


def _readable(table: Table, notes: list[str]) -> Iterator[Table]:
    """A `metadata.csv` that lies beside images, read; none, with a note, when it is damaged."""
    try:
        yield _read(table, read_header)
    except TableError as error:
        notes.append(f"{printable(table.path)} is ignored: {error}")


def _speaking(table: Table, columns: Columns, notes: list[str]) -> Iterator[Table]:
    """The same table as it will be read; none, with a note, when it is something else, which may have any name."""
    columns = columns.among(table.header)
    has_id = columns.id_column(table.header)
    if has_id and has_facts(table.header, columns):
        yield table._replace(columns=columns)
        return
    lacks = "lesion_id, label or licence" if has_id else "image id"
    notes.append(
        f"{printable(table.path)} is ignored: no {lacks} column (it has {in_line(table.header, _LONGEST_LIST)})"
    )


def _with_tables(source: Source, notes: list[str]) -> Source:
    """The source with the tables that it names, else with those that lie beside its images; nothing is checked yet.

    notes: gets a line for each found table that cannot be read.
    """
    if source.tables:
        return source._replace(tables=tuple(map(_read, source.tables)))
    paths = find_metadata(source) if source.layout == RECOGNIZE else find_layout_tables(source)
    tables = [Table(path, option=source.option, found=True) for path in paths]
    if source.layout == RECOGNIZE:
        return source._replace(tables=tuple(good for table in tables for good in _readable(table, notes)))
    return source._replace(tables=tuple(map(_read, tables)))


def _require_columns(headers: Iterable[Iterable[str]], wanted: Columns, option: Callable[[str], str]) -> None:
    """Raise UsageError when a column that was named is in no table. option: from what it was named for."""
    names = list(dict.fromkeys(name for header in headers for name in header))
    for what in Columns.names():
        column = getattr(wanted, what)
        if column and column not in names:
            raise UsageError(f"{option(what)} {column}: no table has this column; there are {in_line(names) or 'none'}")


def _with_columns(table: Table, wanted: Columns) -> Table:
    """A table as it will be read. Where it lacks columns that were named, it may have the known ones."""
    columns = wanted.among(table.header)
    if columns.id_column(table.header) is None:
        columns = wanted  # the message names the column that was asked for
    require_columns(table.option, table.path, table.header, columns)
    return table._replace(columns=columns)


def _has_main(layout: str, tables: Iterable[Table]) -> bool:
    forms = (form_of(layout, table.header) for table in tables)
    return any(form is not None and form.main for form in forms)


def _require_layout(source: Source, shared: Sequence[Table]) -> None:
    """Raise UsageError unless a source of a layout that has tables of its own has these, and no others."""
    title, needed = LAYOUTS[source.layout].title, describe_forms(source.layout)
    for table in source.tables:
        if form_of(source.layout, table.header) is None:
            lacking = missing_columns(source.layout, table.header)
            raise UsageError(
                f"{table.option} {table.path}: is no {title}; it lacks {'column' if len(lacking) == 1 else 'columns'} "
                f"{', '.join(lacking)}; it has {in_line(table.header)}"
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
    """The source with its tables as they will be read. notes: gets a line for each found table that will not be."""
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
    """A found table that is also named is read once, as the named one."""
    if not table.found:
        return table
    return next((other for other in shared if storage.same_place(other.path, table.path)), table)


def _names(sources: Sequence[Source], shared: Sequence[Table]) -> dict[str, str]:
    """How each table, by its path, is called: by its file name; where others are called so too, by its source's and
    its own (`kaggle/metadata.csv`), else by its path."""
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
    """The sources with the tables beside their images, each table with its columns, layout and name.

    columns: those that options name; other_columns: of another table that may have them. Raises UsageError unless
    every table that was named, or that a named layout needs, can be read and has what it should; a `metadata.csv` that
    was merely found and is no such table is left out, with a note.
    """
    notes = list(inputs.notes)
    sources = [_with_tables(source, notes) for source in inputs.sources]
    shared = [_read(table) for table in inputs.metadata]
    found = [table for source in sources for table in source.tables if table.found]
    headers = [*(table.header for table in (*shared, *found)), other_columns]
    _require_columns(headers, columns, lambda what: f"--{what}_column")
    shared = [_with_columns(table, columns) for table in shared]
    sources = [_checked(source, shared, columns, notes) for source in sources]
    sources = [source._replace(tables=tuple(_as_named(table, shared) for table in source.tables)) for source in sources]
    names = _names(sources, shared)

    def called(tables: Iterable[Table]) -> tuple[Table, ...]:
        return tuple(table._replace(name=names[table.path]) for table in tables)

    completed = tuple(source._replace(tables=called(source.tables)) for source in sources)
    return Inputs(completed, called(shared), tuple(dict.fromkeys(notes)))


def trusted_name(text: str, inputs: Inputs) -> str | None:
    """What `trust=text` means among the sources, as claims call it; None when there is no such source."""
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
        # Two tables of one name in one source: which of them is meant cannot be told.
        return meant.pop() if len(meant) == 1 else None
    known = {FOLDER, *(source.name for source in inputs.sources)}
    known.update(file_name(path) for path in _tables(inputs))
    return text if text in known else None


def _tables(inputs: Inputs) -> dict[str, str]:
    """The name of each table, by path."""
    tables = [*inputs.metadata, *(table for source in inputs.sources for table in source.tables)]
    return {table.path: table.name for table in tables}


def known_sources(inputs: Inputs) -> list[str]:
    """What may stand after `trust=`, for a message."""
    return list(dict.fromkeys([FOLDER, *_tables(inputs).values(), *(source.name for source in inputs.sources)]))
