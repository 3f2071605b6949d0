"""TFRecords: framing, and reading them so that damage is found where it is, every CRC, record by record.

The format is that of tensorflow/core/lib/io/record_writer.h: length (uint64), its CRC, data, its CRC.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import google_crc32c

from pipelines import storage
from pipelines.storage import failure

COMPRESSIONS = ("none", "gzip")
_HEADER = struct.Struct("<Q4s")
_CRC_BYTES = 4
# A serialised protocol buffer cannot be longer.
_LONGEST = (1 << 31) - 1
_AT_ONCE = 1 << 20


def masked_crc(data: bytes) -> bytes:
    """CRC-32C, rotated and offset, as TFRecord wants it (tensorflow/core/lib/hash/crc32c.h)."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(example: bytes) -> bytes:
    """One TFRecord: length (uint64), its CRC, data, its CRC (tensorflow/core/lib/io/record_writer.h)."""
    length = struct.pack("<Q", len(example))
    return b"".join((length, masked_crc(length), example, masked_crc(example)))


class DamagedRecord(Exception):  # noqa: N818  the name says what it is
    """The first record that cannot be read: its number and where it starts, both from 0, and what is wrong."""

    def __init__(self, index: int, offset: int, what: str):
        super().__init__(index, offset, what)
        self.index = index
        self.offset = offset
        self.what = what


class RecordPlace(NamedTuple):
    """Where a record lies: in bytes of its shard, with length and CRCs. crc: its data's CRC as stored there."""

    shard: str
    offset: int
    size: int
    crc: bytes


class HashedFile(io.RawIOBase):
    """What is read of a file, counted and hashed on its way. `finish` reads the rest."""

    def __init__(self, file: BinaryIO):
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:  # each filesystem raises its own kinds
            raise OSError(failure(error)) from error
        self._hash.update(data)
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)

    def finish(self) -> str:
        """SHA-256 of the whole file, in hexadecimal."""
        buffer = bytearray(_AT_ONCE)
        while self.readinto(buffer):
            pass
        return self._hash.hexdigest()


class OpenShard(NamedTuple):
    """A shard being read: the stream of its records, and the file as it is stored."""

    records: BinaryIO
    stored: HashedFile


@contextlib.contextmanager
def open_shard(path: str, compression: str) -> Iterator[OpenShard]:
    """Open a shard on any filesystem, stored with one of COMPRESSIONS, to be read a MiB at a time. Raises OSError."""
    try:
        opened = storage.open_file(path)
    except Exception as error:  # each filesystem raises its own kinds
        raise OSError(failure(error)) from error
    with opened as file:
        stored = HashedFile(file)
        buffered = io.BufferedReader(stored, _AT_ONCE)
        records = gzip.GzipFile(fileobj=buffered) if compression == "gzip" else buffered
        yield OpenShard(records, stored)  # type: ignore[arg-type]


def next_frame(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """Data and CRC of the record that starts here, not compared; None at the end.

    Raises ValueError when where it ends cannot be known.
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
    """The data of the record that starts here, None at the end. Raises ValueError when it is damaged."""
    found = next_frame(stream)
    if found is None:
        return None
    data, crc = found
    if masked_crc(data) != crc:
        raise ValueError("data CRC differs")
    return data


def frame_size(data_size: int) -> int:
    """Bytes of a record in its shard, with length and CRCs."""
    return _HEADER.size + data_size + _CRC_BYTES


def read_records(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(Where it starts, data) of every record; positions are those in the stream. Raises DamagedRecord."""
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
