"""Judge whether a PNG is whole, and reduce it to the chunks that its pixels come from.

Decoders differ in what they make of the other chunks, so none gets to see them. libpng, which TensorFlow uses, refuses
more of what is out of order than Pillow does; what it refuses is refused here. `png_graph` does the same in TensorFlow,
as far as libpng does not do it itself.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 13
PALETTE_COLOUR = 3
MOST_PALETTE_BYTES = 3 * 256
END_CHUNK = b"\0\0\0\0IEND\xaeB`\x82"
# Chunks whose types have this bit may be left out (PNG specification, 3rd edition, section 5.4).
ANCILLARY = 0x20
# Colour type -> samples per pixel and allowed bit depths (table 8 and section 11.2.1).
_COLOURS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
# Adam7: first column, first row, column step and row step of each pass (section 8.2).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Bytes of compressed pixel data that libpng takes at a time, and of what follows the last row. It looks for the end of
# the stream there: damage does not count, and one look is enough if it gives nothing more.
_PACKED, _BEHIND = 8192, 1024
# Rows are only counted, so they are inflated in pieces: a megabyte of a file can stand for a gigabyte of zeros.
_PIECE = 1 << 20


class _Layout(NamedTuple):
    """Where the chunks that pixels come from lie in a file; each range includes length, type and CRC of its chunks."""

    palette: tuple[int, int]  # of the palette; empty if the colour type needs none
    pixels: tuple[int, int]  # of all IDAT chunks, which follow each other
    header: tuple[int, ...]  # width, height, bit depth, colour type, compression, filter, interlacing


_HEADER_END = len(SIGNATURE) + 8 + HEADER_BYTES + 4


def _layout(data: bytes) -> _Layout:
    """Find the chunks that pixels come from; contents and CRCs are not looked at.

    Raises:
        ValueError: The chunks are not in the order that the specification asks for, or the data end before IEND.
    """
    if data[8:16] != b"\0\0\0\x0dIHDR" or len(data) < _HEADER_END:
        raise ValueError("does not begin with its header")
    header = struct.unpack(">IIBBBBB", data[16:29])
    palette = pixels = (0, 0)
    position = _HEADER_END
    while True:
        if len(data) < position + 12:
            raise ValueError("ends before its end chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise ValueError("ends in the middle of a chunk")
        if kind == b"IDAT":
            if pixels[1] not in (0, position):
                raise ValueError("has another chunk between its pixel data")
            pixels = (pixels[0] or position, end)
        elif kind == b"IEND":
            break
        elif kind == b"PLTE":
            if header[3] == PALETTE_COLOUR:
                if palette[1] or pixels[1]:
                    raise ValueError("has two palettes, or one behind its pixel data")
                if length % 3 or not 0 < length <= MOST_PALETTE_BYTES:
                    raise ValueError(f"has a palette of {length} bytes")
                palette = (position, end)
        elif not kind[0] & ANCILLARY:
            raise ValueError(f"chunk {kind.decode('latin-1')!r} is needed to read it, but unknown or out of place")
        position = end
    if header[3] == PALETTE_COLOUR and not palette[1]:
        raise ValueError("has no palette")
    if not pixels[1]:
        raise ValueError("has no pixel data")
    return _Layout(palette, pixels, header)


def plain_png(data: bytes) -> bytes:
    """Return a PNG without the chunks that its pixels do not need.

    Args:
        data: A PNG file. Its signature is not checked.

    Raises:
        ValueError: What is wrong, as the end of a sentence about the file.
    """
    layout = _layout(data)
    parts = ((0, _HEADER_END), layout.palette, layout.pixels)
    return b"".join((*(data[start:end] for start, end in parts), END_CHUNK))


def sides_of(data: bytes) -> tuple[int, int]:
    """Return the width and height that the header of a PNG gives."""
    width, height = struct.unpack_from(">II", data, len(SIGNATURE) + 8)
    return width, height


def require_valid_header(data: bytes) -> None:
    """Raise ValueError unless the header's values are among those of the specification.

    Args:
        data: What `plain_png` returned.

    Raises:
        ValueError: What is wrong, as the end of a sentence about the file.
    """
    width, height, depth, colour, *methods, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if not (width and height) or colour not in _COLOURS or depth not in _COLOURS[colour][1] or interlaced > 1:
        raise ValueError("has no valid header")
    if any(methods):
        raise ValueError("is compressed or filtered in an unknown way")


def require_whole_png(data: bytes) -> None:
    """Raise ValueError unless what the pixels need is intact, no row is missing, and libpng finds the end of the rows.

    Args:
        data: What `plain_png` returned.

    Raises:
        ValueError: What is wrong, as the end of a sentence about the file.
    """
    expected = _expected_bytes(data[16:29])
    # 0: the window may not be larger than the stream's header says, as in libpng.
    inflater = zlib.decompressobj(0)
    found = 0
    for packed in _pixel_data(data):
        while packed and not inflater.eof:
            is_behind = found >= expected
            limit = _BEHIND if found == expected else _PIECE if is_behind else min(_PIECE, expected - found)
            try:
                found += len(inflater.decompress(packed, limit))
            except zlib.error as error:
                if is_behind:
                    return
                raise ValueError(f"pixel data are damaged ({error})") from error
            if is_behind and found == expected:
                return
            packed = inflater.unconsumed_tail
    if found < expected:
        raise ValueError("has fewer rows than its header says")
    if not inflater.eof:
        raise ValueError("has compressed data without an end")


def _pixel_data(data: bytes) -> Iterator[bytes]:
    """Yield the compressed pixel data piece by piece, and check the CRC of every chunk.

    Raises:
        ValueError: A chunk is damaged.
    """
    position = len(SIGNATURE)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        start, position = position + 8, position + 12 + length
        if zlib.crc32(memoryview(data)[start - 4 : position - 4]) != int.from_bytes(
            data[position - 4 : position], "big"
        ):
            raise ValueError(f"chunk {kind.decode('latin-1')!r} is damaged")
        if kind == b"IDAT":
            yield from (
                data[piece : min(piece + _PACKED, position - 4)] for piece in range(start, position - 4, _PACKED)
            )


def _expected_bytes(header: bytes) -> int:
    """Return the size in bytes of all filtered rows, before compression, of an image with this IHDR content."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = _COLOURS[colour][0] * depth

    def rows(columns: int, lines: int) -> int:
        return lines * (1 + (columns * bits + 7) // 8) if columns else 0

    if not interlaced:
        return rows(width, height)
    return sum(
        rows(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _PASSES if x < width and y < height
    )
