"""Image files of every kind, made in memory."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def photograph(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with a dark blob and noise: JPEG has something to get wrong everywhere."""
    random_state = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    skin = np.stack([180 + 40 * np.sin(x / 17), 140 + 30 * np.cos(y / 13), 120 + 20 * np.sin((x + y) / 29)], axis=2)
    lesion = np.hypot((x - width / 2) / width, (y - height / 2) / height)[:, :, None] < 0.25
    noisy = np.where(lesion, skin * 0.4, skin) + random_state.normal(0, 12, skin.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, format: str = "JPEG", mode: str | None = None, **options: Any) -> bytes:
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


def without_adobe_marker(data: bytes) -> bytes:
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# First column and row of each pass of Adam7, and the steps to the next.
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def interlaced(pixels: np.ndarray) -> bytes:
    """An interlaced PNG, which Pillow does not write."""
    passes = [pixels[top::down, left::right] for left, top, right, down in ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return png([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


CMYK = encode(photograph(150, 90), mode="CMYK")
# The last byte of Adobe's marker says how the inks are stored.
YCCK = CMYK[: CMYK.index(b"Adobe") + 11] + b"\x02" + CMYK[CMYK.index(b"Adobe") + 12 :]

# A gradient of 24 x 16 pixels. Neither Pillow nor simplejpeg writes this kind.
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8t"
    "MC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/yQAR"
    "CAAQABgDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AJ5UF2qVwTODI0Xf0GNBIIKPZGYmJ1uNpvHQbksTLxSwJ5Bkq9zk"
    "dJwq4AocBZRzxKe0TCjW362geQADsXsmBMcHBv8Ahw9r3nTs47rg7WC4+BfEA9qtsEhhWTmtAjSg/9k="
)

PHOTOGRAPHS = [Image.fromarray(photograph(130, 170, seed)) for seed in range(3)]

# What prepare, score and the exported graph take.
RAW_FILES = {
    "jpeg": encode(photograph(180, 180)),
    "jpeg 4:4:4": encode(photograph(181, 77), subsampling=0),
    "jpeg 4:2:2, odd sizes": encode(photograph(333, 251), subsampling=1, quality=60),
    "progressive": encode(photograph(200, 320), progressive=True),
    "grey jpeg": encode(photograph(100, 80), mode="L"),
    "rgb jpeg": encode(photograph(100, 80), keep_rgb=True),
    "cmyk": CMYK,
    "cmyk, to be shrunk": encode(photograph(511, 450), mode="CMYK"),
    "cmyk without Adobe's marker": without_adobe_marker(CMYK),
    "ycck": YCCK,
    "shrunk by 2 while decoding": encode(photograph(511, 450)),
    "shrunk by 4": encode(photograph(923, 901)),
    "shrunk by 8": encode(photograph(1801, 1799)),
    "smaller than asked": encode(photograph(20, 31)),
    "one pixel": encode(photograph(1, 1)),
    "very long": encode(photograph(900, 16)),
    "mpo": encode(photograph(150, 90), "MPO", save_all=True, append_images=[Image.fromarray(photograph(150, 90, 1))]),
    "arithmetic jpeg": ARITHMETIC,
    "png": encode(photograph(130, 170), "PNG"),
    "png grey": encode(photograph(130, 170), "PNG", "L"),
    "png with alpha": encode(photograph(130, 170), "PNG", "RGBA"),
    "png grey with alpha": encode(photograph(130, 170), "PNG", "LA"),
    "png palette": encode(photograph(130, 170), "PNG", "P"),
    "png palette with transparency": encode(photograph(130, 170), "PNG", "P", transparency=3),
    "png interlaced": interlaced(photograph(131, 45)),
    "png animation": encode(photograph(130, 170), "PNG", save_all=True, append_images=PHOTOGRAPHS),
    "png black and white": encode(photograph(130, 170), "PNG", "1"),
    "png 16 bit grey": encode(photograph(130, 170)[:, :, 0].astype(np.uint16) * 250 + 77, "PNG"),
    "thin": encode(photograph(3, 900)),
    "thinner than the reduction": encode(photograph(700, 7)),
    "png optimised": encode(photograph(90, 70), "PNG", optimize=True),
    "orientation in xmp alone": with_segments((0xE1, XMP)),
    "a comment that speaks of Exif": with_segments((0xFE, b"Exif\0\0II*\0"), (0xE1, exif(6))),
    "exif behind a large profile": with_segments(*[(0xE2, b"ICC_PROFILE\0" + bytes(60_000))] * 4, (0xE1, exif(8))),
    "orientation as LONG": with_segments((0xE1, exif(6, kind=4))),
    "orientation as BYTE": with_segments((0xE1, exif(6, kind=1))),
    "exif cut short": with_segments((0xE1, exif(6)[:20])),
    "exif directory outside": with_segments((0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f")),
    **{f"orientation {n}{endian}": with_orientation(n, endian) for n in range(10) for endian in "<>"},
}


# What prepare and score take, and the exported graph does not.
OTHER_FILES = {
    "bmp": encode(photograph(130, 170), "BMP"),
    "bmp palette": encode(photograph(130, 170), "BMP", "P"),
    "gif": encode(photograph(130, 170), "GIF"),
    "gif animation": encode(photograph(130, 170), "GIF", save_all=True, append_images=PHOTOGRAPHS[1:]),
    "tiff": encode(photograph(130, 170), "TIFF"),
    "tiff lzw": encode(photograph(130, 170), "TIFF", compression="tiff_lzw"),
    "tiff jpeg": encode(photograph(130, 170), "TIFF", compression="jpeg"),
    "tiff pages": encode(photograph(130, 170), "TIFF", save_all=True, append_images=PHOTOGRAPHS[1:]),
    "tiff grey": encode(photograph(130, 170), "TIFF", "L"),
    "tiff palette": encode(photograph(130, 170), "TIFF", "P"),
    "tiff with alpha": encode(photograph(130, 170), "TIFF", "RGBA"),
    "tiff cmyk": encode(photograph(130, 170), "TIFF", "CMYK"),
    "tiff 16 bit grey": encode(photograph(130, 170)[:, :, 0].astype(np.uint16) * 250 + 77, "TIFF"),
    "webp": encode(photograph(130, 170), "WEBP"),
    "webp lossless with alpha": encode(photograph(130, 170), "WEBP", "RGBA", lossless=True),
    "webp animation": encode(photograph(130, 170), "WEBP", save_all=True, append_images=PHOTOGRAPHS[1:], lossless=True),
    "jpeg 2000": encode(photograph(130, 170), "JPEG2000"),
}


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    position, chunks = 8, []
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks
