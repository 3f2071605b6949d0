"""Resolve `--input` and `--metadata` into sources with their tables: parse, complete, check and name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.domain.labels import FOLDER
from pipelines.domain.layout_registry import LAYOUTS
from pipelines.domain.metadata_columns import Columns
from pipelines.sources.metadata_tables import file_name
from pipelines.sources.source import Source, Table
from pipelines.sources.source_tables import (
    as_named,
    checked,
    hint_of,
    read_table,
    require_named_columns,
    with_columns,
    with_images,
    with_images_of,
    with_tables,
)
from pipelines.sources.sources_file import is_sources_file, read_sources_file
from pipelines.storage import filesystem
from pipelines.storage.access import require_readable
from pipelines.storage.globs import has_wildcard


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
    sources = [with_tables(source, notes) for source in inputs.sources]
    shared = [read_table(table, notes) for table in inputs.metadata]
    found = [table for source in sources for table in source.tables if table.found]
    headers = [*(table.header for table in (*shared, *found)), other_columns]
    require_named_columns(headers, columns, lambda what: f"--{what}_column")
    shared = [with_columns(table, columns) for table in shared]
    sources = [checked(source, shared, columns, notes) for source in sources]
    notes += [] if shared else [line for source in sources for line in hint_of(source)]
    sources = [with_images_of(source, shared) for source in sources]
    shared = [with_images(table, shared) for table in shared]
    sources = [source._replace(tables=tuple(as_named(table, shared) for table in source.tables)) for source in sources]
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
