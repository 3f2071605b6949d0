"""Find tables that the user did not name: beside the images, in the parent folder, or inside an archive."""

from __future__ import annotations

import csv
import itertools
import os
import posixpath
from collections.abc import Iterator

from pipelines.common.csv_tables import TableError
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.common.tables import names_at
from pipelines.common.workbooks import is_workbook
from pipelines.sources.layout_registry import LAYOUTS, as_csv, form_of
from pipelines.sources.list_files import fixed_part
from pipelines.sources.metadata_tables import file_name, table_bytes
from pipelines.sources.source import Source
from pipelines.storage import filesystem
from pipelines.storage.archives import holds_only_images, is_archive, list_members, member_path, split_member_path
from pipelines.storage.errors import StorageError
from pipelines.storage.globs import has_wildcard
from pipelines.storage.parquet_archive import image_column
from pipelines.storage.path_lists import folder_of, is_path_list

# Dataverse serves the HAM10000 table without an extension.
BARE_TABLE = "HAM10000_metadata"
# Dataverse also serves tables as .tab.
_EXTENSIONS = (".csv", ".tsv", ".tab", ".xlsx")
_PATTERNS = [
    f"*.{''.join(f'[{letter}{letter.upper()}]' for letter in extension.removeprefix('.'))}" for extension in _EXTENSIONS
]
# Fixed names of tables that do not end so.
_OTHER_NAMES = (
    BARE_TABLE,
    *(layout.file for layout in LAYOUTS.values() if layout.file and not layout.file.endswith(_EXTENSIONS)),
)
ISIC_CLI_TABLE = LAYOUTS["isic_cli"].file
# Every header is shorter; the rest of a table that is not needed may be large.
_HEADER_BYTES = 64 << 10


def _is_table_name(name: str) -> bool:
    return name.lower().endswith(_EXTENSIONS) or name in _OTHER_NAMES


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


def _tables_in(folder: str) -> list[str]:
    """Return the tables directly in a folder, sorted; empty if the folder does not exist."""
    if not filesystem.is_local(folder):
        others = [filesystem.join(folder, name) for name in _OTHER_NAMES]
        found = [path for pattern in _PATTERNS for path in filesystem.match(filesystem.join(folder, pattern))]
        found += filter(image_column, filesystem.match(filesystem.join(folder, "*.parquet")))
        return sorted([*found, *filter(filesystem.exists, others)])
    try:
        names = sorted(os.listdir(folder or os.curdir))
    except OSError:
        return []
    paths = [os.path.join(folder, name) for name in names]
    return [path for path in paths if (_is_table_name(file_name(path)) or image_column(path)) and os.path.isfile(path)]


def _members_by_depth(archive: str) -> list[list[str]]:
    """Return the tables in an archive, grouped by depth, shallowest first."""
    if holds_only_images(archive):
        return []
    names = sorted(
        (member.name for member in list_members(archive) if _is_table_name(posixpath.basename(member.name))),
        key=lambda name: (name.count("/"), name),
    )
    groups = itertools.groupby(names, key=lambda name: name.count("/"))
    return [[member_path(archive, name) for name in group] for _, group in groups]


def columns_of(path: str) -> list[str]:
    """Return the column names in the first line of a table; empty if it cannot be read as a table."""
    try:
        if split_member_path(path) or path.lower().endswith((".parquet", ".jsonl")):
            head = table_bytes(path)
        else:
            with filesystem.open_file(path) as file:
                head = file.read(_HEADER_BYTES)
                head = head + file.read() if is_workbook(head) else as_csv(head)
        return names_at(head)
    except (StorageError, ServiceUnavailable, TableError, csv.Error):  # not the table we want
        return []


def places_of(source: Source) -> list[str]:
    """Return where tables of a named layout are searched for, for a message."""
    inside = [source.path] if is_archive(source.path) else []
    return inside + [place or "." for place in _folders(source)]


def _folders(source: Source) -> Iterator[str]:
    """Yield the folders where tables of a named layout may be, nearest first."""
    folder, inner = images_folder(source.path), LAYOUTS[source.layout].folder
    for place in (folder,) if is_archive(source.path) else (folder, _parent(folder)):
        if place is not None:
            yield place
            if inner:
                yield filesystem.join(place, inner)


def _places(source: Source) -> Iterator[list[str]]:
    """Yield the tables of each place where those of a named layout may be, nearest place first."""
    if image_column(source.path):
        yield [source.path]
    elif is_archive(source.path):
        yield from _members_by_depth(source.path)
    yield from map(_tables_in, _folders(source))


def find_layout_tables(source: Source) -> list[str]:
    """Return the tables of a source's named layout.

    They come from the nearest place that contains a main table of the layout; empty if no place does.
    """
    if not LAYOUTS[source.layout].forms:
        return []
    for paths in _places(source):
        forms = {path: form_of(source.layout, columns_of(path)) for path in paths}
        fitting = {path: form for path, form in forms.items() if form}
        if any(form.main for form in fitting.values()):
            named = [path for path in fitting if file_name(path) == LAYOUTS[source.layout].file]
            return named or list(fitting)
    return []


def _below(folder: str, name: str) -> list[str]:
    """Return the files of this name in the direct subfolders of a folder, sorted; hidden folders are skipped."""
    if not filesystem.is_local(folder):
        paths = filesystem.match(filesystem.join(folder, "*", name))
    else:
        folders = (os.path.join(folder, entry) for entry in sorted(os.listdir(folder)))
        paths = [path for path in (os.path.join(inner, name) for inner in folders) if os.path.isfile(path)]
    return [path for path in paths if not posixpath.basename(folder_of(path)).startswith(".")]


def find_metadata(source: Source) -> list[str]:
    """Return every `metadata.csv` that isic-cli and the gallery leave beside images.

    For a folder, it is the one in the folder itself; failing that, those in its direct subfolders, as with several
    downloads side by side. For an archive, they are those at the smallest depth that has one.
    """
    if image_column(source.path):
        return [source.path]
    if is_archive(source.path):
        groups = (
            [path for path in group if file_name(path) == ISIC_CLI_TABLE] for group in _members_by_depth(source.path)
        )
        return next(filter(None, groups), [])
    if is_path_list(source.path):
        return []
    folder = images_folder(source.path)
    path = filesystem.join(folder, ISIC_CLI_TABLE)
    if filesystem.exists(path):
        return [path]
    # The subfolders of a pattern's folder, or of a single file's, contain unrelated images too.
    whole = filesystem.is_folder(source.path) or not (filesystem.is_local(source.path) or has_wildcard(source.path))
    return _below(folder, ISIC_CLI_TABLE) if whole else []
