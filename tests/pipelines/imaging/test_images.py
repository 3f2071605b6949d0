"""Raw files to standardised pixels: what is refused, and that Pillow's path and the graph give the same bytes."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.imaging import images


def photograph(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with a dark blob and noise: JPEG has something to get wrong everywhere."""
    random_state = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    skin = np.stack([180 + 40 * np.sin(x / 17), 140 + 30 * np.cos(y / 13), 120 + 20 * np.sin((x + y) / 29)], axis=2)
    lesion = np.hypot((x - width / 2) / width, (y - height / 2) / height)[:, :, None] < 0.25
    noisy = np.where(lesion, skin * 0.4, skin) + random_state.normal(0, 12, skin.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, format: str = "JPEG", mode: str | None = None, **options) -> bytes:
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def with_orientation(orientation: int, endian: str = "<") -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F], exif[0x0112], exif[0x0132] = "maker", orientation, "2020:01:01 00:00:00"
    return encode(photograph(150, 90), exif=exif.tobytes())


XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/' tiff:Orientation='6'/>"


def exif(orientation: int, kind: int = 3) -> bytes:
    """An EXIF segment with one entry, its value stored as the TIFF type `kind`."""
    entry = struct.pack("<HHII", 0x0112, kind, 1, orientation)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG with these segments behind its start."""
    plain = encode(photograph(150, 90))
    added = b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body for kind, body in segments)
    return plain[:2] + added + plain[2:]


RAW_FILES = {
    "jpeg": encode(photograph(180, 180)),
    "jpeg 4:4:4": encode(photograph(181, 77), subsampling=0),
    "jpeg 4:2:2, odd sizes": encode(photograph(333, 251), subsampling=1, quality=60),
    "progressive": encode(photograph(200, 320), progressive=True),
    "grey jpeg": encode(photograph(100, 80), mode="L"),
    "shrunk by 2 while decoding": encode(photograph(211, 150)),
    "shrunk by 4": encode(photograph(423, 301)),
    "shrunk by 8": encode(photograph(1201, 799)),
    "smaller than asked": encode(photograph(20, 31)),
    "one pixel": encode(photograph(1, 1)),
    "very long": encode(photograph(900, 16)),
    "png": encode(photograph(130, 170), "PNG"),
    "png grey": encode(photograph(130, 170), "PNG", "L"),
    "png with alpha": encode(photograph(130, 170), "PNG", "RGBA"),
    "png grey with alpha": encode(photograph(130, 170), "PNG", "LA"),
    "png palette": encode(photograph(130, 170), "PNG", "P"),
    "png black and white": encode(photograph(130, 170), "PNG", "1"),
    "png 16 bit grey": encode(photograph(130, 170)[:, :, 0].astype(np.uint16) * 250 + 77, "PNG"),
    "thin": encode(photograph(3, 900)),
    "thinner than the reduction": encode(photograph(700, 7)),
    "interlaced png is no jpeg": encode(photograph(90, 70), "PNG", optimize=True),
    "orientation in xmp alone": with_segments((0xE1, XMP)),
    "a comment that speaks of Exif": with_segments((0xFE, b"Exif\0\0II*\0"), (0xE1, exif(6))),
    "exif behind a large profile": with_segments(*[(0xE2, b"ICC_PROFILE\0" + bytes(60_000))] * 4, (0xE1, exif(8))),
    "orientation as LONG": with_segments((0xE1, exif(6, kind=4))),
    "orientation as BYTE": with_segments((0xE1, exif(6, kind=1))),
    "exif cut short": with_segments((0xE1, exif(6)[:20])),
    "exif directory outside": with_segments((0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f")),
    **{f"orientation {n}{endian}": with_orientation(n, endian) for n in range(10) for endian in "<>"},
}


@pytest.fixture(scope="module")
def graph():
    """Standardises through the saved TensorFlow graph; built once per size and aspect."""
    import tensorflow as tf

    from pipelines.imaging.standardize_graph import StandardizeModule

    modules = {}

    def standardize(data: bytes, size: int, aspect: str, encoding: str = "jpeg") -> bytes:
        key = (size, aspect, encoding)
        if key not in modules:
            modules[key] = StandardizeModule(*key)
        return modules[key].standardize(tf.constant(data)).numpy()

    return standardize


@pytest.mark.parametrize("aspect", images.ASPECTS)
@pytest.mark.parametrize("size", [64, 97])
def test_graph_gives_the_bytes_of_prepare(graph, size, aspect):
    for name, data in RAW_FILES.items():
        assert graph(data, size, aspect) == images.encode_jpeg(images.standardize(data, size, aspect)), name


def test_graph_gives_the_raw_bytes_of_prepare(graph):
    for name, data in RAW_FILES.items():
        assert graph(data, 64, "crop", "raw") == images.standardize(data, 64, "crop").tobytes(), name


def test_graph_gives_a_png_of_the_pixels_of_prepare(graph):
    for name, data in RAW_FILES.items():
        made = Image.open(io.BytesIO(graph(data, 64, "pad", "png")))
        assert (made.format, made.mode) == ("PNG", "RGB")
        assert np.array_equal(made, images.standardize(data, 64, "pad")), name


def test_graph_gives_the_bytes_of_prepare_on_real_images(graph, shared_data):
    files = (
        sorted(shared_data.glob("isic9/Train/*/*.jpg"))[::150] + sorted(shared_data.glob("large_originals/*.jpg"))[::9]
    )
    files += (
        sorted(shared_data.glob("ham10000/images/*.jpg"))[::400]
        + sorted(shared_data.glob("isic_cli_download/*.jpg"))[::60]
    )
    assert len(files) > 30
    for path in files:
        data = path.read_bytes()
        assert graph(data, 180, "crop") == images.encode_jpeg(images.standardize(data, 180, "crop")), path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    data = with_orientation(orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(images.decode(data), upright)
    info = images.read_info(data)
    assert (info.height, info.width) == upright.shape[:2]


def test_resize_is_exact_and_close_to_pillow():
    pixels = photograph(321, 200)
    ours = images.resize(pixels, 97, 131)
    theirs = np.asarray(Image.fromarray(pixels).resize((131, 97), Image.Resampling.BILINEAR))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    weights = images.resize_weights(321, 131).astype(np.int64)
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) == images.WEIGHT_SCALE).all()
    # The worst case stays below 2**24, where float32 stops holding every whole number.
    assert 255 * images.WEIGHT_SCALE + images.WEIGHT_SCALE // 2 < 1 << 24


@pytest.mark.parametrize("colour", [0, 1, 127, 254, 255])
def test_resize_keeps_flat_colour(colour):
    flat = np.full((211, 173, 3), colour, np.uint8)
    assert (images.resize(flat, 64, 64) == colour).all()


def test_aspect_policies():
    wide = np.zeros((60, 120, 3), np.uint8)
    wide[:, 40:80] = 200
    wide[:, :10] = 90
    cropped, padded, stretched = (images.fit(wide, 30, aspect) for aspect in ("crop", "pad", "stretch"))
    assert 90 not in cropped
    assert (padded[:7] == 0).all()
    assert (padded[23:] == 0).all()
    assert padded[15, 0, 0] == 90
    assert stretched[0, 0, 0] == 90
    assert stretched[29, 15, 0] == 200


@pytest.mark.parametrize("cut", [0.35, 0.6, 0.95])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_truncated_is_undecodable_whatever_the_reduction(format, cut):
    data = encode(photograph(300, 300), format)
    data = data[: int(len(data) * cut)]
    for factor in (1, 8):
        with pytest.raises(images.BadImage) as caught:
            images.decode(data, factor)
        assert caught.value.reason == "undecodable"


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    position, chunks = 8, []
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


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


def test_images_beyond_the_limit_are_refused_before_they_are_decoded():
    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    with pytest.raises(images.BadImage) as caught:
        images.read_info(png([(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]))
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"not an image at all\n", "not_an_image"),
        (encode(photograph(20, 20), "BMP"), "unsupported_format"),
        (encode(photograph(20, 20), "GIF"), "unsupported_format"),
        (encode(photograph(20, 20), mode="CMYK"), "unsupported_color"),
    ],
)
def test_refused_with_a_reason(data, reason):
    with pytest.raises(images.BadImage) as caught:
        images.standardize(data, 32, "crop")
    assert caught.value.reason == reason


def test_damaged_bytes_never_raise_anything_else():
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


def test_channel_sums_are_exact():
    pixels = photograph(50, 40)
    sums, squares = images.channel_sums(pixels)
    assert sums == [int(pixels[:, :, c].astype(object).sum()) for c in range(3)]
    assert squares == [int((pixels[:, :, c].astype(object) ** 2).sum()) for c in range(3)]
