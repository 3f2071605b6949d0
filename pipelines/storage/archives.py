"""Read members of `.zip` and uncompressed `.tar` archives in place: local, `gs://` and any other Beam filesystem.

Nothing is unpacked to disk. `list_members` reads an archive's index once. A Member then holds everything needed to read
it, so any worker can read any member without the index. Reading is fastest in offset order.
"""

from __future__ import annotations

import contextlib
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from pipelines.common.cli import first_line
from pipelines.common.gcs_client import require_service
from pipelines.storage.errors import StorageError
from pipelines.storage.filesystem import is_folder, open_exact, open_file, read_bytes

STORED = zipfile.ZIP_STORED
DEFLATE = zipfile.ZIP_DEFLATED
# Windows Explorer writes this when an archive grows beyond 2 GiB.
DEFLATE64 = 9
# Encrypted with AES; the actual method is stored elsewhere.
_AES = 99
# A tar member with holes, whose bytes are not contiguous. Not a zip method.
_SPARSE = -1


# No photograph is larger; a larger declared size means a zip bomb or damage.
MAX_MEMBER_BYTES = 1 << 30
# Neighbours are read together: one request instead of one per image, with memory still bounded.
SPAN_BYTES = 8 << 20
# Skipping less than this costs more than reading it.
_GAP_BYTES = 64 << 10
# A zip member's data follows a header whose length is stored only in the header: 30 bytes, name, extra fields.
_HEADER_GUESS = 512


_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED_FLAG = 0x1
_UTF8_FLAG = 0x800
# Unix and macOS: the upper half of external_attr is the file mode.
_UNIX_SYSTEMS = (3, 19)


_MEMBER_PATH = re.compile(r"^(.*?\.(?:zip|tar))!/(.*)$", re.IGNORECASE | re.DOTALL)
_COMPRESSED_TAR = re.compile(r"(?:\.tar\.(?:gz|bz2|xz|zst|lz4?|lzma|z)|\.t(?:gz|bz2?|xz|zst))$", re.IGNORECASE)
_OTHER_ARCHIVE = re.compile(r"\.(7z|rar|zipx|cab|gz|bz2|xz|zst)$", re.IGNORECASE)


class ArchiveError(StorageError):
    """An archive or member that cannot be read; the reason is one short line without the path."""


class Member(NamedTuple):
    """A file in an archive."""

    # As in the archive, with forward slashes. It may be absolute or contain `..`, as nothing is unpacked.
    name: str
    offset: int  # of a zip member's local header, or of a tar member's data
    compressed: int  # bytes in the archive
    size: int  # bytes of the content
    method: int  # compression method, by its number in zip
    crc: int  # CRC-32 of the content; -1 in a tar, which has none


def is_archive(path: str) -> bool:
    """Return whether a path names an archive whose members can be read in place.

    Only the name counts, except that a folder is never an archive.
    """
    return path.lower().endswith((".zip", ".tar")) and not is_folder(path)


def unsupported_archive(path: str) -> str | None:
    """Explain why an archive cannot be read in place, judging by its name, and what to do instead.

    Returns:
        The explanation, without the path; None for any other path.
    """
    if is_folder(path):
        return None
    if _COMPRESSED_TAR.search(path):
        return "a compressed tar cannot be read at one member; give it as .tar or .zip, or unpacked"
    if found := _OTHER_ARCHIVE.search(path):
        return f"{found.group(0).lower()} archives are not read; give it as .zip or .tar, or unpacked"
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


