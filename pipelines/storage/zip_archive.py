"""Members of a `.zip` archive: its index, and their bytes."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pipelines.storage.archive_member import DEFLATE64, STORED, ArchiveError, Member, read_at, truncated
from pipelines.storage.errors import StorageError

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED_FLAG = 0x1
_UTF8_FLAG = 0x800
# Unix and macOS: the upper half of external_attr is the file mode.
_UNIX_SYSTEMS = (3, 19)
# Bytes that are fed to Deflate64 for the first of its content.
_HEAD_PACKED = 1 << 10
# Larger members are inflated piece by piece: bytes after and before.
_PIECE, _PACKED_PIECE = 8 << 20, 64 << 10


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


def zip_members(file: BinaryIO) -> Iterator[Member]:
    """Yield the files in a zip archive, in the order of its index."""
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


def zip_content(file: BinaryIO, data: memoryview, member: Member) -> bytes:
    """Return the content of a member after checking its size and CRC.

    Args:
        file: The archive.
        data: What was read of it from the member's offset on.
        member: The member.

    Raises:
        ArchiveError: If the member is damaged, truncated or encrypted.
    """
    packed = _data(file, data, member)
    if len(packed) < member.compressed:
        raise truncated(member.compressed - len(packed))
    content = _unpack(packed, member)
    if len(content) != member.size:
        raise ArchiveError(f"damaged: size is not the {member.size} bytes that the index says")
    if member.crc >= 0 and zlib.crc32(content) != member.crc:
        raise ArchiveError("damaged: CRC-32 does not match")
    return content


def zip_head(file: BinaryIO, data: memoryview, member: Member, count: int) -> bytes:
    """Return the first bytes of a member; arguments as for `zip_content`."""
    packed = _data(file, data, member)
    if member.method == STORED:
        return bytes(packed[:count])
    if member.method == DEFLATE64:
        return _inflate64(packed[:_HEAD_PACKED], count)[:count]
    return _inflater().decompress(packed, count)


def _data(file: BinaryIO, data: memoryview, member: Member) -> memoryview:
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
        packed = memoryview(read_at(file, member.offset + start, member.compressed))
    return packed


def _unpack(packed: memoryview, member: Member) -> bytes:
    """Return the decompressed content.

    However much is packed, it is at most 8 MB longer than the declared size, or some 30 MB with Deflate64.
    """
    if member.method == STORED:
        return bytes(packed)
    if member.method == DEFLATE64:
        return _inflate64(packed, member.size)
    inflater = _inflater()
    try:
        if member.size <= _PIECE:
            return inflater.decompress(packed, member.size + 1)
        # At once it would take twice the memory: zlib collects blocks, which are then put together.
        content = io.BytesIO()
        for start in range(0, len(packed), _PACKED_PIECE):
            piece: bytes | memoryview = packed[start : start + _PACKED_PIECE]
            while piece and content.tell() <= member.size:
                content.write(inflater.decompress(piece, _PIECE))
                piece = inflater.unconsumed_tail
        if content.tell() <= member.size:
            content.write(inflater.flush())
        return content.getvalue()
    except zlib.error as error:
        raise ArchiveError("damaged: cannot be inflated") from error


def _inflater() -> zlib._Decompress:
    return zlib.decompressobj(-zlib.MAX_WBITS)


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
