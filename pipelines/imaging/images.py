"""Turn the bytes of an image file into standardised pixels: pure functions built on Pillow and numpy.

`standardize_graph` implements the same arithmetic as a TensorFlow graph, which is stored with the dataset and inside
the exported model. Both produce bit-identical pixels because every rounding step is defined: libjpeg-turbo decodes JPEG
with its exact integer transform, and the resize uses integer arithmetic (see `resize_weights`).
"""

from __future__ import annotations

import functools
import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFile

from pipelines.imaging.png import require_whole_png

ASPECTS = ("crop", "pad", "stretch")
JPEG_QUALITY = 95
# The weights of one output pixel sum to this. 255 * 2**15 < 2**24, so every partial sum is exact in float32.
WEIGHT_SCALE = 1 << 15
# EXIF tag 0x0112, a SHORT (EXIF 2.32, tables 4 and 8).
ORIENTATION_TAG = 0x0112
ORIENTATION_TYPE = 3
EXIF_MARKER = b"Exif\x00\x00"
# Only this many bytes at the start of a file are searched for segments. Nothing but pixels, or an unusually large
# colour profile, lies beyond them.
HEADER_REACH = 1 << 20
# Three times the largest camera image in the archive. At four bytes a pixel, several copies must fit in memory.
MAX_PIXELS = 64_000_000
# MPO, written by some cameras, is a JPEG followed by further images.
_FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png"}
# Colour modes that TensorFlow's decoders convert to the same RGB values as Pillow.
_MODES = frozenset({"L", "LA", "RGB", "RGBA", "P", "1", "I;16", "I;16B", "I"})


ImageFile.LOAD_TRUNCATED_IMAGES = False
# MAX_PIXELS already rejects what the first warning is about; the warnings about malformed EXIF do not name the file.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")


