"""Read a file of any store in large blocks that are kept, for readers that go back and forth in it, as HDF5's does."""

from __future__ import annotations

import functools
import io
import os
from typing import Any, BinaryIO

from pipelines.storage.archive_member import read_at
from pipelines.storage.content_file import ContentFile
from pipelines.storage.file_versions import versions_of
from pipelines.storage.filesystem import open_exact

_BLOCK_BYTES = 4 << 20
_BLOCKS = 16


class _CachedBlocks(ContentFile):
    """A file, open for reading, of which the blocks that were used last are in memory."""

    def __init__(self, file: BinaryIO, size: int):
        super().__init__(file)
        self._size = size
        self._block = functools.lru_cache(_BLOCKS)(self._fetch)

    def _fetch(self, number: int) -> bytes:
        start = number * _BLOCK_BYTES
        return read_at(self._file, start, min(_BLOCK_BYTES, self._size - start))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        number, within = divmod(self._position, _BLOCK_BYTES)
        data = self._block(number)[within : within + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._block.cache_clear()
        super().close()


def open_cached(path: str) -> BinaryIO:
    """Open a file for reading from any position; each block of it is fetched once while it is in use.

    Raises:
        StorageError: If the file cannot be opened. Reading it raises the same kind.
    """
    (state,) = versions_of([path])
    return io.BufferedReader(_CachedBlocks(open_exact(path), state.size))
