"""Check that a PNG is complete.

Pillow fills missing rows with black and carries on; such an image must not become a record.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Samples per pixel of each colour type (PNG specification, 3rd edition, table 8).
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7: first column, first row, column step and row step of each pass (section 8.2).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

# Pixel data are inflated this much at a time.
_AT_ONCE = 1 << 20


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and content of each chunk up to and including IEND.

    Raises:
        ValueError: A chunk is damaged, or the data end before IEND.
    """
    position = len(SIGNATURE)
    while True:
        header = data[position : position + 8]
        if len(header) < 8:
            raise ValueError("ends before its end chunk")
        length, kind = struct.unpack(">I4s", header)
        content = data[position + 8 : position + 8 + length]
        check = data[position + 8 + length : position + 12 + length]
        if len(check) < 4:
            raise ValueError("ends in the middle of a chunk")
        if zlib.crc32(kind + content) != int.from_bytes(check, "big"):
            raise ValueError(f"chunk {kind.decode('latin-1')!r} is damaged")
        yield kind, content
        if kind == b"IEND":
            return
        position += 12 + length


def _expected_bytes(header: bytes) -> int:
    """Return the size in bytes of all filtered rows, before compression, of an image with this IHDR content."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = _SAMPLES[colour] * depth

    def rows(columns: int, lines: int) -> int:
        return lines * (1 + (columns * bits + 7) // 8) if columns else 0

    if not interlaced:
        return rows(width, height)
    return sum(
        rows(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _PASSES if x < width and y < height
    )


def _inflated(inflater: zlib._Decompress, content: bytes, most: int) -> int:
    """Return the number of bytes that pixel data inflate to, counted up to `most`.

    A megabyte of a file can stand for a gigabyte of zeros, so they are neither held together nor inflated to the end.
    """
    found = 0
    while found < most:
        limit = min(_AT_ONCE, most - found)
        size = len(inflater.decompress(content, limit))
        found += size
        if size < limit:
            break
        content = inflater.unconsumed_tail
    return found


def require_whole_png(data: bytes) -> None:
    """Raise ValueError unless all chunks are intact, no row is missing, and a palette exists if one is needed.

    Pixel data beyond the last row are not looked at; decoders do not use them either.

    Args:
        data: A PNG file. Its signature is not checked.

    Raises:
        ValueError: What is wrong, as the end of a sentence about the file.
    """
    header, palette, found, expected = b"", False, 0, 0
    inflater = zlib.decompressobj()
    for kind, content in _chunks(data):
        if kind == b"IHDR":
            header = content
            if len(header) != 13 or header[9] not in _SAMPLES:
                raise ValueError("has no valid header")
            expected = _expected_bytes(header)
        elif kind == b"PLTE":
            palette = True
        elif kind == b"IDAT":
            try:
                # One byte more than needed: then inflating reaches the checksum.
                found += _inflated(inflater, content, expected + 1 - found)
            except zlib.error as error:
                raise ValueError(f"pixel data are damaged ({error})") from error
        elif kind[0] & 0x20 == 0 and kind != b"IEND":
            raise ValueError(f"chunk {kind.decode('latin-1')!r} is needed to read it, but unknown")
    if not header:
        raise ValueError("has no valid header")
    if header[9] == 3 and not palette:
        raise ValueError("has no palette")
    if found < expected:
        raise ValueError("has fewer rows than its header says")
