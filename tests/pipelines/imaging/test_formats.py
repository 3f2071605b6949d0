"""Formats beside JPEG and PNG: which image of a file is taken, and what becomes of depth, colours and orientation."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin, features

from pipelines.imaging import images
from tests.support.image_files import OTHER_FILES, PHOTOGRAPHS, encode, photograph

UPRIGHT = photograph(130, 170)
_TIFF = encode(photograph(20, 20), "TIFF")
# Canon's mark lies between the header and the directory, which is moved behind what was there.
CANON_RAW = (
    b"II*\0" + len(_TIFF).to_bytes(4, "little") + b"CR\2\0" + _TIFF[12:] + _TIFF[int.from_bytes(_TIFF[4:8], "little") :]
)
WITHOUT_LOSS = [
    "bmp",
    "tiff",
    "tiff lzw",
    "tiff pages",
    "tiff with alpha",
    "webp lossless with alpha",
    "webp animation",
]


@pytest.mark.parametrize("name", OTHER_FILES)
def test_every_format_gives_the_photograph(name: str) -> None:
    found = images.decode(OTHER_FILES[name])
    assert found.shape == UPRIGHT.shape
    if name in WITHOUT_LOSS:
        assert np.array_equal(found, UPRIGHT)
    grey = np.asarray(Image.fromarray(UPRIGHT).convert("L"))[:, :, None]
    wanted = UPRIGHT[:, :, :1] if "16 bit" in name else grey if "grey" in name else UPRIGHT
    assert np.abs(found.astype(int) - wanted).mean() < 25
    assert images.read_info(OTHER_FILES[name]).format == name.replace("jpeg 2000", "jpeg2000").split()[0]


def test_what_pillow_thinks_of_a_file_is_not_shown_as_it_names_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(photograph(20, 20), "PNG", "P", transparency=bytes([0, 255])))
    code = "import sys; from pipelines.imaging import images; images.decode(open(sys.argv[1], 'rb').read())"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_images_is_taken(format: str) -> None:
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    several = encode(photograph(130, 170), format, save_all=True, append_images=PHOTOGRAPHS[1:], **options)
    assert getattr(Image.open(io.BytesIO(several)), "n_frames", 1) == 3
    alone = encode(photograph(130, 170), format, **options)
    assert np.array_equal(images.decode(several), images.decode(alone))


def test_of_16_bits_the_high_byte_is_kept_and_a_negative_is_turned() -> None:
    deep = photograph(60, 40)[:, :, 0].astype(np.uint16) * 250 + 77
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    for data, expected in (
        (encode(deep, "TIFF"), deep >> 8),
        (encode(deep, "PNG"), deep >> 8),
        (encode(deep, "TIFF", tiffinfo=tags), 255 - (deep >> 8)),
    ):
        assert (images.decode(data) == expected[:, :, None]).all()


def test_transparency_is_dropped() -> None:
    clear = np.dstack([UPRIGHT, np.zeros(UPRIGHT.shape[:2], np.uint8)])
    kinds: list[tuple[str, dict[str, Any]]] = [("TIFF", {}), ("PNG", {}), ("WEBP", {"lossless": True, "exact": True})]
    for format, options in kinds:
        assert np.array_equal(images.decode(encode(clear, format, **options)), UPRIGHT), format


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 2, 6, 8])
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photograph(150, 90), format, exif=exif.tobytes())
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert upright.shape[:2] == ((150, 90) if orientation >= 5 else (90, 150))
    assert np.array_equal(images.decode(data), upright)
    info = images.read_info(data)
    assert (info.height, info.width) == upright.shape[:2]


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "HEIC.*convert it to JPEG"),
        (bytes(128) + b"DICM\x02\0\0\0UL\x04\0" + bytes(200), "DICOM.*export its frames as PNG"),
        (encode(photograph(20, 20), "TIFF", tiffinfo={254: 1}), "camera's raw file.*export it as JPEG"),
        (CANON_RAW, "camera's raw file.*export it as JPEG"),
        (encode(photograph(20, 20), "PPM"), "PPM is not read; convert it to PNG"),
    ],
)
def test_a_format_that_is_not_read_is_named_with_the_way_out(data: bytes, remedy: str) -> None:
    with pytest.raises(images.BadImage, match=remedy):
        images.read_info(data)
