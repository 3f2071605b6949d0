"""Members of `.zip` and uncompressed `.tar` archives, read in place: local, `gs://` and any other Beam filesystem.

Nothing is unpacked to disk. `list_members` reads an archive's index once; a Member then says all that reading it
takes, so any worker reads any member without the index. Members in offset order are read fastest.
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

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.gcs_client import require_service
from pipelines.storage import is_folder, is_local

STORED = zipfile.ZIP_STORED
DEFLATE = zipfile.ZIP_DEFLATED
# What Windows Explorer writes when the archive grows beyond 2 GiB.
DEFLATE64 = 9
# Encrypted with AES; the true method is elsewhere.
_AES = 99
# A tar member with holes; its bytes are not in one piece. Not a zip method.
_SPARSE = -1

# No photograph is larger; a declared size beyond it is a bomb or damage.
MAX_MEMBER_BYTES = 1 << 30
# Neighbours are read together: one request instead of one for each image, and still flat memory.
SPAN_BYTES = 8 << 20
# Skipping less than this costs more than reading it.
_GAP_BYTES = 64 << 10
# A zip member's data follows a header whose length only the header knows: 30 bytes, the name, extra fields.
_HEADER_GUESS = 512

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED_FLAG = 0x1
_UTF8_FLAG = 0x800
# Unix, macOS: the upper half of external_attr is the file's mode.
_UNIX_SYSTEMS = (3, 19)

_MEMBER_PATH = re.compile(r"^(.*?\.(?:zip|tar))!/(.*)$", re.IGNORECASE | re.DOTALL)
_COMPRESSED_TAR = re.compile(r"(?:\.tar\.(?:gz|bz2|xz|zst|lz4?|lzma|z)|\.t(?:gz|bz2?|xz|zst))$", re.IGNORECASE)
_OTHER_ARCHIVE = re.compile(r"\.(7z|rar|zipx|cab|gz|bz2|xz|zst)$", re.IGNORECASE)


class ArchiveError(OSError):
    """An archive or a member that cannot be read; the message is one short line that does not repeat the path."""


class Member(NamedTuple):
    """A file in an archive.

    name: as in the archive, with forward slashes; it may be absolute or hold `..`, for nothing is unpacked by it.
    offset: of a zip member's local header, of a tar member's data. compressed, size: bytes in the archive and out of
    it. method: zip's number for the compression. crc: CRC-32 of the content, -1 where there is none (tar).
    """

    name: str
    offset: int
    compressed: int
    size: int
    method: int
    crc: int


def is_archive(path: str) -> bool:
    """Whether a file's name says that its members can be read in place; a folder is none, whatever its name."""
    return path.lower().endswith((".zip", ".tar")) and not is_folder(path)


def unsupported_archive(path: str) -> str | None:
    """Why an archive of this name cannot be read in place, with the way out; None for every other path."""
    if is_folder(path):
        return None
    if _COMPRESSED_TAR.search(path):
        return "a compressed tar cannot be read at one member; give it as .tar or .zip, or unpacked"
    if found := _OTHER_ARCHIVE.search(path):
        return f"{found.group(0).lower()} archives are not read; give it as .zip or .tar, or unpacked"
    return None


def member_path(archive: str, name: str) -> str:
    """One text for a member, for display and manifests: `archive.zip!/inner/name.jpg`."""
    return f"{archive}!/{name}"


def split_member_path(path: str) -> tuple[str, str] | None:
    """Archive and member name of what `member_path` gave; None for any other path."""
    found = _MEMBER_PATH.match(path)
    return (found.group(1), found.group(2)) if found else None


def list_members(path: str) -> Iterator[Member]:
    """The files in an archive in offset order; without folders, links, devices, hidden files and `__MACOSX`.

    Of one name that comes twice, the later member, which is what unpacking would leave. The list is complete:
    ArchiveError is raised before the first member when the archive is damaged, cut short or cannot be opened.
    A zip's index is at its end; a tar has none and is passed through whole (on a remote filesystem: downloaded).
    """
    with _one_kind_of_error(), _open_for_listing(path) as file:
        found = _tar_members(file) if _is_tar(path) else _zip_members(file)
        by_name = {member.name: member for member in found if not _is_hidden(member.name)}
    yield from sorted(by_name.values(), key=lambda member: member.offset)


def read_member(path: str, member: Member) -> bytes:
    """A member's content, its size and CRC checked; reads the member's bytes only. Raises ArchiveError."""
    _, content = next(read_members(path, [member]))
    if isinstance(content, ArchiveError):
        raise content
    return content


