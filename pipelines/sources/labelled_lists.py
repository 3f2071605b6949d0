"""Lists of paths as tables: what columns beside the paths say of the images."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import TableError
from pipelines.common.tables import require_distinct
from pipelines.common.text import printable
from pipelines.domain.image_ids import image_id_of, isic_id_of
from pipelines.domain.metadata_columns import (
    COMMON_LABEL_COLUMNS,
    LABEL_COLUMNS,
    TARGET_COLUMN,
    Columns,
    Facts,
    facts_of,
    has_facts,
    one_hot_columns,
    spelled,
)
from pipelines.sources.list_files import is_pattern, is_single_image
from pipelines.sources.metadata_tables import require_clear_classes
from pipelines.sources.source import Source, Table
from pipelines.storage.archives import is_archive
from pipelines.storage.filesystem import is_folder
from pipelines.storage.path_lists import is_path_list, list_columns, list_rows


def table_of_list(source: Source) -> Iterator[Table]:
    """Yield the list of paths that a source is as a table, if it has further columns."""
    names = list_columns(source.path)
    if len(names) > 1:
        yield Table(source.path, Columns(names[0]), header=tuple(names), option=source.option, found=True, by_path=True)


def _columns_of(table: Table, wanted: Columns) -> Columns:
    """Return the columns of a list that count; what people call the class counts where no known column says it."""
    columns = wanted.among(table.header)
    known = spelled(table.header, (*LABEL_COLUMNS, TARGET_COLUMN)) or one_hot_columns(table.header).terms
    label = columns.label or (not known and spelled(table.header, COMMON_LABEL_COLUMNS)) or ""
    return Columns(table.columns.id, label, columns.lesion, columns.patient)


def _holds_several(path: str) -> bool:
    return is_folder(path) or is_pattern(path) or is_archive(path) or is_path_list(path)


def _require_single_files(table: Table) -> None:
    """Raise UsageError if a list says something of what are several files: it cannot be said of which."""
    for path, row in list_rows(table.path):
        if is_single_image(path):
            continue
        facts = facts_of(row, "", table.columns)
        said = next(filter(None, (*facts.labels, *facts.hot, facts.lesion_id, facts.patient_id)), "")
        if said and _holds_several(path):
            raise UsageError(
                f"{table.option} {printable(table.path)}: says {said!r} of {printable(path)}, which is no single "
                "file; list its files, or leave the cell empty"
            )


def speaking_list(table: Table, wanted: Columns) -> Iterator[Table]:
    """Yield a list of paths as it will be read, if columns beside the paths say something of the images.

    Args:
        table: From `table_of_list`.
        wanted: Column names that the user gave.

    Raises:
        UsageError: If the columns cannot be used.
    """
    columns = _columns_of(table, wanted)
    if not has_facts(table.header, columns):
        return
    try:
        require_distinct(table.header)
    except TableError as error:
        raise UsageError(f"{table.option} {table.path}: {error}") from error
    require_clear_classes(table.option, table.path, table.header, columns)
    table = table._replace(columns=columns)
    _require_single_files(table)
    yield table


def list_facts(path: str, columns: Columns, name: str) -> Iterator[tuple[str, Facts]]:
    """Yield the image id and Facts of every path in a list.

    Facts are of that file alone, as other files may have its name; with an ISIC id they are of the image.

    Args:
        path: The list.
        columns: As `speaking_list` returns them.
        name: Name of the list in the Facts.
    """
    for file, row in list_rows(path):
        image, facts = image_id_of(file), facts_of(row, name, columns)
        yield image, facts if isic_id_of(image) else facts._replace(file=file)
