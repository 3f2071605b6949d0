"""Find tables that the user did not name: beside the images, in the parent folder, or inside an archive."""

from __future__ import annotations

import csv
import itertools
import os
import posixpath
import re
from collections.abc import Iterable, Iterator

from pipelines.common.csv_tables import TableError
from pipelines.common.gcs_client import ServiceUnavailable, is_gs
from pipelines.common.tables import names_at
from pipelines.common.workbooks import is_workbook
from pipelines.domain.layout_registry import LAYOUTS, as_csv, form_of, recognize
from pipelines.domain.metadata_columns import COMMON_LABEL_COLUMNS, LABEL_COLUMNS, one_hot_columns, spelled
from pipelines.sources.list_files import fixed_part
from pipelines.sources.metadata_tables import file_name, table_bytes, table_head
from pipelines.sources.source import Source
from pipelines.sources.table_files import tables_by_depth, tables_in, tables_in_archive
from pipelines.storage import filesystem
from pipelines.storage.archives import holds_only_images, is_archive
from pipelines.storage.errors import StorageError
from pipelines.storage.globs import has_wildcard
from pipelines.storage.parquet_archive import image_column
from pipelines.storage.path_lists import folder_of, is_path_list

ISIC_CLI_TABLE = LAYOUTS["isic_cli"].file
# Every header is shorter; the rest of a table that is not needed may be large.
_HEADER_BYTES = 64 << 10
# Files of answers have the columns of a truth, for images of which none is known.
_ANSWERS = re.compile(r"submission|prediction|response|score", re.IGNORECASE)


def images_folder(path: str) -> str:
    """Return the folder that `beside the images` refers to.

    It contains the images of an input, or its archive or list of paths.
    """
    if filesystem.is_folder(path):
        return path
    if is_archive(path) or is_path_list(path):
        return folder_of(path)
    if has_wildcard(path):
        return folder_of(fixed_part(path))
    return folder_of(path) if filesystem.is_local(path) else path


def _parent(folder: str) -> str | None:
    if filesystem.is_local(folder):
        parent = os.path.normpath(os.path.join(folder, os.pardir))
        return None if os.path.realpath(parent) == os.path.realpath(folder or os.curdir) else parent
    parent = posixpath.dirname(folder.rstrip("/"))
    return parent if len(parent) > len(parent.partition("://")[0]) + 3 else None


def _above(folder: str) -> list[str]:
    """Return the folder above and the one above that, as far as they exist.

    ISIC 2024 comes from Kaggle with its images in `train-image/image`, and its table beside `train-image`.
    """
    above = _parent(folder)
    return [place for place in (above, None if above is None else _parent(above)) if place is not None]


def _members_by_depth(archive: str) -> list[list[str]]:
    """Return the tables in an archive, grouped by depth, shallowest first."""
    tables = [] if holds_only_images(archive) else tables_in_archive(archive)
    return [list(group) for _, group in itertools.groupby(tables, key=lambda path: path.count("/"))]


def _beginning(path: str) -> bytes:
    """Return the beginning of a table as CSV, or all of it where the beginning does not tell its columns."""
    if path.lower().endswith((".parquet", ".jsonl")):
        return table_bytes(path)
    head = table_head(path, _HEADER_BYTES)
    return table_bytes(path) if is_workbook(head) else as_csv(head)


def columns_of(path: str) -> list[str]:
    """Return the column names in the first line of a table; empty if it cannot be read as a table."""
    try:
        return names_at(_beginning(path))
    except (StorageError, ServiceUnavailable, TableError, csv.Error):  # not the table we want
        return []


def _is_whole(source: Source) -> bool:
    """Return whether a source is a folder with all that lies in it.

    The subfolders of a pattern's folder, or of a single file's, contain unrelated images too.
    """
    path = source.path
    if filesystem.is_local(path):
        return filesystem.is_folder(path)
    return not (has_wildcard(path) or is_archive(path) or is_path_list(path))


def _folders(source: Source) -> Iterator[str]:
    """Yield the folders where tables of a named layout may be, nearest first."""
    folder, inner = images_folder(source.path), LAYOUTS[source.layout].folder
    for place in (folder,) if is_archive(source.path) else (folder, *_above(folder)):
        yield place
        if inner:
            yield filesystem.join(place, inner)


def _is_cheap(folder: str) -> bool:
    """Return whether looking into a folder does not list all that lies below, as other stores would."""
    return filesystem.is_local(folder) or is_gs(folder)


