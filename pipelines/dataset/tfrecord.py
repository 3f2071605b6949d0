"""Frame and read TFRecords; reading checks every CRC, so that damage is located to the record.

A record is: length (uint64), CRC of the length, data, CRC of the data (tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import google_crc32c

from pipelines.storage import filesystem

_HEADER = struct.Struct("<Q4s")
# Bytes of a record before its data.
HEADER_BYTES = _HEADER.size
_CRC_BYTES = 4
# A serialised protocol buffer cannot have more bytes.
_LONGEST = (1 << 31) - 1
# Bytes to read from a file at once.
_AT_ONCE = 1 << 20


def masked_crc(data: bytes) -> bytes:
    """Return the masked CRC-32C of the data: rotated and offset, as in tensorflow/core/lib/hash/crc32c.h.

    Returns:
        4 bytes, little-endian.
    """
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(example: bytes) -> bytes:
    """Return a serialised Example as a TFRecord, with length and CRCs (tensorflow/core/lib/io/record_writer.h)."""
    length = struct.pack("<Q", len(example))
    return b"".join((length, masked_crc(length), example, masked_crc(example)))


class DamagedRecord(Exception):  # noqa: N818  the name says what it is
    """The first record of a stream that cannot be read."""

    def __init__(self, index: int, offset: int, what: str):
        """Store where the damage is.

        Args:
            index: The number of the record, from 0.
            offset: The position of its first byte in the stream, from 0.
            what: What is wrong with it.
        """
        super().__init__(index, offset, what)
        self.index = index
        self.offset = offset
        self.what = what


class RecordPlace(NamedTuple):
    """The position of a record in its shard."""

    shard: str
    offset: int  # of its first byte
    size: int  # in bytes, with length and CRCs
    crc: bytes  # masked CRC of its data, as stored in the shard


class HashedFile(io.RawIOBase):
    """A readable stream that counts and hashes the bytes that are read through it."""

    def __init__(self, file: BinaryIO):
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer.

        Args:
            buffer: A writable object with the buffer protocol, such as a bytearray or a memoryview.

        Returns:
            The number of bytes read; 0 at the end of the file.

        Raises:
            StorageError: The file cannot be read.
        """
        data = self._file.read(len(buffer))
        self._hash.update(data)
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)

    def finish(self) -> str:
        """Read the rest of the file, and return the SHA-256 of the whole file in hexadecimal."""
        buffer = bytearray(_AT_ONCE)
        while self.readinto(buffer):
            pass
        return self._hash.hexdigest()


class OpenShard(NamedTuple):
    """A shard that is open for reading."""

    records: BinaryIO  # uncompressed stream of its records
    stored: HashedFile  # the file as it is stored


@contextlib.contextmanager
def open_shard(path: str, compression: str) -> Iterator[OpenShard]:
    """Open a shard for reading, one MiB at a time.

    Args:
        path: The path of the shard, on any filesystem.
        compression: One of `dataset_json.COMPRESSIONS`.

    Raises:
        StorageError: The shard cannot be opened.
    """
    with filesystem.open_file(path) as file:
        stored = HashedFile(file)
        buffered = io.BufferedReader(stored, _AT_ONCE)
        records = gzip.GzipFile(fileobj=buffered) if compression == "gzip" else buffered
        yield OpenShard(records, stored)  # type: ignore[arg-type]


def next_frame(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """Read the next record without checking the CRC of its data.

    Args:
        stream: The stream, at the start of a record.

    Returns:
        (data, masked CRC of the data as stored); None at the end of the stream.

    Raises:
        ValueError: The end of the record cannot be determined: it is truncated, or its length is damaged.
    """
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise ValueError(f"the file ends {len(header)} bytes into its header")
    length, crc = _HEADER.unpack(header)
    if masked_crc(header[: -len(crc)]) != crc:
        raise ValueError("length CRC differs")
    if length > _LONGEST:
        raise ValueError(f"says that it has {length:,} bytes")
    data = stream.read(length)
    if len(data) < length:
        raise ValueError(f"the file ends {len(data):,} bytes into its {length:,} bytes of data")
    crc = stream.read(_CRC_BYTES)
    if len(crc) < _CRC_BYTES:
        raise ValueError("the file ends in its data CRC")
    return data, crc


def next_record(stream: BinaryIO) -> bytes | None:
    """Read the data of the next record.

    Args:
        stream: The stream, at the start of a record.

    Returns:
        The data; None at the end of the stream.

    Raises:
        ValueError: The record is truncated, or a CRC differs.
    """
    found = next_frame(stream)
    if found is None:
        return None
    data, crc = found
    if masked_crc(data) != crc:
        raise ValueError("data CRC differs")
    return data


def frame_size(data_size: int) -> int:
    """Return the size in bytes of a record in its shard, with length and CRCs, given the size of its data."""
    return _HEADER.size + data_size + _CRC_BYTES


def read_records(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Read all records of a stream.

    Args:
        stream: The uncompressed stream, at the start of the first record.

    Yields:
        (offset of the record in the stream, its data).

    Raises:
        DamagedRecord: A record cannot be read.
    """
    index = offset = 0
    while True:
        try:
            data = next_record(stream)
        except ValueError as error:
            raise DamagedRecord(index, offset, str(error)) from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DamagedRecord(index, offset, f"gzip data are damaged ({error})") from error
        if data is None:
            return
        yield offset, data
        index += 1
        offset += frame_size(len(data))
