"""Encode images for `image/encoded` and compress whole shards."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image, features

from pipelines.imaging.images import BadImage, encode_jpeg
from pipelines.imaging.images import decode as decode_image

SHARD_SUFFIX = {"none": "", "gzip": ".gz"}
# Bytes of `image/encoded` per pixel. Measured on every 40th training image of the nine-class set: JPEG 0.65 at 64
# pixels and 0.48 at 180, PNG 1.60 and 1.57.
BYTES_PER_PIXEL = {"jpeg": 0.5, "png": 1.6, "raw": 3.0}
# At 180 pixels the highest useful level, 6, takes twice as long for 2 % fewer bytes.
PNG_LEVEL = 4
# Only raw shards shrink (by 0.3), and higher levels do not make them smaller.
GZIP_LEVEL = 1


def encode_png(pixels: np.ndarray, level: int = PNG_LEVEL) -> bytes:
    """Encode uint8 [h, w, 3] as PNG without metadata; equal pixels, level and `coder_versions` give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def encode(pixels: np.ndarray, encoding: str, png_level: int = PNG_LEVEL) -> bytes:
    """Return the `image/encoded` value of an image.

    Args:
        pixels: uint8 [h, w, 3].
        encoding: One of `forms.ENCODINGS`.
        png_level: How hard zlib tries for "png", 0 to 9; 0 does not compress. Shards have PNG_LEVEL.
    """
    if encoding == "jpeg":
        return encode_jpeg(pixels)
    return encode_png(pixels, png_level) if encoding == "png" else pixels.tobytes()


def decode(encoded: bytes, encoding: str, height: int, width: int) -> np.ndarray:
    """Decode the image of a record.

    Args:
        encoded: The record's `image/encoded`.
        encoding: The record's `image/format`.
        height: The record's `image/height`; used for raw pixels only.
        width: The record's `image/width`; used for raw pixels only.

    Returns:
        Pixels, uint8 [height, width, 3].

    Raises:
        BadImage: The image cannot be decoded, or raw pixels have another size.
    """
    if encoding != "raw":
        return decode_image(encoded)
    if len(encoded) != height * width * 3:
        raise BadImage("undecodable", f"{len(encoded)} bytes are not {width} x {height} pixels")
    return np.frombuffer(encoded, np.uint8).reshape(height, width, 3)


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


def coder_versions(encoding: str, compression: str) -> dict[str, str]:
    """Return the library versions that determine losslessly compressed bytes.

    Args:
        encoding: One of `forms.ENCODINGS`. "png" adds the version of Pillow's zlib-ng, or "none" if it has another.
        compression: One of `dataset_json.COMPRESSIONS`. "gzip" adds the version of Python's zlib.
    """
    versions = {}
    if encoding == "png":
        versions["png_zlib_ng"] = features.version_feature("zlib_ng") or "none"
    if compression == "gzip":
        versions["gzip_zlib"] = zlib.ZLIB_RUNTIME_VERSION
    return versions
