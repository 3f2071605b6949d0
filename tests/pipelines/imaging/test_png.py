"""Whether a PNG is whole."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from pipelines.imaging import images
from pipelines.imaging.png import require_whole_png
from tests.support.image_files import RAW_FILES, encode, interlaced, photograph, png, png_chunks


def test_a_png_that_is_not_whole_is_undecodable() -> None:
    """Pillow would fill what is missing and go on."""
    whole = encode(photograph(60, 50), "PNG")
    palette = encode(photograph(60, 50), "PNG", "P")
    chunks = png_chunks(whole)
    rows = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    half = [c for c in chunks if c[0] != b"IDAT"]
    half.insert(1, (b"IDAT", zlib.compress(rows[: len(rows) // 2])))
    damaged = bytearray(whole)
    damaged[whole.index(b"IDAT") + 30] ^= 1
    broken = {
        "rows are missing": png(half),
        "no end": png(chunks[:-1]),
        "no palette": png([c for c in png_chunks(palette) if c[0] != b"PLTE"]),
        "unknown critical chunk": png([*chunks[:-1], (b"QQQQ", b""), chunks[-1]]),
        "wrong sum": bytes(damaged),
    }
    assert images.decode(png(chunks)).shape == (50, 60, 3)
    for name, data in broken.items():
        with pytest.raises(images.BadImage) as caught:
            images.decode(data)
        assert caught.value.reason in ("undecodable", "not_an_image"), name


@pytest.mark.parametrize("name", [name for name in RAW_FILES if name.startswith("png")])
def test_pngs_of_every_colour_type_are_whole(name: str) -> None:
    require_whole_png(RAW_FILES[name])


@pytest.mark.parametrize("missing", [0, 1])
def test_an_interlaced_png_needs_the_rows_of_every_pass_that_has_pixels(missing: int) -> None:
    # Adam7 on 5 x 3 pixels: columns and rows of each pass; the third pass has none.
    passes = [(1, 1), (1, 1), (1, 1), (3, 1), (2, 2), (5, 1)]
    assert sum(columns * lines for columns, lines in passes) == 5 * 3
    rows = bytes(sum((1 + 3 * columns) * lines for columns, lines in passes) - missing)
    header = struct.pack(">IIBBBBB", 5, 3, 8, 2, 0, 0, 1)
    data = png([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    if missing:
        with pytest.raises(ValueError, match="has fewer rows than its header says"):
            require_whole_png(data)
    else:
        require_whole_png(data)


def plain(width: int, height: int, content: bytes) -> bytes:
    """A PNG of grey pixels without a word about its pixel data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return png([(b"IHDR", header), (b"IDAT", content), (b"IEND", b"")])


def test_pixel_data_that_inflate_to_far_more_than_the_image_take_no_memory() -> None:
    bomb = plain(100, 100, zlib.compress(bytes(64 << 20)))
    assert len(bomb) < 1 << 17
    tracemalloc.start()
    require_whole_png(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert not images.decode(bomb).any()


@pytest.mark.parametrize("height", [999, 1024, 2500])
def test_pixel_data_are_counted_to_the_last_byte(height: int) -> None:
    """Of one chunk, around a mebibyte and beyond it."""
    rows = (b"\0" + bytes(range(256)) * 4) * height
    require_whole_png(plain(1024, height, zlib.compress(rows)))
    with pytest.raises(ValueError, match="has fewer rows than its header says"):
        require_whole_png(plain(1024, height, zlib.compress(rows[:-1])))


def test_an_interlaced_png_has_the_pixels_of_a_plain_one() -> None:
    for width, height in ((131, 45), (5, 3), (1, 1), (8, 8)):
        pixels = photograph(width, height)
        assert np.array_equal(images.decode(interlaced(pixels)), pixels)
    whole = interlaced(photograph(131, 45))
    with pytest.raises(images.BadImage):
        images.decode(whole[:-40])