def list_members(path: str) -> Iterator[Member]:
    """Yield the files in an archive in offset order.

    Folders, links, devices, hidden files and `__MACOSX` are left out. If a name occurs twice, the later member counts,
    as it would when unpacking. A zip's index is at its end. A tar has none and is scanned whole (on a remote
    filesystem: downloaded).

    Raises:
        ArchiveError: If the archive is damaged, truncated or cannot be opened. It is raised before the first member, so
            the list is always complete.
    """
    with _one_kind_of_error(), open_file(path) as file:
        found = _tar_members(file) if _is_tar(path) else _zip_members(file)
        by_name = {member.name: member for member in found if not _is_hidden(member.name)}
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
    with contextlib.ExitStack() as stack:
        file: BinaryIO | ArchiveError
        try:
            with _one_kind_of_error():
                file = stack.enter_context(open_exact(path))
        except ArchiveError as error:
            require_service(path, error.source)
            file = error
        for span in _spans(members):
            if isinstance(file, ArchiveError):
                yield from ((member, file) for member in span)
            else:
                yield from _read_span(path, file, span)


# Opening


def _is_tar(path: str) -> bool:
    return path.lower().endswith(".tar")


@contextlib.contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Turn every error into a one-line ArchiveError."""
    try:
        yield
    except ArchiveError:
        raise
    except StorageError as error:
        raise ArchiveError(error.summary) from error
    except Exception as error:  # zipfile, tarfile and zlib raise many kinds of errors on damaged files
        raise ArchiveError(first_line(error)) from error


# Listing


def _is_hidden(name: str) -> bool:
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in name.split("/"))


def _zip_name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & _UTF8_FLAG:
        # zipfile decoded it as cp437, as the standard says. Info-ZIP and macOS write UTF-8 without setting the flag;
        # cp437 text that happens to be valid UTF-8 is rare.
        with contextlib.suppress(UnicodeDecodeError):
            name = name.encode("cp437").decode("utf-8")
    # Old .NET writes backslashes, in violation of the standard.
    return name.replace("\\", "/")


def _is_zip_file(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system in _UNIX_SYSTEMS else 0
    return kind in (0, stat.S_IFREG)


def _zip_members(file: BinaryIO) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                name = _zip_name(info)
                if _is_zip_file(info) and not name.endswith("/"):
                    sizes = (info.compress_size, info.file_size)
                    yield Member(name, info.header_offset, *sizes, info.compress_type, info.CRC)
    except zipfile.BadZipFile as error:
        # zipfile takes any OSError for damage, also that of a store which does not answer.
        if isinstance(error.__context__, StorageError):
            raise error.__context__ from error.__context__.__cause__
        raise ArchiveError(f"not a whole zip archive ({error})") from error
    except (ValueError, struct.error, NotImplementedError) as error:
        raise ArchiveError(f"damaged zip index ({error})") from error


def _tar_name(name: str) -> str:
    # tarfile keeps bytes that are not UTF-8 as surrogates, which cannot be written to a UTF-8 file.
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _tar_members(file: BinaryIO) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
            while (info := archive.next()) is not None:
                if info.isreg():
                    method = _SPARSE if info.issparse() else STORED
                    yield Member(_tar_name(info.name), info.offset_data, info.size, info.size, method, -1)
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            _check_tar_end(file, archive.offset)
    except tarfile.TarError as error:
        raise ArchiveError(f"not a whole uncompressed tar archive ({error})") from error


def _check_tar_end(file: BinaryIO, offset: int) -> None:
    """Raise ArchiveError unless the archive ends at `offset`.

    tarfile takes anything that is not a header for the end, so whatever follows would be lost silently.
    """
    file.seek(offset)
    mark = file.read(tarfile.BLOCKSIZE)
    if len(mark) < tarfile.BLOCKSIZE or any(mark):
        raise ArchiveError(f"not a whole tar archive (no member and no end mark at byte {offset})")
    if any(file.read(tarfile.RECORDSIZE)):
        raise ArchiveError("more follows the end mark: several tar archives in one file; give them one by one")


# Reading


def _refusal(member: Member) -> str | None:
    """Return why a member is not worth reading, or None if it is."""
    if (size := max(member.size, member.compressed)) > MAX_MEMBER_BYTES:
        return f"too large: {size} bytes, at most {MAX_MEMBER_BYTES} are read"
    if member.offset < 0:
        return "damaged: the index places it before the archive's start"
    if member.method == _AES:
        return "encrypted"
    if member.method == _SPARSE:
        return "stored as a sparse file; repack without --sparse"
    if member.method not in (STORED, DEFLATE, DEFLATE64):
        name = zipfile.compressor_names.get(member.method, "unknown")  # type: ignore[attr-defined]  # not in typeshed
        return f"unsupported compression method {member.method} ({name}); repack as deflate or stored"
    return None


def _end(member: Member) -> int:
    return member.offset + (0 if _refusal(member) else _HEADER_GUESS + member.compressed)


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


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`; fewer only at the end of the file."""
    file.seek(offset)
    data = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def _read_span(path: str, file: BinaryIO, span: list[Member]) -> Iterator[tuple[Member, bytes | ArchiveError]]:
    start = max(0, span[0].offset)
    try:
        with _one_kind_of_error():
            data = memoryview(_read_at(file, start, max(0, max(map(_end, span)) - start)))
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
            with _one_kind_of_error():
                content = _content(file, data[member.offset - start :], member, _is_tar(path))
        except ArchiveError as error:
            content = error
        yield member, content


