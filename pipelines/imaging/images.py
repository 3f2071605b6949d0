"""Turn the bytes of an image file into standardised pixels: pure functions built on Pillow and numpy.

`standardize_graph` implements the same arithmetic as a TensorFlow graph, which is stored with the dataset and inside
the exported model. Both produce bit-identical pixels because every rounding step is defined: libjpeg-turbo decodes JPEG
with its exact integer transform, and the resize uses integer arithmetic (see `resize`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from pipelines.imaging.bad_image import BadImage
from pipelines.imaging.decode_turns import TURNS
from pipelines.imaging.formats import FORMATS, MAX_PIXELS, load_rgb, open_image
from pipelines.imaging.forms import JPEG_QUALITY
from pipelines.imaging.jpeg import JPEG_START, decode_jpeg, rgb_of_cmyk
from pipelines.imaging.png import plain_png, require_whole_png

# A JPEG is shrunk while decoding only as long as its shorter side keeps this many pixels, or as many as are asked for.
# Most networks take 224 pixels or fewer.
SHARED_SIDE = 224
# EXIF tag 0x0112, a SHORT (EXIF 2.32, tables 4 and 8).
ORIENTATION_TAG = 0x0112
ORIENTATION_TYPE = 3
EXIF_MARKER = b"Exif\x00\x00"
# Only this many bytes at the start of a file are searched for segments. Nothing but pixels, or an unusually large
# colour profile, lies beyond them.
HEADER_REACH = 1 << 20
# What undoes an EXIF orientation (EXIF 2.32, 4.6.4).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ImageInfo:
    """Facts from an image file's header."""

    format: str  # a value of `formats.FORMATS`
    width: int  # pixels, after the EXIF orientation is applied
    height: int  # pixels, after the EXIF orientation is applied
    orientation: int  # EXIF orientation, 1 to 8
    scratch: int  # bytes per pixel of the file that decoding takes beside the decoded image


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
    tiff = _exif(data) if data[:2] == JPEG_START else b""
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
        BadImage: The file is empty, too large, or of an unsupported format or colour mode.
    """
    return _info(open_image(data), data)


def _orientation(image: Image.Image, data: bytes) -> int:
    """Return the orientation that is still to be applied; Pillow applies that of a TIFF itself."""
    if image.format in ("WEBP", "AVIF"):
        value = image.getexif().get(ORIENTATION_TAG)
        return value if value in _TURNS else 1
    return orientation_of(data)


def _info(image: Image.Image, data: bytes) -> ImageInfo:
    orientation = _orientation(image, data)
    width, height = image.size
    if orientation >= 5:
        width, height = height, width
    return ImageInfo(FORMATS[image.format or ""], width, height, orientation, _scratch(image))


def _scratch(image: Image.Image) -> int:
    if image.info.get("progressive"):
        # All coefficients at once: two bytes for each of up to three channels, whatever the scale.
        return 6
    # What is not RGB yet exists twice while it is converted.
    return 0 if image.mode == "RGB" else 4


def reduction(width: int, height: int, size: int, aspect: str) -> int:
    """Return the factor by which the JPEG decoder may shrink an image that is to be resized to `size`.

    Up to a size of SHARED_SIDE the factor depends on the image alone. So one decode serves every such size and the
    perceptual hash, and which images are near-duplicates does not depend on the size of the records.

    Args:
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        size: Side of the target square in pixels. At least that many are left to resize from.
        aspect: One of `forms.ASPECTS`. Beyond SHARED_SIDE, the longer side must keep `size` pixels for "pad", otherwise
            the shorter.

    Returns:
        1, 2, 4 or 8.
    """
    least = max(size, SHARED_SIDE)
    side = max(width, height) if aspect == "pad" and size > SHARED_SIDE else min(width, height)
    for factor in (8, 4, 2):
        # Decoders disagree when a side shrinks to less than a pixel.
        if side >= factor * least and min(width, height) >= factor:
            return factor
    return 1


def decode_turn(info: ImageInfo, factor: int) -> contextlib.AbstractContextManager[None]:
    """Return the context in which an image should be decoded and made smaller; large images wait there for each other.

    Args:
        info: Facts from its header.
        factor: The factor by which a JPEG is shrunk while it is decoded.
    """
    pixels = info.width * info.height
    # Pillow keeps four bytes per pixel. A JPEG is decoded to three more.
    left = 7 * pixels // factor**2 if info.format == "jpeg" else 4 * pixels
    return TURNS.hold(left + info.scratch * pixels)


def decode_image(data: bytes, factor: int = 1) -> Image.Image:
    """Decode an image file to RGB and apply its EXIF orientation.

    Args:
        data: An image file. All of it is read, so a truncated file raises whatever the factor.
        factor: Shrink a JPEG by this factor while decoding: 1, 2, 4 or 8. Other formats ignore it.

    Returns:
        An image of mode RGB.

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    try:
        decoded = decode_jpeg(data, factor, MAX_PIXELS) if data[:2] == JPEG_START else None
        orientation = orientation_of(data)
        if decoded is None:
            image = open_image(data)
            orientation = _orientation(image, data)
            if image.format == "PNG":
                require_whole_png(plain_png(data))
            elif factor > 1:
                image.draft(None, (max(1, image.width // factor), max(1, image.height // factor)))
            is_cmyk_jpeg = image.mode == "CMYK" and data[:2] == JPEG_START
            decoded = rgb_of_cmyk(image, data) if is_cmyk_jpeg else load_rgb(image)
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from error
    except Exception as error:  # Pillow's decoders raise many exception types on malformed files
        raise BadImage("undecodable", str(error) or error.__class__.__name__) from error
    turn = _TURNS.get(orientation)
    return decoded if turn is None else decoded.transpose(turn)


def decode(data: bytes, factor: int = 1) -> np.ndarray:
    """Return `decode_image` as pixels, uint8 [height, width, 3]."""
    return np.asarray(decode_image(data, factor))


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize an image with Pillow's antialiased bilinear filter.

    Pillow computes in integers: weights rounded to 22 bits, sums rounded to uint8 after each pass. `standardize_graph`
    does the same. The width comes first. Only where an image is more than 100 times taller than wide, Pillow begins
    with the height.
    """
    return image.resize((width, height), Image.Resampling.BILINEAR)


def fit(image: Image.Image, size: int, aspect: str) -> Image.Image:
    """Make an image square.

    Args:
        image: An image of mode RGB.
        size: Side of the square in pixels.
        aspect: One of `forms.ASPECTS`.
            crop: the centre square, resized (the ends of the long side are lost).
            pad: the whole image, resized, centred on black.
            stretch: the whole image, resized to fill the square (proportions are lost).

    Returns:
        An image of mode RGB, `size` pixels wide and high.
    """
    width, height = image.size
    if aspect == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        # Cut first: with Pillow's `box` the filter would reach beyond the square. Nothing to cut off would be a copy.
        square = image if width == height else image.crop((left, top, left + side, top + side))
        return resize(square, size, size)
    if aspect == "stretch":
        return resize(image, size, size)
    side = max(height, width)
    inner_height = max(1, (height * size + side // 2) // side)
    inner_width = max(1, (width * size + side // 2) // side)
    square = Image.new("RGB", (size, size))
    square.paste(resize(image, inner_width, inner_height), ((size - inner_width) // 2, (size - inner_height) // 2))
    return square


def standardize(data: bytes, size: int, aspect: str) -> np.ndarray:
    """Preprocess an image file: decode it to RGB, apply its orientation and make it square.

    This is the only preprocessing of raw files.

    Args:
        data: An image file.
        size: Side of the square in pixels.
        aspect: One of `forms.ASPECTS`, see `fit`.

    Returns:
        uint8 [size, size, 3].

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    info = read_info(data)
    factor = reduction(info.width, info.height, size, aspect)
    with decode_turn(info, factor):
        return np.asarray(fit(decode_image(data, factor), size, aspect))


class _Encoded(threading.local):
    """A file of each thread to encode into: Pillow releases the GIL only while it writes to a file descriptor."""

    def __init__(self) -> None:
        # Unbuffered, and in memory where there is such a thing.
        if hasattr(os, "memfd_create"):
            self.file: BinaryIO = open(os.memfd_create("encoded"), "wb+", buffering=0)  # noqa: SIM115
        else:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115


_encoded = _Encoded()


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Encode uint8 [h, w, 3] as JPEG at JPEG_QUALITY without chroma subsampling; equal pixels give equal bytes."""
    file = _encoded.file
    descriptor = file.fileno()
    os.lseek(descriptor, 0, os.SEEK_SET)
    # TensorFlow's encoder writes 300 dpi into the header. Doing the same makes the graph's bytes identical.
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0, dpi=(300, 300))
    return os.pread(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR), 0)


def channel_sums(image: Image.Image) -> tuple[list[int], list[int]]:
    """Sum each channel and its square over an image, in integers so that totals are exact in any order of addition.

    Args:
        image: An image of mode RGB.

    Returns:
        The three sums of values and the three sums of squares.
    """
    counts = np.reshape(image.histogram(), (3, 256))
    levels = np.arange(256)
    return (counts @ levels).tolist(), (counts @ (levels * levels)).tolist()
