"""Read members of archives in place: `.zip`, `.tar`, `.tar.gz`, HDF5 and Parquet, on any filesystem that Beam has.

Nothing is unpacked to disk. `list_members` reads an archive's index once. A Member then holds everything needed to read
it, so any worker can read any member without the index. Reading is fastest in offset order.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pipelines.common.gcs_client import require_service
from pipelines.domain.system_files import system_kind
from pipelines.storage.archive_member import (
    BY_NAME,
    BY_ROW,
    ArchiveError,
    Member,
    one_kind_of_error,
    read_at,
    refusal,
    truncated,
)
from pipelines.storage.filesystem import is_folder, is_local, open_exact, open_file, read_bytes
from pipelines.storage.globs import has_wildcard
from pipelines.storage.gzip_file import open_gzip
from pipelines.storage.hdf5_archive import hdf5_members, read_by_name
from pipelines.storage.parquet_archive import image_column, parquet_members, read_rows
from pipelines.storage.tar_archive import tar_members
from pipelines.storage.zip_archive import zip_content, zip_head, zip_members

# Neighbours are read together: one request instead of one per image, with memory still bounded.
SPAN_BYTES = 8 << 20
# Skipping less than this costs more than reading it.
_GAP_BYTES = 64 << 10
# A zip member's data follows a header whose length is stored only in the header: 30 bytes, name, extra fields.
_HEADER_GUESS = 512
# Compressed bytes that are more than enough for the first bytes of a member.
_HEAD_BYTES = 4 << 10

_TAR_GZ = (".tar.gz", ".tgz")
_HDF5 = (".hdf5", ".h5")
_EXTENSIONS = (".zip", ".tar", *_TAR_GZ, *_HDF5)
_MEMBER_PATH = re.compile(r"^(.*?\.(?:zip|tar|tar\.gz|tgz|hdf5|h5|parquet))!/(.*)$", re.IGNORECASE | re.DOTALL)
_COMPRESSED_TAR = re.compile(r"(?:\.tar\.(?:bz2|xz|zst|lz4?|lzma|z)|\.t(?:bz2?|xz|zst))$", re.IGNORECASE)
_OTHER_ARCHIVE = re.compile(r"\.(7z|rar|zipx|cab|gz|bz2|xz|zst)$", re.IGNORECASE)


def may_be_archive(path: str) -> bool:
    """Return whether a file is named like an archive."""
    return path.lower().endswith((*_EXTENSIONS, ".parquet"))


def is_archive(path: str) -> bool:
    """Return whether a path names an archive whose members can be read in place.

    Only the name counts, except that a folder or a pattern is never an archive, and that a Parquet file is one if it
    holds images.
    """
    if (
        not may_be_archive(path)
        or is_folder(path)
        or (has_wildcard(path) and not (is_local(path) and os.path.exists(path)))
    ):
        return False
    return path.lower().endswith(_EXTENSIONS) or image_column(path) is not None


def holds_only_images(archive: str) -> bool:
    """Return whether all members of an archive are images, whatever their names."""
    return not archive.lower().endswith((".zip", ".tar", *_TAR_GZ))


def archive_stem(path: str) -> str:
    """Return the name of an archive without its extension."""
    name = posixpath.basename(path.replace("\\", "/"))
    longest = next((end for end in _TAR_GZ if name.lower().endswith(end)), None)
    return name.removesuffix(name[-len(longest) :]) if longest else posixpath.splitext(name)[0]


def unsupported_archive(path: str) -> str | None:
    """Explain why an archive cannot be read in place, judging by its name, and what to do instead.

    Returns:
        The explanation, without the path; None for any other path.
    """
    if is_folder(path) or _is_gzip(path):
        return None
    if _COMPRESSED_TAR.search(path):
        return "only gzip is read of compressed tars; give it as .tar.gz, .tar or .zip, or unpacked"
    if found := _OTHER_ARCHIVE.search(path):
        return f"{found.group(0).lower()} archives are not read; give it as .zip, .tar or .tar.gz, or unpacked"
    return None


def member_path(archive: str, name: str) -> str:
    """Return the path of a member for display and manifests: `archive.zip!/inner/name.jpg`."""
    return f"{archive}!/{name}"


def split_member_path(path: str) -> tuple[str, str] | None:
    """Split a path made by `member_path`.

    Returns:
        The archive and the member name; None for any other path.
    """
    found = _MEMBER_PATH.match(path)
    return (found.group(1), found.group(2)) if found else None


def list_members(path: str, everything: bool = False) -> Iterator[Member]:
    """Yield the files in an archive in offset order.

    Folders, links, devices and what systems leave (see `system_files`) are left out. If a name occurs twice, the later
    member counts, as it would when unpacking. A zip's index is at its end. A tar has none and is scanned whole (on a
    remote filesystem: downloaded). In HDF5 and Parquet, all that may be an encoded image is a file.

    Args:
        path: The archive.
        everything: Whether to yield what systems leave too.

    Raises:
        ArchiveError: If the archive is damaged, truncated or cannot be opened. It is raised before the first member, so
            the list is always complete.
    """
    with one_kind_of_error():
        by_name = {member.name: member for member in _members(path) if everything or not system_kind(member.name)}
    yield from sorted(by_name.values(), key=lambda member: member.offset)


def read_member(path: str, member: Member) -> bytes:
    """Return the content of a member after checking its size and CRC; only the member's bytes are read.

    Raises:
        ArchiveError: If the member cannot be read.
    """
    _, content = next(read_members(path, [member]))
    if isinstance(content, ArchiveError):
        raise content
    return content


def read_member_head(path: str, member: Member, count: int) -> bytes:
    """Return the first bytes of a member, unchecked, without reading it to its end.

    Raises:
        ArchiveError: If they cannot be read.
    """
    if not path.lower().endswith(".zip"):
        size = min(count, member.size)
        return read_member(path, member._replace(size=size, compressed=size))
    short = member._replace(compressed=min(member.compressed, _HEAD_BYTES))
    if reason := refusal(member):
        raise ArchiveError(reason)
    with one_kind_of_error(), _open(path) as file:
        return zip_head(file, memoryview(read_at(file, short.offset, _end(short) - short.offset)), short, count)


def read_members(path: str, members: Iterable[Member]) -> Iterator[tuple[Member, bytes | ArchiveError]]:
    """Yield each member with its content, or with the error that prevented reading it.

    The archive is opened once. Neighbours in offset order are read together, up to SPAN_BYTES at a time.

    Args:
        path: The archive.
        members: Members to read, best in offset order.

    Yields:
        Every member, in the order given, with its content or an ArchiveError.

    Raises:
        ServiceUnavailable: If the store does not respond (see `gcs_client`).
    """
    members = list(members)
    if any(member.method == BY_ROW for member in members):
        yield from read_rows(path, members)
        return
    if any(member.method == BY_NAME for member in members):
        yield from read_by_name(path, members)
        return
    with contextlib.ExitStack() as stack:
        file: BinaryIO | ArchiveError
        try:
            with one_kind_of_error():
                file = stack.enter_context(_open(path))
        except ArchiveError as error:
            require_service(path, error.source)
            file = error
        for span in _spans(members):
            if isinstance(file, ArchiveError):
                yield from ((member, file) for member in span)
            else:
                yield from _read_span(path, file, span)


# Opening


def _is_gzip(path: str) -> bool:
    return path.lower().endswith(_TAR_GZ)


def _open(path: str) -> BinaryIO:
    """Open an archive so that nothing is fetched but what is asked for; offsets are those of the members."""
    return open_gzip(path) if _is_gzip(path) else open_exact(path)


# Listing


def _members(path: str) -> Iterator[Member]:
    lower = path.lower()
    if lower.endswith(_HDF5):
        yield from hdf5_members(path)
        return
    if lower.endswith(".parquet"):
        yield from parquet_members(path)
        return
    with open_gzip(path) if _is_gzip(path) else open_file(path) as file:
        yield from zip_members(file) if lower.endswith(".zip") else tar_members(file)


# Reading


def _end(member: Member) -> int:
    return member.offset + (0 if refusal(member) else _HEADER_GUESS + member.compressed)


def _spans(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Yield runs of neighbours to be read together."""
    span: list[Member] = []
    end = 0
    for member in members:
        far = span and not span[-1].offset <= member.offset <= end + _GAP_BYTES
        if far or (span and _end(member) - span[0].offset > SPAN_BYTES):
            yield span
            span, end = [], 0
        span.append(member)
        end = max(end, _end(member))
    if span:
        yield span