def _content(file: BinaryIO, data: memoryview, member: Member, is_tar: bool) -> bytes:
    """Return the checked content of a member, given the data that was read from its offset on."""
    if reason := _refusal(member):
        raise ArchiveError(reason)
    packed = data[: member.compressed] if is_tar else _zip_data(file, data, member)
    if len(packed) < member.compressed:
        raise ArchiveError(f"truncated: the archive ends {member.compressed - len(packed)} bytes before the member")
    content = _unpack(packed, member)
    if len(content) != member.size:
        raise ArchiveError(f"damaged: size is not the {member.size} bytes that the index says")
    if member.crc >= 0 and zlib.crc32(content) != member.crc:
        raise ArchiveError("damaged: CRC-32 does not match")
    return content


def _zip_data(file: BinaryIO, data: memoryview, member: Member) -> memoryview:
    """Return a zip member's compressed bytes, which follow its local header."""
    if len(data) < _LOCAL_HEADER.size:
        raise ArchiveError("truncated: the archive ends before the member")
    # The sizes in this header may be zero, when they follow the data; the index has the actual ones.
    signature, _, flags, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(data)
    if signature != b"PK\x03\x04":
        raise ArchiveError("damaged: no member where the index says")
    if flags & _ENCRYPTED_FLAG:
        raise ArchiveError("encrypted")
    start = _LOCAL_HEADER.size + name_length + extra_length
    packed = data[start : start + member.compressed]
    if len(packed) < member.compressed:  # the header is longer than guessed
        packed = memoryview(_read_at(file, member.offset + start, member.compressed))
    return packed


def _unpack(packed: memoryview, member: Member) -> bytes:
    """Return the decompressed content.

    However much is packed, it is at most one byte longer than the declared size, except for some 30 MB with Deflate64.
    """
    if member.method == STORED:
        return bytes(packed)
    if member.method == DEFLATE64:
        return _inflate64(packed, member.size)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return inflater.decompress(packed, member.size + 1)
    except zlib.error as error:
        raise ArchiveError("damaged: cannot be inflated") from error


def _inflate64(packed: memoryview, size: int) -> bytes:
    try:
        from zipfile_deflate64 import deflate64
    except ImportError as error:
        raise ArchiveError("deflate64 needs the package zipfile-deflate64; or repack as deflate or stored") from error
    inflater = deflate64.Deflate64()
    content = bytearray()
    # It has no output limit, so feed it 1 KiB at a time, which inflates to some 30 MB at most.
    for start in range(0, len(packed), 1 << 10):
        if len(content) > size:
            break
        try:
            content += inflater.decompress(bytes(packed[start : start + (1 << 10)]))
        except ValueError as error:
            raise ArchiveError("damaged: cannot be inflated") from error
    return bytes(content)


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
