"""Raw files to standardised pixels: what is refused, and that resizing and orientation are right."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.imaging import forms, images
from tests.support.image_files import RAW_FILES, encode, photograph, png


def with_orientation(orientation: int, endian: str = "<") -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F], exif[0x0112], exif[0x0132] = "maker", orientation, "2020:01:01 00:00:00"
    return encode(photograph(150, 90), exif=exif.tobytes())


def exif(orientation: int, kind: int = 3) -> bytes:
    """An EXIF segment with one entry, its value stored as the TIFF type `kind`."""
    entry = struct.pack("<HHII", 0x0112, kind, 1, orientation)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    data = with_orientation(orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(images.decode(data), upright)
    info = images.read_info(data)
    assert (info.height, info.width) == upright.shape[:2]


@pytest.mark.parametrize("colour", [0, 1, 127, 254, 255])
def test_resize_keeps_flat_colour(colour: int) -> None:
    flat = Image.new("RGB", (173, 211), (colour,) * 3)
    assert (np.asarray(images.resize(flat, 64, 64)) == colour).all()


def test_reduction_depends_on_the_image_alone_up_to_the_shared_side() -> None:
    for width, height in [(600, 450), (450, 600), (6000, 4000), (180, 180), (448, 448), (447, 900)]:
        factors = {
            images.reduction(width, height, size, aspect)
            for size in (8, 64, 180, images.SHARED_SIDE)
            for aspect in forms.ASPECTS
        }
        assert len(factors) == 1, (width, height)
    assert images.reduction(600, 450, 192, "stretch") == 2
    assert images.reduction(6000, 4000, 1000, "crop") == 4
    assert images.reduction(6000, 2000, 1500, "pad") == 4


def test_crop_cuts_pad_fills_and_stretch_keeps_all() -> None:
    wide = np.zeros((60, 120, 3), np.uint8)
    wide[:, 40:80] = 200
    wide[:, :10] = 90
    square = (images.fit(Image.fromarray(wide), 30, aspect) for aspect in ("crop", "pad", "stretch"))
    cropped, padded, stretched = map(np.asarray, square)
    assert 90 not in cropped
    assert (padded[:7] == 0).all()
    assert (padded[23:] == 0).all()
    assert padded[15, 0, 0] == 90
    assert stretched[0, 0, 0] == 90
    assert stretched[29, 15, 0] == 200


@pytest.mark.parametrize("cut", [0.35, 0.6, 0.95])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000"])
def test_truncated_is_undecodable_whatever_the_reduction(format: str, cut: float) -> None:
    data = encode(photograph(300, 300), format)
    data = data[: int(len(data) * cut)]
    for factor in (1, 8):
        with pytest.raises(images.BadImage) as caught:
            images.decode(data, factor)
        # Pillow reads a WebP as a whole when it opens it.
        assert caught.value.reason == ("not_an_image" if format == "WEBP" else "undecodable")


def test_images_beyond_the_limit_are_refused_before_they_are_decoded() -> None:
    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    with pytest.raises(images.BadImage) as caught:
        images.read_info(png([(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]))
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"not an image at all\n", "not_an_image"),
        (encode(photograph(20, 20), "PPM"), "unsupported_format"),
        (encode(photograph(20, 20), "ICO"), "unsupported_format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "unsupported_format"),
        (bytes(128) + b"DICM\x02\0\0\0UL\x04\0" + bytes(200), "unsupported_format"),
        (encode(photograph(20, 20)[:, :, 0].astype(np.float32), "TIFF"), "unsupported_color"),
        (encode(photograph(20, 20)[:, :, 0].astype(np.int32), "TIFF"), "unsupported_color"),
        (encode(photograph(20, 20), "TIFF", "LAB"), "unsupported_color"),
    ],
)
def test_bytes_that_are_no_photograph_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(images.BadImage) as caught:
        images.standardize(data, 32, "crop")
    assert caught.value.reason == reason


def test_damaged_bytes_never_raise_anything_else() -> None:
    generator = random.Random(0)
    for original in (RAW_FILES["jpeg"], RAW_FILES["png"], RAW_FILES["orientation 6<"]):
        for _ in range(150):
            data = bytearray(original)
            for _ in range(generator.randint(1, 30)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            try:
                pixels = images.standardize(bytes(data), 32, "crop")
            except images.BadImage:
                continue
            assert pixels.shape == (32, 32, 3)


def test_channel_sums_are_exact() -> None:
    pixels = photograph(50, 40)
    sums, squares = images.channel_sums(Image.fromarray(pixels))
    assert sums == [int(pixels[:, :, c].astype(object).sum()) for c in range(3)]
    assert squares == [int((pixels[:, :, c].astype(object) ** 2).sum()) for c in range(3)]
