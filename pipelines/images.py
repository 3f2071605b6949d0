"""One image file in, standardised pixels out: pure functions of bytes, with Pillow and numpy.

The same arithmetic exists as a TensorFlow graph in `standardize_graph`, which travels with the dataset and inside
the exported model. Both give the same pixels to the last bit, because nothing in them rounds by accident: JPEG is
decoded by libjpeg-turbo's exact integer transform, and the resize is integer arithmetic (see `resize_weights`).
"""

from __future__ import annotations

import functools
import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFile

from pipelines.png import require_whole_png

ASPECTS = ("crop", "pad", "stretch")
JPEG_QUALITY = 95
# Weights of one output pixel sum to this. 255 * 2**15 < 2**24: every partial sum is exact in float32.
WEIGHT_SCALE = 1 << 15
# EXIF tag 0x0112, a SHORT (EXIF 2.32, tables 4 and 8).
ORIENTATION_TAG = 0x0112
ORIENTATION_TYPE = 3
EXIF_MARKER = b"Exif\x00\x00"
# Segments are looked at this far into a file: beyond it lies nothing but pixels, or a colour profile of unusual size.
HEADER_REACH = 1 << 20
# Three times the largest camera pictures of the archive; four bytes a pixel must fit in memory several times over.
MAX_PIXELS = 64_000_000
# MPO is a JPEG with further pictures behind the first, as some cameras write.
_FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png"}
# Colour modes that TensorFlow's decoders turn into the same RGB as Pillow does.
_MODES = frozenset({"L", "LA", "RGB", "RGBA", "P", "1", "I;16", "I;16B", "I"})

ImageFile.LOAD_TRUNCATED_IMAGES = False
# Pillow warns of what MAX_PIXELS refuses, and of malformed EXIF without saying of which file.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")


class BadImage(Exception):  # noqa: N818  the name says what it is
    """An image that cannot be used. `reason` is a code for the rejects file, the message says more."""

    def __init__(self, reason: str, message: str):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


