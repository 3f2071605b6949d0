"""Read a gzip file from any position, without unpacking it: what was passed once is reached from a point close by.

The points of a file are kept in the process that made them, so each process passes through the file once.
"""

from __future__ import annotations

import bisect
import functools
import io
import threading
import zlib
from typing import Any, BinaryIO, NamedTuple

from pipelines.storage.archive_member import ArchiveError
from pipelines.storage.content_file import ContentFile
from pipelines.storage.file_versions import versions_of
from pipelines.storage.filesystem import open_file

_CHUNK = 64 << 10
# Bytes of content between two points, each of which takes some 50 KB: at least, and at most so many points.
_SPACING = 4 << 20
_POINTS = 512
_GZIP = zlib.MAX_WBITS | 16
# zlib's decompressor; typeshed gives it no public name.
Inflater = Any


class _Point(NamedTuple):
    """A place from which a gzip file can be read on."""

    content: int  # offset in the content
    packed: int  # offset in the file
    inflater: Inflater  # its state there; copied before use


class _Points:
    """The points known of one file, shared by its readers."""

    def __init__(self, size: int):
        self._spacing = max(_SPACING, size // _POINTS)
        self._points = [_Point(0, 0, zlib.decompressobj(_GZIP))]
        self._lock = threading.Lock()

    def before(self, offset: int) -> _Point:
        """Return a copy of the last point at or before an offset of the content."""
        with self._lock:
            index = bisect.bisect_right(self._points, offset, key=lambda point: point.content) - 1
            point = self._points[index]
            return point._replace(inflater=point.inflater.copy())

    def add(self, content: int, packed: int, inflater: Inflater) -> None:
        """Keep a point, unless one lies close before it."""
        with self._lock:
            if content >= self._points[-1].content + self._spacing:
                self._points.append(_Point(content, packed, inflater.copy()))


# A job reads few archives at a time.
@functools.lru_cache(maxsize=8)
def _points_of(path: str, version: str, size: int) -> _Points:
    return _Points(size)


class _GzipFile(ContentFile):
    """The content of a gzip file."""

    def __init__(self, file: BinaryIO, points: _Points):
        super().__init__(file)
        self._points = points
        # The piece of content that was inflated last, where it starts, and where the file goes on after it.
        self._content = b""
        self._start = self._packed = 0
        self._inflater = points.before(0).inflater

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        if not self._start <= offset <= self._start + len(self._content):
            self._go(offset)
        self._position = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        while self._position >= self._start + len(self._content):
            if not self._next():
                return 0
        begin = self._position - self._start
        data = self._content[begin : begin + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _go(self, offset: int) -> None:
        """Continue at the last point before an offset, unless that would be going back."""
        point = self._points.before(offset)
        end = self._start + len(self._content)
        if not point.content <= end <= offset:
            self._inflater, self._packed = point.inflater, point.packed
            self._start, self._content = point.content, b""
            self._file.seek(point.packed)
        self._position = offset

    def _next(self) -> bool:
        """Inflate the next piece; return False at the end."""
        packed = self._file.read(_CHUNK)
        start = self._start + len(self._content)
        if not packed:
            if self._inflater.eof or not start:
                return False
            raise ArchiveError("truncated: the gzip file ends within its content")
        parts = []
        self._packed += len(packed)
        while packed:
            if self._inflater.eof:  # several gzip files in one, as parallel compressors write them
                if not packed.strip(b"\0"):
                    break
                self._inflater = zlib.decompressobj(_GZIP)
            parts.append(self._inflater.decompress(packed))
            packed = self._inflater.unused_data
        self._start, self._content = start, b"".join(parts)
        if not self._inflater.eof:
            self._points.add(start + len(self._content), self._packed, self._inflater)
        return True


def open_gzip(path: str) -> BinaryIO:
    """Open a gzip file for reading its content, from any position.

    Raises:
        StorageError: If the file cannot be opened. Reading it raises the same, or zlib.error if it is damaged.
    """
    file = open_file(path)
    (state,) = versions_of([path])
    return io.BufferedReader(_GzipFile(file, _points_of(path, state.version, state.size)))
