"""Decode JPEG files strictly: libjpeg-turbo's warnings about damaged data are errors.

Pillow decodes with the same library but drops its warnings. So would a file with a hole become an image whose lower
part is shifted and discoloured.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from pipelines.imaging.jpeg_markers import (
    APP14,
    DHT,
    END,
    SEQUENTIAL,
    SOS,
    require_whole_jpeg,
    segments,
    without_profiles,
)

JPEG_START = b"\xff\xd8"
# The longest run of zero bytes that pixel data may hold. As codes, 16 bytes of zeros are at least 42 equal coefficients
# in a row, which no photograph has.
_HOLE = bytes(16)
# Warnings about headers; the pixels are whole.
_HARMLESS = re.compile(
    r"Warning: unknown JFIF revision|Unknown Adobe color transform|Invalid SOS parameters for sequential JPEG"
)
# Shorter ones do not count.
_ADOBE_BYTES = 12
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
# Some cameras pad pixel data to a multiple of 2, 4, 8 or more bytes. The decoder does not count the first few.
_MOST_PADDING = 7


class _Scan(NamedTuple):
    """The first scan of a JPEG."""

    start: int  # of its pixel data
    end: int  # of its pixel data, or of the file if there is no end marker
    zeros_are_flat: bool  # whether zero bits may stand for blocks of one colour


def _first_scan(data: bytes) -> _Scan | None:
    """Return the first scan of a sequential JPEG that has all components in one scan; None for any other file."""
    components = 0
    first_symbols: dict[int, int] = {}
    for segment in segments(data):
        body = segment.body
        if segment.kind in SEQUENTIAL and len(body) > 5:
            components = body[5]
        elif segment.kind == DHT:
            while len(body) > 17:
                first_symbols[body[0]] = body[17]
                body = body[17 + sum(body[1:17]) :]
        elif segment.kind == SOS and len(body) > 2 and body[0] == components:
            # The first component's tables: luminance, or red. The code of all zeros stands for the first symbol.
            dc, ac = first_symbols.get(body[2] >> 4), first_symbols.get(0x10 | body[2] & 15)
            stop = data.find(END, segment.end)
            return _Scan(segment.end, stop if stop >= 0 else len(data), dc == 0 and ac == 0)
    return None


def _has_hole(data: bytes) -> bool:
    """Return whether pixel data contain a run of zero bytes that cannot come from an encoder.

    A hole decodes as valid codes. If by chance they make as many blocks as the lost data did, the decoder notices
    nothing.
    """
    if _HOLE not in data:
        return False
    scan = _first_scan(data)
    return scan is not None and not scan.zeros_are_flat and data.find(_HOLE, scan.start, scan.end) >= 0


def _is_whole(data: bytes, warning: str) -> bool:
    """Return whether the pixels are whole though libjpeg-turbo warns of what follows them."""
    extraneous = _EXTRANEOUS.match(warning)
    if not extraneous or int(extraneous[1]) > _MOST_PADDING:
        return False
    return data[: data.rfind(END)].endswith(bytes(int(extraneous[1])))


def _decoded(data: bytes, space: str, width: int, height: int) -> np.ndarray | None:
    """Decode to [height, width, channels]; None if `simplejpeg` stops at an oddity of the header.

    Raises:
        ValueError: The pixels are damaged.
    """
    decode = functools.partial(simplejpeg.decode_jpeg, colorspace=space, min_width=width, min_height=height)
    try:
        return decode(data)
    except ValueError as warning:
        if "bad ICC marker" in str(warning):
            return _decoded(without_profiles(data), space, width, height)
        if _HARMLESS.search(str(warning)):
            return None
        if not _is_whole(data, str(warning)):
            raise
    return decode(data, strict=False)


def _cmyk_to_rgb(pixels: np.ndarray, inverted: bool) -> np.ndarray:
    """Return CMYK [h, w, 4] as RGB [h, w, 3]; in the arithmetic of TensorFlow's decoder, which truncates.

    Args:
        pixels: uint8.
        inverted: Whether 255 stands for no ink, as in files with Adobe's marker.
    """
    wide = pixels.astype(np.uint16) if inverted else 255 - pixels.astype(np.uint16)
    return (wide[..., :3] * wide[..., 3:] // 255).astype(np.uint8)


def _has_adobe_marker(data: bytes) -> bool:
    """Return whether libjpeg finds Adobe's marker."""
    return any(
        segment.kind == APP14 and segment.body.startswith(b"Adobe") and len(segment.body) >= _ADOBE_BYTES
        for segment in segments(data)
    )


def rgb_of_cmyk(image: Image.Image, data: bytes) -> Image.Image:
    """Return what Pillow decoded of a CMYK JPEG in RGB, the same pixels as those of `decode_jpeg`.

    Args:
        image: What Pillow opened.
        data: The file.
    """
    # Pillow inverts them, with and without the marker.
    return Image.fromarray(_cmyk_to_rgb(255 - np.asarray(image), _has_adobe_marker(data)))


def decode_jpeg(data: bytes, factor: int, most_pixels: int) -> Image.Image | None:
    """Decode a JPEG file to RGB.

    Args:
        data: The file.
        factor: Shrink by this factor while decoding: 1, 2, 4 or 8.
        most_pixels: Larger files are not decoded.

    Returns:
        An image of mode RGB. None if the file is too large, or `simplejpeg` does not take its header: then Pillow
        decides, which knows any chroma subsampling.

    Raises:
        ValueError: The file is damaged; the message says how.
    """
    require_whole_jpeg(data)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        return None
    if width * height > most_pixels:
        return None
    if _has_hole(data):
        raise ValueError("pixel data have a hole: a run of zero bytes")
    width, height = -(-width // factor), -(-height // factor)
    if space in ("CMYK", "YCCK"):
        pixels = _decoded(data, "CMYK", width, height)
        if pixels is not None:
            pixels = _cmyk_to_rgb(pixels, _has_adobe_marker(data))
    else:
        pixels = _decoded(data, "RGB", width, height)
    return None if pixels is None else Image.fromarray(pixels)
