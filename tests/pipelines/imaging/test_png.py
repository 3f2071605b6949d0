"""Whether a PNG is whole."""

from __future__ import annotations

import zlib

import pytest

from pipelines.imaging import images
from tests.support.image_files import encode, photograph, png, png_chunks


def test_a_png_that_is_not_whole_is_undecodable():
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
