"""List the files in a folder that may be tables, by their names; in a bucket without looking at the images there.

Tables in a zip count where the zip lies.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import re
from collections.abc import Iterator

from pipelines.common.csv_tables import TableError
from pipelines.common.gcs_client import is_gs, require_service, split_path
from pipelines.domain.image_ids import is_image_name
from pipelines.domain.layout_registry import LAYOUTS
from pipelines.domain.system_files import file_kind, folder_kind, system_kind
from pipelines.sources.archive_listing import is_unpacked
from pipelines.storage import filesystem, gcs_listing
from pipelines.storage.archive_member import ArchiveError
from pipelines.storage.archives import list_members, member_path
from pipelines.storage.parquet_archive import EXTENSION as PARQUET
from pipelines.storage.parquet_archive import image_column

# Dataverse serves the HAM10000 table without an extension.
BARE_TABLE = "HAM10000_metadata"
# Dataverse also serves tables as .tab.
_EXTENSIONS = (".csv", ".tsv", ".tab", ".xlsx")
_ZIP = ".zip"
# Tables of an archive that a message names.
_NAMED = 3
# Fixed names of tables that do not end so.
_OTHER_NAMES = (
    BARE_TABLE,
    *(layout.file for layout in LAYOUTS.values() if layout.file and not layout.file.endswith(_EXTENSIONS)),
)
# How far below a folder to search for tables: sets on Hugging Face have `default/train/0000.parquet`.
_DEPTH = 2
_WILDCARD = re.compile(r"[*?\[\]{}\\]")


def is_table_name(name: str) -> bool:
    """Return whether a file is named like a table; Parquet files with images are told by `image_column`."""
    return name.lower().endswith(_EXTENSIONS) or name in _OTHER_NAMES


def _may_be_table(name: str) -> bool:
    """Return whether a file is named like a table, or like what may hold one."""
    return (is_table_name(name) or name.lower().endswith((PARQUET, _ZIP))) and not file_kind(name)


def _any_case(extension: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in extension)


_GLOB = f"{{{','.join((*(f'*{_any_case(end)}' for end in (*_EXTENSIONS, PARQUET, _ZIP)), *_OTHER_NAMES))}}}"


def _is_wanted(relative: str) -> bool:
    return _may_be_table(posixpath.basename(relative)) and not system_kind(relative)


def _in_bucket(folder: str, depth: int) -> Iterator[str]:
    """Yield the objects that may be tables so many folders below a folder of a bucket; the store chooses by name."""
    bucket, name = split_path(folder)
    prefix = f"{name.rstrip('/')}/" if name.strip("/") else ""
    glob = None if _WILDCARD.search(prefix) else f"{prefix}{'*/' * depth}{_GLOB}"
    for found in gcs_listing.names_like(bucket, prefix, glob):
        if found.count("/", len(prefix)) == depth and _is_wanted(found[len(prefix) :]):
            yield f"gs://{bucket}/{found}"


def _elsewhere(folder: str) -> list[list[str]]:
    """Return the files by depth below a folder of a store that can only list all."""
    start = folder.rstrip("/") + "/"
    paths = [path for path in filesystem.match(f"{start}**") if _is_wanted(path[len(start) :])]
    return [[path for path in paths if path.count("/", len(start)) == depth] for depth in range(_DEPTH + 1)]


def _local(folder: str) -> Iterator[list[str]]:
    folders = [folder]
    while True:
        paths: list[str] = []
        inner: list[str] = []
        for place in folders:
            try:
                entries = os.scandir(place or os.curdir)
            except OSError:
                continue
            with entries:
                for entry in entries:
                    if entry.is_dir():
                        if not folder_kind(entry.name):
                            inner.append(os.path.join(place, entry.name))
                    elif _may_be_table(entry.name) and entry.is_file():
                        paths.append(os.path.join(place, entry.name))
        yield paths
        folders = inner


def _names_in(folder: str) -> Iterator[list[str]]:
    if filesystem.is_local(folder):
        yield from _local(folder)
    elif is_gs(folder):
        yield from (list(_in_bucket(folder, depth)) for depth in range(_DEPTH + 1))
    else:
        yield from _elsewhere(folder)


def tables_in_archive(archive: str, with_images: bool = True) -> list[str]:
    """Return the tables in an archive, shallowest first.

    Args:
        archive: The archive.
        with_images: Whether they count too if the archive holds images.

    Raises:
        ArchiveError: If the archive cannot be listed.
    """
    names = [member.name for member in list_members(archive)]
    if not with_images and any(map(is_image_name, names)):
        return []
    tables = (name for name in names if is_table_name(posixpath.basename(name)))
    return [member_path(archive, name) for name in sorted(tables, key=lambda name: (name.count("/"), name))]


def only_table(archive: str) -> str:
    """Return the table in an archive.

    Raises:
        TableError: If there are several or none, or the archive cannot be listed.
    """
    try:
        tables = tables_in_archive(archive)
    except ArchiveError as error:
        raise TableError(f"is an archive that cannot be listed ({error})") from error
    if len(tables) != 1:
        raise TableError(f"is an archive; name the table in it: {' or '.join(tables[:_NAMED]) or 'it has none'}")
    return tables[0]


def _tables_of(path: str, with_images: bool) -> list[str]:
    """Return a table as such, and the tables that a zip holds unless it lies unpacked beside itself."""
    if path.lower().endswith(PARQUET):
        return [path] if image_column(path) else []
    if not path.lower().endswith(_ZIP):
        return [path]
    try:
        return [] if is_unpacked(path) else tables_in_archive(path, with_images)
    except ArchiveError as error:  # the listing of the images says so
        require_service(path, error.source)
        return []


def tables_by_depth(folder: str, depth: int = _DEPTH, with_images: bool = True) -> Iterator[list[str]]:
    """Yield the tables in a folder, sorted, then those in the folders in it, and so on.

    Folders of systems (see `system_files`) are left out. A Parquet file is a table here if it holds images.

    Args:
        folder: The folder; if it does not exist, there are none.
        depth: The number of folders to go down.
        with_images: Whether tables count too that lie in a zip beside images.
    """
    for _, paths in zip(range(depth + 1), _names_in(folder), strict=False):
        yield sorted(itertools.chain.from_iterable(_tables_of(path, with_images) for path in paths))


def tables_in(folder: str, with_images: bool = False) -> list[str]:
    """Return the tables directly in a folder, sorted; empty if the folder does not exist.

    Args:
        folder: The folder.
        with_images: Whether tables count too that lie in a zip beside images, which are of those images alone.
    """
    return next(tables_by_depth(folder, 0, with_images))
