"""A listed file: where it is, what the listing says of it, and whether it should be an image."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipelines.dataset.tfrecord import RecordPlace
from pipelines.domain.image_ids import is_image_name
from pipelines.storage.archive_member import Member
from pipelines.storage.archives import holds_only_images, split_member_path
from pipelines.storage.filesystem import is_local

# Kind of a file that is an image although its name does not say so.
IMAGE = "image"


class SourceFile(NamedTuple):
    """A listed file."""

    # `archive.zip!/name` for an archive member, `SHARD!/IMAGE_ID` for a record (see `record_source`).
    path: str
    relative: str  # path below the input under which the file was found, with forward slashes
    size: int  # in bytes
    member: Member | None = None  # location in an archive
    # What the listing says about the content beyond the size (see `file_states`), or empty. For a zip member, `crc32:`
    # and eight hexadecimal digits.
    version: str = ""
    record: RecordPlace | None = None  # location in a shard
    # Why an archive or folder below an input cannot be listed, as `kind: reason`. It is then an image that cannot be
    # read.
    failure: str = ""
    # IMAGE, what kind of dropping of a system the file is or lies in (see `system_files`), or empty. A dropping may
    # also be a folder, which is not looked into.
    kind: str = ""

    @property
    def is_image(self) -> bool:
        """Return whether this should be an image: by name or first bytes, or as what a dataset or HDF5 holds."""
        if self.kind:
            return self.kind == IMAGE
        named = bool(self.failure) or is_image_name(self.path)
        return named or self.is_record or (self.member is not None and self._is_datum())

    @property
    def is_passed_over(self) -> bool:
        """Return whether this is a dropping of a system, which no job takes for a file of its input."""
        return self.kind not in ("", IMAGE)

    @property
    def is_record(self) -> bool:
        """Return whether the bytes are an image as prepare stored it, not an original image file."""
        return self.record is not None

    def _is_datum(self) -> bool:
        return holds_only_images(container_of(self))


# Lists the files of one part of an input; picklable.
Unit = Callable[[], Iterator[SourceFile]]


def container_of(file: SourceFile) -> str:
    """Return the archive or shard that contains a file, or an empty string for other files."""
    if file.record:
        return file.record.shard
    inside = split_member_path(file.path) if file.member else None
    return inside[0] if inside else ""


def offset_of(file: SourceFile) -> int:
    """Return a file's offset in its archive or shard, in bytes, or 0 for other files."""
    place = file.record or file.member
    return place.offset if place else 0


def _resolved(path: str) -> str:
    """Return the canonical spelling of a path.

    Links in the folder are resolved, but a link as the file itself is kept: two links to one target are two files, in
    folders that may name different classes or splits.
    """
    if not is_local(path):
        return path
    folder, name = os.path.split(path)
    return os.path.join(_real_folder(folder), name)


# Files arrive folder by folder, so a small cache is enough.
@functools.lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    with contextlib.suppress(ValueError):  # a local path cannot contain NUL
        return os.path.realpath(folder)
    return folder


def file_place(file: SourceFile) -> tuple[str, str]:
    """Return the container of a file and its name in it, the same for every spelling of the file's path.

    Names in an archive are not normalized: `x/../a` is not `a`.

    Returns:
        The archive or shard and the rest of the listed path. For a file outside containers, its own path and "".
    """
    container = container_of(file)
    return (_resolved(container), file.path[len(container) :]) if container else (_resolved(file.path), "")
