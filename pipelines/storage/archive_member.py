"""A file in an archive: where it lies there, and why it may not be readable."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from pipelines.common.cli import first_line
from pipelines.storage.errors import StorageError

STORED = zipfile.ZIP_STORED
DEFLATE = zipfile.ZIP_DEFLATED
# Windows Explorer writes this when an archive grows beyond 2 GiB.
DEFLATE64 = 9
# Encrypted with AES; the actual method is stored elsewhere.
AES = 99
# A tar member with holes, whose bytes are not contiguous. Not a zip method.
SPARSE = -1
# A member of HDF5 whose bytes are not contiguous, and a row of Parquet: the library reads them. Not zip methods.
BY_NAME = -2
BY_ROW = -3

# No photograph is larger; a larger declared size means a zip bomb or damage.
MAX_MEMBER_BYTES = 1 << 30


class ArchiveError(StorageError):
    """An archive or member that cannot be read; the reason is one short line without the path."""


class Member(NamedTuple):
    """A file in an archive."""

    # As in the archive, with forward slashes. It may be absolute or contain `..`, as nothing is unpacked.
    name: str
    offset: int  # of a zip member's local header, or of the data; the number of a member that a library reads
    compressed: int  # bytes in the archive
    size: int  # bytes of the content
    method: int  # compression method, by its number in zip
    crc: int  # CRC-32 of the content; -1 in archives that have none: all but zip


@contextlib.contextmanager
def one_kind_of_error() -> Iterator[None]:
    """Turn every error into a one-line ArchiveError."""
    try:
        yield
    except ArchiveError:
        raise
    except StorageError as error:
        raise ArchiveError(error.summary) from error
    except Exception as error:  # zipfile, tarfile and zlib raise many kinds of errors on damaged files
        raise ArchiveError(first_line(error)) from error


def refusal(member: Member) -> str | None:
    """Return why a member is not worth reading, or None if it is."""
    if (size := max(member.size, member.compressed)) > MAX_MEMBER_BYTES:
        return f"too large: {size} bytes, at most {MAX_MEMBER_BYTES} are read"
    if member.offset < 0:
        return "damaged: the index places it before the archive's start"
    if member.method == AES:
        return "encrypted"
    if member.method == SPARSE:
        return "stored as a sparse file; repack without --sparse"
    if member.method not in (STORED, DEFLATE, DEFLATE64):
        name = zipfile.compressor_names.get(member.method, "unknown")  # type: ignore[attr-defined]  # not in typeshed
        return f"unsupported compression method {member.method} ({name}); repack as deflate or stored"
    return None


def truncated(missing: int) -> ArchiveError:
    """Return the error of a member that goes on where its archive ends."""
    return ArchiveError(f"truncated: the archive ends {missing} bytes before the member")


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`; fewer only at the end of the file."""
    file.seek(offset)
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data