def _read_span(path: str, file: BinaryIO, span: list[Member]) -> Iterator[tuple[Member, bytes | ArchiveError]]:
    start = max(0, span[0].offset)
    try:
        with one_kind_of_error():
            data = memoryview(read_at(file, start, max(0, max(map(_end, span)) - start)))
    except ArchiveError as error:
        require_service(path, error.source)
        if len(span) == 1:
            yield span[0], error
        else:  # a bad spot on a disk must not cost the neighbours of the members on it
            for member in span:
                yield from _read_span(path, file, [member])
        return
    for member in span:
        content: bytes | ArchiveError
        try:
            with one_kind_of_error():
                content = _content(file, data[member.offset - start :], member, path.lower().endswith(".zip"))
        except ArchiveError as error:
            content = error
        yield member, content


def _content(file: BinaryIO, data: memoryview, member: Member, is_zip: bool) -> bytes:
    """Return the checked content of a member, given the data that was read from its offset on."""
    if reason := refusal(member):
        raise ArchiveError(reason)
    if is_zip:
        return zip_content(file, data, member)
    content = bytes(data[: member.size])
    if len(content) < member.size:
        raise truncated(member.size - len(content))
    return content


def read_file(path: str, member: Member | None = None) -> bytes:
    """Return the whole content of a listed file.

    Args:
        path: Path as listed; `archive.zip!/name` for an archive member.
        member: Location in the archive; None for a file outside archives.

    Raises:
        StorageError: If the file cannot be read.
        ServiceUnavailable: If the store does not respond (see `gcs_client`).
    """
    archive = split_member_path(path) if member else None
    return read_member(archive[0], member) if archive and member else read_bytes(path)