def _places(source: Source) -> Iterator[list[str]]:
    """Yield the tables of each place where those of a named layout may be, nearest place first.

    Last come those below, and those in folders beside: a truth that was unpacked lies in a folder of its own.
    """
    if image_column(source.path):
        yield [source.path]
    elif is_archive(source.path):
        yield from _members_by_depth(source.path)
    own = images_folder(source.path) if _is_whole(source) else None
    yield from (tables_in(place, with_images=place == own) for place in _folders(source))
    if own is not None:
        yield from itertools.islice(tables_by_depth(own), 1, None)
    folder = images_folder(source.path)
    around = folder if is_archive(source.path) else _parent(folder)
    if around is not None and _is_cheap(around):
        yield from itertools.islice(tables_by_depth(around, 1, with_images=False), 1, None)


def find_layout_tables(source: Source) -> list[str]:
    """Return the tables of a source's named layout.

    They come from the nearest place that contains a main table of the layout, and with it the layout's other tables
    from nearer places; empty if no place has a main table.
    """
    if not LAYOUTS[source.layout].forms:
        return []
    found: dict[str, None] = {}
    for paths in _places(source):
        forms = {path: form_of(source.layout, columns_of(path)) for path in paths if not _is_answer(path)}
        fitting = {path: form for path, form in forms.items() if form}
        if any(form.main for form in fitting.values()):
            named = [path for path in fitting if file_name(path) == LAYOUTS[source.layout].file]
            return named or [*found, *fitting]
        found.update(dict.fromkeys(fitting))
    return []


def _is_answer(path: str) -> bool:
    return bool(_ANSWERS.search(file_name(path)))


def _is_published(path: str) -> bool:
    """Return whether a table is recognised as that of a published set: by its columns, or its name and one column."""
    name = file_name(path)
    if _is_answer(path):
        return False
    columns = columns_of(path)
    layout = recognize(columns)
    form = form_of(layout, columns)
    return form is not None and (len(form.columns) > 1 or name == LAYOUTS[layout].file)


def _says_the_class(path: str) -> bool:
    columns = columns_of(path)
    in_words = spelled(columns, (*LABEL_COLUMNS, *COMMON_LABEL_COLUMNS)) is not None
    return in_words or bool(one_hot_columns(columns).terms)


def _with_published(named: list[str], by_depth: Iterable[list[str]]) -> list[str]:
    """Return tables found by their name, with those of published sets down to a depth where one says the class.

    If none does, these are those at the least depth.
    """
    if any(map(_says_the_class, named)):
        return named
    published: list[list[str]] = []
    for paths in by_depth:
        published.append([path for path in paths if path not in named and _is_published(path)])
        if any(map(_says_the_class, published[-1])):
            return sorted({*named, *itertools.chain.from_iterable(published)})
    return sorted({*named, *next(filter(None, published), [])})


def find_metadata(source: Source) -> list[str]:
    """Return the tables of a source without a layout: those that its images come with.

    They are each `metadata.csv` of isic-cli and the gallery: for a folder, the one in the folder itself; failing that,
    those in its direct subfolders, as with several downloads side by side; for an archive, those at the smallest depth
    that has one. Unless these say what the images show, the tables of published sets are added down to the least depth
    at which one says it. Parquet files with images always bring their own columns.
    """
    if image_column(source.path):
        return [source.path]
    if is_path_list(source.path):
        return []
    if is_archive(source.path):
        by_depth, depths = _members_by_depth(source.path), None
    else:
        folder = images_folder(source.path)
        by_depth, depths = list(tables_by_depth(folder)) if _is_whole(source) else [tables_in(folder)], 2
    tables = [[path for path in paths if not is_archive(path)] for paths in by_depth]
    named = ([path for path in paths if file_name(path) == ISIC_CLI_TABLE] for paths in tables[:depths])
    rows = [path for paths in by_depth for path in paths if is_archive(path)]
    return [*_with_published(next(filter(None, named), []), tables), *rows]


def neighbour_of(source: Source) -> tuple[str, str] | None:
    """Return a table of a published set above a source's folder, or beside its archive, and the layout that reads it.

    Returns:
        The layout and the table; None if there is none.
    """
    folder = images_folder(source.path)
    if is_path_list(source.path) or has_wildcard(source.path):
        return None
    if not _is_cheap(folder):
        return None
    for path in itertools.chain.from_iterable(map(tables_in, [folder] if is_archive(source.path) else _above(folder))):
        if not is_archive(path) and _is_published(path):
            columns = columns_of(path)
            layout = recognize(columns)
            form = form_of(layout, columns)
            if form is not None and form.main:
                return layout, path
    return None
