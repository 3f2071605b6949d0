"""How records are stored: lossless means lossless, and bytes repeat."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.imaging import encoding as imaging_encoding
from pipelines.imaging import images
from tests.support.image_files import photograph, png_chunks


@pytest.mark.parametrize("name", ["png", "raw"])
def test_lossless_encodings_give_the_pixels_back(name: str) -> None:
    import tensorflow as tf

    from pipelines.prepare.tft_analysis import decode_images

    pixels = [photograph(40, 40, seed) for seed in range(3)] + [np.full((40, 40, 3), value) for value in (0, 255)]
    pixels = [one.astype(np.uint8) for one in pixels]
    stored = [imaging_encoding.encode(one, name) for one in pixels]
    assert np.array_equal(decode_images(tf.constant(stored), 40, name), pixels)
    if name == "png":
        assert all(np.array_equal(images.decode(data), one) for data, one in zip(stored, pixels, strict=True))


def test_a_png_holds_nothing_but_pixels() -> None:
    data = imaging_encoding.encode(photograph(180, 180), "png")
    assert data == imaging_encoding.encode(photograph(180, 180).copy(), "png")
    assert {kind for kind, _ in png_chunks(data)} == {b"IHDR", b"IDAT", b"IEND"}
    assert Image.open(io.BytesIO(data)).info == {}


def test_gzip_holds_neither_name_nor_time() -> None:
    shard = photograph(64, 64).tobytes()
    data = imaging_encoding.compress(shard, "gzip")
    assert gzip.decompress(data) == shard
    assert data[:2] == b"\x1f\x8b"
    # RFC 1952: flags, then the time; a name would be announced by the flags.
    assert data[3:8] == bytes(5)
    assert imaging_encoding.compress(shard, "none") == shard


@pytest.mark.parametrize("size", [64, 180])
def test_real_images_take_the_bytes_that_shards_are_planned_with(shared_data: Path, size: int) -> None:
    files = sorted(shared_data.glob("isic9/Train/*/*.jpg"))[::60]
    pixels = [images.standardize(path.read_bytes(), size, "crop") for path in files]
    for name, expected in imaging_encoding.BYTES_PER_PIXEL.items():
        found = sum(len(imaging_encoding.encode(one, name)) for one in pixels) / (size * size * len(pixels))
        assert 0.7 * expected < found < 1.4 * expected, name


def test_every_encoding_gives_pixels() -> None:
    pixels = photograph(6, 6)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    assert (imaging_encoding.decode(png.getvalue(), "png", 6, 6) == pixels).all()
    assert (imaging_encoding.decode(pixels.tobytes(), "raw", 6, 6) == pixels).all()
    jpeg = io.BytesIO()
    Image.fromarray(np.full((6, 6, 3), 90, np.uint8)).save(jpeg, "JPEG")
    assert (imaging_encoding.decode(jpeg.getvalue(), "jpeg", 6, 6) == 90).all()