class BadImage(Exception):  # noqa: N818  the name says what it is
    """Error for an image that cannot be used.

    Attributes:
        reason: A short code, as written to the rejects file.
        message: The details for a human reader.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


@dataclass(frozen=True)
class ImageInfo:
    """Facts from an image file's header."""

    format: str  # "jpeg" or "png"
    width: int  # pixels, after the EXIF orientation is applied
    height: int  # pixels, after the EXIF orientation is applied
    orientation: int  # EXIF orientation, 1 to 8


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BadImage("empty_file", "the file has no bytes")
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from error
    except Exception as error:  # Pillow's parsers raise many exception types on malformed files
        raise BadImage("not_an_image", f"no image format recognised ({error.__class__.__name__})") from error
    if image.format not in _FORMATS:
        raise BadImage("unsupported_format", f"{image.format} is not JPEG or PNG")
    if image.width * image.height > MAX_PIXELS:
        raise BadImage("too_large", f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
    if image.mode not in _MODES:
        raise BadImage("unsupported_color", f"colour mode {image.mode} is not grey, palette or RGB")
    return image


def _exif(data: bytes) -> bytes:
    """Return the TIFF structure in the first EXIF segment (APP1) of a JPEG's header; empty if there is none."""
    head = data[:HEADER_REACH]
    position = 2
    while position + 4 <= len(head) and head[position] == 0xFF and head[position + 1] not in (0xD9, 0xDA):
        end = position + 2 + int.from_bytes(head[position + 2 : position + 4], "big")
        if head[position + 1] == 0xE1 and head[position + 4 : position + 10] == EXIF_MARKER:
            return head[position + 10 : end]
        position = end
    return b""


def orientation_of(data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, of a JPEG; 1 if it is absent or malformed, or if the file is not a JPEG.

    XMP is ignored. `standardize_graph` does the same in TensorFlow.
    """
    tiff = _exif(data) if data[:2] == b"\xff\xd8" else b""
    order: Literal["little", "big"] = "little" if tiff[:1] == b"I" else "big"

    def number(position: int, width: int) -> int:
        return int.from_bytes(tiff[position : position + width], order)

    directory = number(4, 4)
    if directory < 8 or directory + 2 > len(tiff):
        return 1
    for start in range(directory + 2, len(tiff) - 11, 12)[: number(directory, 2)]:
        if number(start, 2) == ORIENTATION_TAG:
            value = number(start + 8, 2) if number(start + 2, 2) == ORIENTATION_TYPE else 1
            return value if 1 <= value <= 8 else 1
    return 1


def read_info(data: bytes) -> ImageInfo:
    """Read the header facts of an image file without decoding its pixels.

    Raises:
        BadImage: The file is empty, too large, or not a supported JPEG or PNG.
    """
    image = _open(data)
    orientation = orientation_of(data)
    width, height = image.size
    if orientation >= 5:
        width, height = height, width
    return ImageInfo(_FORMATS[image.format or ""], width, height, orientation)


def reduction(width: int, height: int, size: int, aspect: str) -> int:
    """Return the largest factor by which the JPEG decoder may shrink an image that is to be resized to `size`.

    Args:
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        size: Side of the target square in pixels. At least that many are left to resize from.
        aspect: One of ASPECTS. For "pad" the longer side must keep `size` pixels, otherwise the shorter.

    Returns:
        1, 2, 4 or 8.
    """
    side = max(width, height) if aspect == "pad" else min(width, height)
    for factor in (8, 4, 2):
        # Decoders disagree when a side shrinks to less than a pixel.
        if side >= factor * size and min(width, height) >= factor:
            return factor
    return 1


def decode(data: bytes, factor: int = 1) -> np.ndarray:
    """Decode an image file to RGB pixels and apply its EXIF orientation.

    Args:
        data: A JPEG or PNG file. All of it is read, so a truncated file raises whatever the factor.
        factor: Shrink a JPEG by this factor while decoding: 1, 2, 4 or 8. PNG ignores it.

    Returns:
        Pixels, uint8 [height, width, 3].

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    image = _open(data)
    try:
        if image.format == "PNG":
            require_whole_png(data)
        if factor > 1 and image.format != "PNG":
            image.draft(None, (max(1, image.width // factor), max(1, image.height // factor)))
        if image.mode.startswith("I"):
            # 16-bit grey: keep the high byte, as libpng does when it reduces to 8 bits.
            high = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            pixels = np.repeat(high[:, :, None], 3, axis=2)
        else:
            pixels = np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from error
    except Exception as error:  # Pillow's decoders raise many exception types on malformed files
        raise BadImage("undecodable", str(error) or error.__class__.__name__) from error
    return _orient(pixels, orientation_of(data))


def _orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (EXIF 2.32, 4.6.4): 2-4 are flips, 5-8 are flips of the transpose."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


# Most archives contain only a few image sizes; a matrix takes 4 * size * length bytes.
@functools.lru_cache(maxsize=16)
def resize_weights(length: int, size: int) -> np.ndarray:
    """Return the weights of an antialiased triangle filter that resizes `length` pixels to `size`.

    The triangle extends one output pixel (at least one input pixel) to either side: the bilinear filter of Pillow and
    of `tf.image.resize(antialias=True)`. Weights are computed in integers, so they are the same on every machine.

    Returns:
        float32 [size, length]. Each weight is a whole number; each row sums to WEIGHT_SCALE.
    """
    output = np.arange(size, dtype=np.int64)[:, None]
    source = np.arange(length, dtype=np.int64)[None, :]
    # Distance from the output pixel's centre in units of 1 / (2 * size) input pixels.
    distance = np.abs(2 * size * source - ((2 * output + 1) * length - size))
    triangle = np.maximum(2 * max(length, size) - distance, 0)
    weights = triangle * WEIGHT_SCALE // triangle.sum(axis=1, keepdims=True)
    # The remainder from rounding down goes to the heaviest weight, to the first of several equal ones.
    heaviest = weights.argmax(axis=1)
    weights[np.arange(size), heaviest] += WEIGHT_SCALE - weights.sum(axis=1)
    return weights.astype(np.float32)


def _shrink_rows(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize axis 0 of uint8 [length, m] to [size, m]; exact, see WEIGHT_SCALE."""
    if pixels.shape[0] == size:
        return pixels
    sums = resize_weights(pixels.shape[0], size) @ pixels.astype(np.float32)
    return ((sums.astype(np.int32) + WEIGHT_SCALE // 2) // WEIGHT_SCALE).astype(np.uint8)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image with antialiasing, rows first, and round to uint8 after each pass.

    Args:
        pixels: uint8 [h, w, 3].
        height: Height of the result in pixels.
        width: Width of the result in pixels.

    Returns:
        uint8 [height, width, 3].
    """
    columns = pixels.shape[1]
    rows = _shrink_rows(np.ascontiguousarray(pixels).reshape(pixels.shape[0], columns * 3), height)
    turned = np.ascontiguousarray(rows.reshape(height, columns, 3).transpose(1, 0, 2)).reshape(columns, height * 3)
    return np.ascontiguousarray(_shrink_rows(turned, width).reshape(width, height, 3).transpose(1, 0, 2))


def fit(pixels: np.ndarray, size: int, aspect: str) -> np.ndarray:
    """Make an image square.

    Args:
        pixels: uint8 [h, w, 3].
        size: Side of the square in pixels.
        aspect: One of ASPECTS.
            crop: the centre square, resized (the ends of the long side are lost).
            pad: the whole image, resized, centred on black.
            stretch: the whole image, resized to fill the square (proportions are lost).

    Returns:
        uint8 [size, size, 3].
    """
    height, width = pixels.shape[:2]
    if aspect == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return resize(pixels[top : top + side, left : left + side], size, size)
    if aspect == "stretch":
        return resize(pixels, size, size)
    side = max(height, width)
    inner_height = max(1, (height * size + side // 2) // side)
    inner_width = max(1, (width * size + side // 2) // side)
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    square[top : top + inner_height, left : left + inner_width] = resize(pixels, inner_height, inner_width)
    return square


def standardize(data: bytes, size: int, aspect: str) -> np.ndarray:
    """Preprocess an image file: decode it to RGB, apply its orientation and make it square.

    This is the only preprocessing of raw files.

    Args:
        data: A JPEG or PNG file.
        size: Side of the square in pixels.
        aspect: One of ASPECTS, see `fit`.

    Returns:
        uint8 [size, size, 3].

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    info = read_info(data)
    return fit(decode(data, reduction(info.width, info.height, size, aspect)), size, aspect)


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Encode uint8 [h, w, 3] as JPEG at JPEG_QUALITY without chroma subsampling; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    # TensorFlow's encoder writes 300 dpi into the header. Doing the same makes the graph's bytes identical.
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, dpi=(300, 300))
    return buffer.getvalue()


def channel_sums(pixels: np.ndarray) -> tuple[list[int], list[int]]:
    """Sum each channel and its square over an image, in integers so that totals are exact in any order of addition.

    Args:
        pixels: uint8 [h, w, 3].

    Returns:
        The three sums of values and the three sums of squares.
    """
    flat = pixels.reshape(-1, 3).astype(np.int64)
    return flat.sum(axis=0).tolist(), (flat * flat).sum(axis=0).tolist()
