"""List the members of archives: those that a user names, and those that are found in folders."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from pipelines.common.gcs_client import require_service
from pipelines.domain.system_files import system_kind
from pipelines.imaging.signatures import HEAD_BYTES, is_image_head
from pipelines.sources.source_file import SourceFile, Unit
from pipelines.storage.archive_member import ArchiveError
from pipelines.storage.archives import (
    archive_stem,
    holds_only_images,
    is_archive,
    list_members,
    may_be_archive,
    member_path,
    read_members,
)
from pipelines.storage.file_versions import match_versions, versions_of
from pipelines.storage.filesystem import is_local

# Members that tell whether HDF5 or Parquet holds images.
_LOOKED_AT = 8


def list_archive(archive: str, folder: str = "") -> Iterator[SourceFile]:
    """Yield the members of an archive; `folder` stands before their relative paths."""
    whole = "" if archive.lower().endswith(".zip") else versions_of([archive])[0].version
    for member in list_members(archive, everything=True):
        # A tar has no checksums: any change to the archive may be a change to this member.
        version = f"crc32:{member.crc:08x}" if member.crc >= 0 else whole and f"{whole}/offset:{member.offset}"
        # Nothing is unpacked, so any name is harmless, but it should not look like an absolute local path.
        relative = folder + posixpath.normpath("/" + member.name).lstrip("/")
        path = member_path(archive, member.name)
        yield SourceFile(path, relative, member.size, member, version, kind=system_kind(relative))


def is_unpacked(archive: str) -> bool:
    """Return whether an archive lies beside a folder of its name that holds files."""
    stem = archive_stem(archive)
    folder = archive[: archive.rindex(stem) + len(stem)]
    if not is_local(folder):
        return any(True for _ in match_versions(f"{folder}/**"))
    return any(not name.startswith(".") for _, _, names in os.walk(folder) for name in names)


def _begins_like_image(content: bytes | ArchiveError) -> bool:
    """Return whether a member may be an image, by its beginning; one that cannot be read may be."""
    return isinstance(content, ArchiveError) or is_image_head(content[:HEAD_BYTES])


def _images_in(archive: SourceFile) -> list[SourceFile]:
    """Return the members of an archive that was found in a folder; none if it holds no image.

    Raises:
        ArchiveError: If it cannot be listed.
    """
    folder = posixpath.join(posixpath.dirname(archive.relative), archive_stem(archive.path), "")
    members = list(list_archive(archive.path, folder))
    if holds_only_images(archive.path):  # by its form alone: weights of a network are arrays of bytes too
        first = read_members(archive.path, (file.member for file in members[:_LOOKED_AT] if file.member))
        return members if any(_begins_like_image(content) for _, content in first) else []
    return members if any(member.is_image for member in members) else []


def with_members(unit: Unit) -> Iterator[SourceFile]:
    """Yield the files of a unit, and for an archive that holds images its members instead, as if it were a folder.

    An archive beside a folder of its name is an ordinary file: it is taken to be unpacked there. One that cannot be
    listed is a file that cannot be read, so that it is rejected by name and the others are used.
    """
    for file in unit():
        if file.is_passed_over or not (may_be_archive(file.path) and is_archive(file.path)):
            yield file
            continue
        if is_unpacked(file.path):
            yield file
            continue
        try:
            yield from _images_in(file) or [file]
        except ArchiveError as error:
            require_service(file.path, error.source)
            yield file._replace(failure=str(error))
