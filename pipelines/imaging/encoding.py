"""Encode images for `image/encoded` and compress whole shards."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
from PIL import Image, features

from pipelines.imaging.images import JPEG_QUALITY, encode_jpeg

# raw: the uint8 values in row, column, channel order.
ENCODINGS = ("jpeg", "png", "raw")
SHARD_SUFFIX = {"none": "", "gzip": ".gz"}
# Bytes of `image/encoded` per pixel. Measured on every 40th training image of the nine-class set: JPEG 0.65 at 64
# pixels and 0.48 at 180, PNG 1.60 and 1.57.
BYTES_PER_PIXEL = {"jpeg": 0.5, "png": 1.6, "raw": 3.0}
# At 180 pixels the highest useful level, 6, takes twice as long for 2 % fewer bytes.
PNG_LEVEL = 4
# Only raw shards shrink (by 0.3), and higher levels do not make them smaller.
GZIP_LEVEL = 1


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode uint8 [h, w, 3] as PNG without metadata; equal pixels and `coder_versions` give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def encode(pixels: np.ndarray, encoding: str) -> bytes:
    """Return the `image/encoded` value of an image.

    Args:
        pixels: uint8 [h, w, 3].
        encoding: One of ENCODINGS.
    """
    if encoding == "jpeg":
        return encode_jpeg(pixels)
    return encode_png(pixels) if encoding == "png" else pixels.tobytes()


def compress(shard: bytes, compression: str) -> bytes:
    """Return the file content of a shard, gzipped or as it is.

    Args:
        shard: The shard's records.
        compression: One of `dataset_json.COMPRESSIONS`. The gzip header is zlib's own, without name or time, so that
            equal shards give equal files.
    """
    if compression == "none":
        return shard
    return zlib.compress(shard, GZIP_LEVEL, wbits=31)


def describe_encoding(encoding: str) -> dict[str, Any]:
    """Return the value of `encoding` in dataset.json."""
    return {"format": encoding, "quality": JPEG_QUALITY} if encoding == "jpeg" else {"format": encoding}


def coder_versions(encoding: str, compression: str) -> dict[str, str]:
    """Return the library versions that determine losslessly compressed bytes.

    Args:
        encoding: One of ENCODINGS. "png" adds the version of the zlib-ng inside Pillow, or "none" if it has another.
        compression: One of `dataset_json.COMPRESSIONS`. "gzip" adds the version of Python's zlib.
    """
    versions = {}
    if encoding == "png":
        versions["png_zlib_ng"] = features.version_feature("zlib_ng") or "none"
    if compression == "gzip":
        versions["gzip_zlib"] = zlib.ZLIB_RUNTIME_VERSION
    return versions
