"""Damaged JPEGs are found, whole ones with oddities are taken, and the pixels are Pillow's."""

from __future__ import annotations

import io
import random
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.imaging import images
from tests.support.image_files import ARITHMETIC, RAW_FILES, encode, photograph, with_segments

END = b"\xff\xd9"
KINDS: list[dict[str, Any]] = [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"mode": "L"}]
KINDS += [{"keep_rgb": True}, {"optimize": True, "quality": 30}]


def smooth(seed: int, side: int = 256) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def pixel_data(data: bytes) -> int:
    start = data.index(b"\xff\xda")
    return start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")


def by_pillow(data: bytes, factor: int = 1) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft(None, (max(1, image.width // factor), max(1, image.height // factor)))
    return np.asarray(image.convert("RGB"))


def refused(data: bytes, factor: int = 1) -> bool:
    try:
        images.decode(data, factor)
    except images.BadImage as error:
        return error.reason == "undecodable"
    return False


@pytest.mark.parametrize("options", [{"quality": 95}, {"quality": 90, "optimize": True}, {"quality": 75}])
def test_a_hole_of_zeros_is_found_wherever_it_is_and_at_every_scale(options: dict[str, Any]) -> None:
    draw = random.Random(0)
    for seed in range(12):
        whole = encode(smooth(seed), **options)
        for length in (32, 100, 300, 1000):
            start = draw.randrange(pixel_data(whole), len(whole) - length - 2)
            holed = whole[:start] + bytes(length) + whole[start + length :]
            assert refused(holed)
            assert refused(holed, 8)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_lost_end_is_found_though_there_is_an_end_marker(progressive: bool) -> None:
    whole = encode(photograph(300, 200), progressive=progressive)
    for share in (0.5, 0.7, 0.9, 0.98):
        assert refused(whole[: int(len(whole) * share)] + END), share


def test_most_lost_or_overwritten_stretches_are_found() -> None:
    """Not all: by chance the rest may decode to just as many blocks, and a JPEG has no checksum."""
    draw, found, tried = random.Random(1), 0, 0
    for seed in range(30):
        whole = encode(photograph(600, 450, seed))
        start = draw.randrange(pixel_data(whole), len(whole) - 2000)
        for damaged in (
            whole[:start] + whole[start + 300 :],
            whole[:start] + draw.randbytes(300) + whole[start + 300 :],
            whole[:start] + b"\xff" * 300 + whole[start + 300 :],
        ):
            tried += 1
            found += refused(damaged)
    assert found >= 0.9 * tried


def test_zeros_that_an_encoder_wrote_are_no_hole() -> None:
    """In an optimised file of one colour the shortest codes are zeros; headers and what follows the end may be, too."""
    flat = np.zeros((640, 640, 3), np.uint8)
    flat[:16, :16] = photograph(16, 16)
    optimised = encode(flat, optimize=True)
    assert bytes(16) in optimised[pixel_data(optimised) :]
    plain = encode(photograph(150, 90))
    for whole in (optimised, with_segments((0xED, bytes(500))), plain + bytes(1000), encode(flat, progressive=True)):
        assert np.array_equal(images.decode(whole), by_pillow(whole))


def test_padding_before_the_end_is_taken_and_other_bytes_there_are_not() -> None:
    whole = encode(photograph(150, 90))
    assert whole.endswith(END)
    for count in (1, 3, 7, 12):
        assert np.array_equal(images.decode(whole[:-2] + bytes(count) + END), images.decode(whole))
    assert refused(whole[:-2] + bytes(40) + END)
    assert refused(whole[:-2] + b"\x11\x22\x33" * 4 + END)


def test_an_unknown_version_or_a_broken_profile_in_the_header_is_no_damage() -> None:
    plain = encode(photograph(150, 90))
    version = plain.index(b"JFIF\0") + 5
    later = plain[:version] + b"\x02\x05" + plain[version + 2 :]
    profile = with_segments((0xE2, b"ICC_PROFILE\0\x05\x02" + bytes(100)))
    for data in (later, profile):
        assert np.array_equal(images.decode(data), images.decode(plain))
    assert refused(profile[: pixel_data(profile) + 200] + END)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_pixels_are_those_of_pillow_at_every_scale(factor: int) -> None:
    for width, height in ((600, 450), (333, 251), (17, 9), (8, 8)):
        for options in (
            {},
            {"subsampling": 0},
            {"subsampling": 1},
            {"progressive": True},
            {"mode": "L"},
            {"keep_rgb": 1},
        ):
            data = encode(photograph(width, height), **options)
            assert np.array_equal(images.decode(data, factor), by_pillow(data, factor)), (width, height, options)


def test_chroma_finer_than_luminance_is_taken() -> None:
    """Each component in a scan of its own, of the sizes that the sampling factors ask for."""
    sides = (64, 128, 128)
    layers = [encode(smooth(seed, side)[:, :, 0]) for seed, side in enumerate(sides)]
    first = layers[0]
    frame = first.index(b"\xff\xc0")
    factors = b"".join(bytes([index + 1, 0x11 if index == 0 else 0x22, 0]) for index in range(3))
    header = first[:frame] + b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 128, 128, 3) + factors
    tables = first[first.index(b"\xff\xc4") : first.index(b"\xff\xda")]
    scans = [b"\xff\xda\0\x08\x01" + bytes([index + 1]) + b"\0\0\x3f\0" for index in range(3)]
    bodies = [layer[pixel_data(layer) : -2] for layer in layers]
    data = header + tables + b"".join(scan + body for scan, body in zip(scans, bodies, strict=True)) + END
    assert np.array_equal(images.decode(data), by_pillow(data))
    assert images.decode(data).std() > 10


def test_an_arithmetic_jpeg_is_decoded() -> None:
    x, y = np.meshgrid(range(24), range(16))
    spot = (x - 12) ** 2 + (y - 8) ** 2 < 30
    drawn = np.dstack([60 + 8 * x, 40 + 10 * y, np.where(spot, 40, 180)])
    found = images.decode(ARITHMETIC)
    assert np.array_equal(found, by_pillow(ARITHMETIC))
    assert np.abs(found.astype(int) - drawn).mean() < 20
    assert refused(ARITHMETIC[:240])


def test_of_an_mpo_the_first_picture_is_taken_whole() -> None:
    data = RAW_FILES["mpo"]
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 2
    assert np.array_equal(images.decode(data), images.decode(encode(photograph(150, 90))))
    assert images.read_info(data).format == "jpeg"
    first = data.index(END)
    assert refused(data[: first - 400] + data[first:])