def read_members(path: str, members: Iterable[Member]) -> Iterator[tuple[Member, bytes | ArchiveError]]:
    """Each member with its content, or with why it cannot be read; in the order given, never fewer.

    The archive is opened once, and neighbours in offset order are read together, at most SPAN_BYTES at a time.
    Raises ServiceUnavailable (see `gcs_client`).
    """
    with contextlib.ExitStack() as stack:
        file: BinaryIO | ArchiveError
        try:
            with _one_kind_of_error():
                file = stack.enter_context(_open_for_reading(path))
        except ArchiveError as error:
            require_service(path, error.__cause__)
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
    """Every filesystem and format library raises its own kinds; here they become ArchiveError, one line each."""
    try:
        yield
    except ArchiveError:
        raise
    except Exception as error:
        text = (isinstance(error, OSError) and error.strerror) or str(error) or error.__class__.__name__
        raise ArchiveError(text.splitlines()[0]) from error


def _open_for_listing(path: str) -> BinaryIO:
    if is_local(path):
        return open(path, "rb")
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _open_for_reading(path: str) -> BinaryIO:
    if path.startswith("gs://"):
        # FileSystems.open fetches 16 MiB around whatever is asked for; we ask for what we need.
        storage = FileSystems.get_filesystem(path)._gcsIO()  # type: ignore[attr-defined]
        return storage.open(path, "rb", read_buffer_size=1)
    return _open_for_listing(path)


# Listing


def _is_hidden(name: str) -> bool:
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in name.split("/"))


def _zip_name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & _UTF8_FLAG:
        # zipfile took it for cp437, as the standard has it. Info-ZIP and macOS write UTF-8 and do not say so;
        # text in cp437 that happens to be valid UTF-8 is rare.
        with contextlib.suppress(UnicodeDecodeError):
            name = name.encode("cp437").decode("utf-8")
    # Old .NET writes backslashes, against the standard.
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
        raise ArchiveError(f"not a whole zip archive ({error})") from error
    except (ValueError, struct.error, NotImplementedError) as error:
        raise ArchiveError(f"damaged zip index ({error})") from error


def _tar_name(name: str) -> str:
    # tarfile keeps bytes that are not UTF-8 as surrogates, which no UTF-8 file can hold.
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
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
            _check_tar_end(file, archive.offset)
    except tarfile.TarError as error:
        raise ArchiveError(f"not a whole uncompressed tar archive ({error})") from error


def _check_tar_end(file: BinaryIO, offset: int) -> None:
    """tarfile takes anything that is not a header for the end; what follows would be lost without a word."""
    file.seek(offset)
    mark = file.read(tarfile.BLOCKSIZE)
    if len(mark) < tarfile.BLOCKSIZE or any(mark):
        raise ArchiveError(f"not a whole tar archive (no member and no end mark at byte {offset})")
    if any(file.read(tarfile.RECORDSIZE)):
        raise ArchiveError("more follows the end mark: several tar archives in one file; give them one by one")


# Reading


def _refusal(member: Member) -> str | None:
    """Why a member is not worth reading."""
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
    """Runs of neighbours that are read together."""
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
    """`length` bytes from `offset`, fewer only at the end of the file."""
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
        require_service(path, error.__cause__)
        if len(span) == 1:
            yield span[0], error
        else:  # one bad spot on a disk costs the members on it, not their neighbours
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
    """data: what was read from the member's offset on."""
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
    """A zip member's packed bytes, which follow its local header."""
    if len(data) < _LOCAL_HEADER.size:
        raise ArchiveError("truncated: the archive ends before the member")
    # The sizes in this header may be zero (they follow the data then), the index has the true ones.
    signature, _, flags, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(data)
    if signature != b"PK\x03\x04":
        raise ArchiveError("damaged: no member where the index says")
    if flags & _ENCRYPTED_FLAG:
        raise ArchiveError("encrypted")
    start = _LOCAL_HEADER.size + name_length + extra_length
    packed = data[start : start + member.compressed]
    if len(packed) < member.compressed:  # a header longer than was guessed
        packed = memoryview(_read_at(file, member.offset + start, member.compressed))
    return packed


def _unpack(packed: memoryview, member: Member) -> bytes:
    """At most one byte more than the declared size, however much is packed."""
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
    # It knows no limit; 1 KiB inflates to some 30 MB at most.
    for start in range(0, len(packed), 1 << 10):
        if len(content) > size:
            break
        try:
            content += inflater.decompress(bytes(packed[start : start + (1 << 10)]))
        except ValueError as error:
            raise ArchiveError("damaged: cannot be inflated") from error
    return bytes(content)
