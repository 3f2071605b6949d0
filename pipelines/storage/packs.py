"""Keep many small byte strings in a few files, and read any of them again.

A job that makes something of each image in one stage and needs it in a later one puts it into a pack and hands on where
it lies. What crosses a shuffle stays small, and no file is read or decoded a second time. A pack is written once, whole
and under a name of its own, so a repeated bundle overwrites nothing, and what it leaves behind is never referred to.
"""

from __future__ import annotations

import gzip
import io
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import google_crc32c

from pipelines.storage import filesystem

SUFFIX = ".pack"
# A pack is held in memory until it is written. Larger packs mean fewer requests to a store.
PACK_BYTES = 32 << 20
# Its items wait in memory as well.
PACK_ITEMS = 8192
# Pieces closer together than this are read at once. On a store, a request takes as long as a mebibyte.
_GAP, _STORE_GAP = 1 << 16, 1 << 20
# No more than this is read at once.
_SPAN_BYTES = 8 << 20
# A compressed file is read from its start, this much at a time.
_AT_ONCE = 1 << 20

Item = TypeVar("Item")


class Piece(NamedTuple):
    """A byte string in a file."""

    offset: int  # in bytes
    length: int  # in bytes
    crc: int  # CRC-32C of the content


def piece_of(content: bytes, offset: int) -> Piece:
    """Return the Piece of a content that is written at an offset."""
    return Piece(offset, len(content), google_crc32c.value(content))


class Packed(NamedTuple, Generic[Item]):
    """An item whose byte strings have been written to a pack."""

    item: Item
    pack: str  # file name
    pieces: tuple[Piece, ...]  # one per byte string


class PackWriter(Generic[Item]):
    """Collect items with their byte strings, and write them to packs of bounded size.

    Args:
        folder: The folder for the packs.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self._waiting: list[tuple[Any, Item, Sequence[bytes]]] = []
        self._size = 0

    def add(self, item: Item, order: int, contents: Sequence[bytes]) -> list[Packed[Item]]:
        """Add an item, and write a pack if enough has been collected.

        Args:
            item: What to return once its contents are written.
            order: The items of a pack are written in this order. What is read together should be close together.
            contents: The byte strings of the item. The first of all items come first in the pack, then the second, and
                so on.

        Returns:
            The items of the pack that was written; empty if none was.
        """
        self._waiting.append((order, item, contents))
        self._size += sum(map(len, contents))
        return self.flush() if self._size >= PACK_BYTES or len(self._waiting) >= PACK_ITEMS else []

    def flush(self) -> list[Packed[Item]]:
        """Write a pack of what has been collected, and return its items; write nothing if there are none."""
        if not self._waiting:
            return []
        waiting, self._waiting, self._size = self._waiting, [], 0
        waiting.sort(key=lambda entry: entry[0])
        name = f"{uuid.uuid4().hex[:16]}{SUFFIX}"
        pieces: list[list[Piece]] = [[] for _ in waiting]
        written: list[bytes] = []
        offset = 0
        for place in range(max(len(contents) for _, _, contents in waiting)):
            for own, (_, _, contents) in zip(pieces, waiting, strict=True):
                if place < len(contents):
                    own.append(piece_of(contents[place], offset))
                    written.append(contents[place])
                    offset += len(contents[place])
        filesystem.write_bytes(filesystem.join(self._folder, name), b"".join(written))
        return [Packed(item, name, tuple(own)) for (_, item, _), own in zip(waiting, pieces, strict=True)]


def _spans(pieces: Iterable[Piece], gap: int) -> Iterator[list[Piece]]:
    span: list[Piece] = []
    for piece in sorted(pieces):
        end = span[-1].offset + span[-1].length if span else 0
        if span and (piece.offset - end > gap or piece.offset + piece.length - span[0].offset > _SPAN_BYTES):
            yield span
            span = []
        span.append(piece)
    if span:
        yield span


def read_pieces(path: str, pieces: Iterable[Piece], compression: str = "none") -> dict[Piece, bytes]:
    """Read pieces of a file, neighbours at once.

    Args:
        path: The file.
        pieces: What to read, in any order.
        compression: One of `dataset_json.COMPRESSIONS`. Offsets count from the start of the uncompressed file.

    Returns:
        The content of each piece. A piece that the file does not hold, or that is damaged, is left out.

    Raises:
        StorageError: If the file cannot be read.
    """
    found: dict[Piece, bytes] = {}
    with filesystem.open_exact(path) as stored:
        file = stored
        if compression == "gzip":
            # It asks for 8 KiB at a time, which on a store would each be a request.
            buffered = io.BufferedReader(stored, _AT_ONCE)  # type: ignore[type-var]
            file = gzip.GzipFile(fileobj=buffered)  # type: ignore[assignment]
        for span in _spans(dict.fromkeys(pieces), _GAP if filesystem.is_local(path) else _STORE_GAP):
            start = span[0].offset
            file.seek(start)
            data = memoryview(_read(file, span[-1].offset + span[-1].length - start))
            for piece in span:
                content = bytes(data[piece.offset - start :][: piece.length])
                if len(content) == piece.length and google_crc32c.value(content) == piece.crc:
                    found[piece] = content
    return found


def _read(file: Any, size: int) -> bytes:
    """Read up to `size` bytes; fewer only at the end of the file."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
