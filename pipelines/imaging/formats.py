"""Open image files of every format that is read, and convert their pixels to RGB."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageFile

from pipelines.imaging.bad_image import BadImage
from pipelines.imaging.jpeg_markers import without_metadata
from pipelines.imaging.png import SIGNATURE, plain_png, require_valid_header, sides_of
from pipelines.imaging.signatures import is_dicom_head, is_heic_head

# Three times the largest camera image in the archive. At four bytes a pixel, several copies must fit in memory.
MAX_PIXELS = 64_000_000
# Four channels of 16 bits, and as much again as their other contents may need.
MAX_IMAGE_BYTES = 8 * MAX_PIXELS + (32 << 20)
# What libpng takes.
MAX_SIDE = 1_000_000
_JPEG_HEAD = b"\xff\xd8\xff"
# Pillow's name -> ours. MPO, written by some cameras, is a JPEG followed by further images.
FORMATS = {
    "JPEG": "jpeg",
    "MPO": "jpeg",
    "PNG": "png",
    "BMP": "bmp",
    "GIF": "gif",
    "TIFF": "tiff",
    "WEBP": "webp",
    "AVIF": "avif",
    "JPEG2000": "jpeg2000",
}
# Colour modes whose conversion to RGB is defined. I: 16-bit grey of a PNG, in older Pillow.
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B", "I"})
_TIFF_SUBFILE = 254
_REDUCED = 1
_TIFF_BITS = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0

ImageFile.LOAD_TRUNCATED_IMAGES = False
# Pillow's warnings do not name the file, and what they are about is decided here: size, transparency, malformed EXIF.
warnings.filterwarnings("ignore", module=r"PIL\.")


def _unread_format(data: bytes) -> str:
    """Return what a file of a known format is that Pillow does not read, and what to do; empty for any other file."""
    if is_heic_head(data):
        return "HEIC, the format of iPhones, is not read; convert it to JPEG, for example with heif-convert"
    if is_dicom_head(data):
        return "DICOM is not read; export its frames as PNG, for example with dcm2img of DCMTK"
    return ""


def _is_preview(data: bytes, image: Image.Image) -> bool:
    """Return whether the first image of a file is a small copy of its photograph, as in the raw files of cameras."""
    subfile = _tiff_tag(image, _TIFF_SUBFILE)
    reduced = isinstance(subfile, int) and bool(subfile & _REDUCED)
    return image.format == "TIFF" and (reduced or data[8:10] == b"CR")


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except Image.UnidentifiedImageError:
        if not data.startswith(_JPEG_HEAD):
            raise
    # Pillow reads previews and metadata as it opens a file, and does not forgive mistakes there.
    return Image.open(io.BytesIO(without_metadata(data)))


def open_image(data: bytes) -> Image.Image:
    """Open an image file with Pillow without decoding it.

    Args:
        data: The file.

    Raises:
        BadImage: The file is empty or too large, or its format or colours are not supported.
    """
    if not data:
        raise BadImage("empty_file", "the file has no bytes")
    if data.startswith(SIGNATURE):
        try:
            data = plain_png(data)
            _require_size(*sides_of(data))
            require_valid_header(data)
        except ValueError as error:
            raise BadImage("undecodable", str(error)) from error
    try:
        image = _open(data)
    except Image.DecompressionBombError as error:
        raise BadImage("too_large", str(error)) from error
    except Exception as error:  # Pillow's parsers raise many exception types on malformed files
        unread = _unread_format(data)
        if unread:
            raise BadImage("unsupported_format", unread) from error
        if data.startswith((_JPEG_HEAD, SIGNATURE)):
            raise BadImage("undecodable", f"the header is damaged ({error.__class__.__name__})") from error
        raise BadImage("not_an_image", f"no image format recognised ({error.__class__.__name__})") from error
    if image.format not in FORMATS:
        raise BadImage("unsupported_format", f"{image.format} is not read; convert it to PNG")
    if _is_preview(data, image):
        raise BadImage("unsupported_format", "a camera's raw file is not read; export it as JPEG")
    _require_size(*image.size)
    _require_known_colors(image)
    return image


def _require_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise BadImage("too_large", f"{width} x {height} pixels, a side of more than {MAX_SIDE:,}")
    if width * height > MAX_PIXELS:
        raise BadImage("too_large", f"{width} x {height} pixels, more than {MAX_PIXELS:,}")


def _tiff_tag(image: Image.Image, tag: int) -> object:
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    return tags.get(tag)


def _require_known_colors(image: Image.Image) -> None:
    if image.mode not in _MODES or (image.mode == "I" and image.format != "PNG"):
        raise BadImage(
            "unsupported_color", f"colour mode {image.mode} has no defined RGB; convert it to 8 bits a channel"
        )
    # Pillow gives 12 bits as they are, in 16.
    if _tiff_tag(image, _TIFF_BITS) == (12,):
        raise BadImage("unsupported_color", "12 bits a pixel are not read; convert it to 8 or 16")


def load_rgb(image: Image.Image) -> Image.Image:
    """Decode an opened image, the first if its file has several, to RGB.

    Transparency is dropped. Of 16 bits the high byte is kept, as libpng does when it reduces to 8 bits.

    Args:
        image: What `open_image` returned.

    Returns:
        An image of mode RGB. Pillow has applied the orientation of a TIFF.
    """
    if image.mode.startswith("I"):
        high = (np.asarray(image) >> 8).astype(np.uint8)
        inverted = _tiff_tag(image, _TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
        return Image.fromarray(255 - high if inverted else high).convert("RGB")
    if image.mode == "RGB":
        # `convert` would copy it.
        image.load()
        return image
    return image.convert("RGB")
