"""How records are stored: the format of `image/encoded`, and the compression of whole shards."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
from PIL import Image, features

from pipelines.images import JPEG_QUALITY, encode_jpeg

# raw: the uint8 values in the order of rows, columns, channels.
ENCODINGS = ("jpeg", "png", "raw")
COMPRESSIONS = ("none", "gzip")
SHARD_SUFFIX = {"none": "", "gzip": ".gz"}
# Bytes of `image/encoded` per pixel, measured on every 40th training image of the nine-class set: JPEG 0.65 at 64
# pixels and 0.48 at 180, PNG 1.60 and 1.57.
BYTES_PER_PIXEL = {"jpeg": 0.5, "png": 1.6, "raw": 3.0}
# At 180 pixels the highest useful level, 6, takes twice the time of this one for 2 % fewer bytes.
PNG_LEVEL = 4
# On raw shards, the only ones that shrink (by 0.3), higher levels give no less.
GZIP_LEVEL = 1


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG of uint8 [h, w, 3], without metadata; the same bytes for the same pixels and `coder_versions`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def encode(pixels: np.ndarray, encoding: str) -> bytes:
    """`image/encoded` of uint8 [h, w, 3]."""
    if encoding == "jpeg":
        return encode_jpeg(pixels)
    return encode_png(pixels) if encoding == "png" else pixels.tobytes()


def compress(shard: bytes, compression: str) -> bytes:
    """The file of a shard: gzip without name and time (zlib's own header), or the bytes as they are."""
    if compression == "none":
        return shard
    return zlib.compress(shard, GZIP_LEVEL, wbits=31)


def describe_encoding(encoding: str) -> dict[str, Any]:
    """The `encoding` of dataset.json."""
    return {"format": encoding, "quality": JPEG_QUALITY} if encoding == "jpeg" else {"format": encoding}


def coder_versions(encoding: str, compression: str) -> dict[str, str]:
    """What decides the bytes of lossless compression: the zlib in Pillow's PNG encoder, Python's for gzip."""
    versions = {}
    if encoding == "png":
        versions["png_zlib_ng"] = features.version_feature("zlib_ng") or "none"
    if compression == "gzip":
        versions["gzip_zlib"] = zlib.ZLIB_RUNTIME_VERSION
    return versions