@dataclass(frozen=True)
class ImageInfo:
    """What the header says; width and height in pixels, after the EXIF orientation is applied."""

    format: str
    width: int
    height: int
    orientation: int


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BadImage("empty_file", "the file has no bytes")
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from error
    except Exception as error:  # Pillow's parsers raise many kinds on malformed files
        raise BadImage("not_an_image", f"no image format recognised ({error.__class__.__name__})") from error
    if image.format not in _FORMATS:
        raise BadImage("unsupported_format", f"{image.format} is not JPEG or PNG")
    if image.width * image.height > MAX_PIXELS:
        raise BadImage("too_large", f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
    if image.mode not in _MODES:
        raise BadImage("unsupported_color", f"colour mode {image.mode} is not grey, palette or RGB")
    return image


def _exif(data: bytes) -> bytes:
    """The TIFF structure in the first EXIF segment (APP1) of a JPEG's header; empty when there is none."""
    head = data[:HEADER_REACH]
    position = 2
    while position + 4 <= len(head) and head[position] == 0xFF and head[position + 1] not in (0xD9, 0xDA):
        end = position + 2 + int.from_bytes(head[position + 2 : position + 4], "big")
        if head[position + 1] == 0xE1 and head[position + 4 : position + 10] == EXIF_MARKER:
            return head[position + 10 : end]
        position = end
    return b""


def orientation_of(data: bytes) -> int:
    """EXIF orientation, 1 to 8, of a JPEG; 1 when absent or malformed, and for anything that is no JPEG.

    XMP is not looked at. `standardize_graph` does the same in TensorFlow.
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
    """Header facts without decoding pixels. Raises BadImage."""
    image = _open(data)
    orientation = orientation_of(data)
    width, height = image.size
    if orientation >= 5:
        width, height = height, width
    return ImageInfo(_FORMATS[image.format or ""], width, height, orientation)


def reduction(width: int, height: int, size: int, aspect: str) -> int:
    """By how much (1, 2, 4 or 8) the JPEG decoder may shrink an image and still leave `size` pixels to resize from."""
    side = max(width, height) if aspect == "pad" else min(width, height)
    for factor in (8, 4, 2):
        # Shrinking a side to less than a pixel is where decoders differ.
        if side >= factor * size and min(width, height) >= factor:
            return factor
    return 1


def decode(data: bytes, factor: int = 1) -> np.ndarray:
    """Pixels, uint8 [height, width, 3], orientation applied; JPEG shrunk by `factor` while decoding.

    The whole file is read, so that a truncated one raises whatever the factor. Raises BadImage.
    """
    image = _open(data)
    try:
        if image.format == "PNG":
            require_whole_png(data)
        if factor > 1 and image.format != "PNG":
            image.draft(None, (max(1, image.width // factor), max(1, image.height // factor)))
        if image.mode.startswith("I"):
            # 16-bit grey: keep the high byte, as libpng does when it strips to 8 bits.
            high = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            pixels = np.repeat(high[:, :, None], 3, axis=2)
        else:
            pixels = np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from error
    except Exception as error:  # Pillow's decoders raise many kinds on malformed files
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


# A few sizes make up most archives; a matrix takes 4 * size * length bytes.
@functools.lru_cache(maxsize=16)
def resize_weights(length: int, size: int) -> np.ndarray:
    """Antialiased triangle-filter weights, float32 [size, length], each a whole number; rows sum to WEIGHT_SCALE.

    The triangle is as wide as one output pixel (at least one input pixel) on either side: the bilinear filter of
    Pillow and of `tf.image.resize(antialias=True)`. Weights are computed in integers, so any machine gets the same.
    """
    output = np.arange(size, dtype=np.int64)[:, None]
    source = np.arange(length, dtype=np.int64)[None, :]
    # Distance from the output pixel's centre in units of 1 / (2 * size) input pixels.
    distance = np.abs(2 * size * source - ((2 * output + 1) * length - size))
    triangle = np.maximum(2 * max(length, size) - distance, 0)
    weights = triangle * WEIGHT_SCALE // triangle.sum(axis=1, keepdims=True)
    # What rounding down left over goes to the heaviest weight, the first where several are equal.
    heaviest = weights.argmax(axis=1)
    weights[np.arange(size), heaviest] += WEIGHT_SCALE - weights.sum(axis=1)
    return weights.astype(np.float32)


def _shrink_rows(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize axis 0 of uint8 [length, m] to [size, m]. Exact: see WEIGHT_SCALE."""
    if pixels.shape[0] == size:
        return pixels
    sums = resize_weights(pixels.shape[0], size) @ pixels.astype(np.float32)
    return ((sums.astype(np.int32) + WEIGHT_SCALE // 2) // WEIGHT_SCALE).astype(np.uint8)


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Antialiased resize of uint8 [h, w, 3], rows first, rounded to uint8 after each pass."""
    columns = pixels.shape[1]
    rows = _shrink_rows(np.ascontiguousarray(pixels).reshape(pixels.shape[0], columns * 3), height)
    turned = np.ascontiguousarray(rows.reshape(height, columns, 3).transpose(1, 0, 2)).reshape(columns, height * 3)
    return np.ascontiguousarray(_shrink_rows(turned, width).reshape(width, height, 3).transpose(1, 0, 2))


def fit(pixels: np.ndarray, size: int, aspect: str) -> np.ndarray:
    """Square of `size` from uint8 [h, w, 3].

    crop: the centre square, resized (edges of the long side are lost).
    pad: the whole image, resized, centred on black.
    stretch: the whole image, resized in both directions (proportions are lost).
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
    """The one preprocessing of a raw file: orientation applied, RGB, uint8 [size, size, 3]. Raises BadImage."""
    info = read_info(data)
    return fit(decode(data, reduction(info.width, info.height, size, aspect)), size, aspect)


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """JPEG of uint8 [h, w, 3] at JPEG_QUALITY without chroma subsampling; the same bytes for the same pixels."""
    buffer = io.BytesIO()
    # 300 dpi is what TensorFlow's encoder writes in the header; with it, the graph gives the same bytes.
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, dpi=(300, 300))
    return buffer.getvalue()


def channel_sums(pixels: np.ndarray) -> tuple[list[int], list[int]]:
    """Sums over the image of each channel and of its square: integers, so adding them up is exact in any order."""
    flat = pixels.reshape(-1, 3).astype(np.int64)
    return flat.sum(axis=0).tolist(), (flat * flat).sum(axis=0).tolist()
