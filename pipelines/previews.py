"""Make small JPEG previews for reports."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipelines import images

_QUALITY = 80


def small_jpeg(pixels: np.ndarray, side: int) -> bytes:
    """Shrink an image and encode it as JPEG.

    Args:
        pixels: uint8 [h, w, 3].
        side: Maximum length of the longer side in pixels. A smaller image keeps its size.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    small = images.resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def preview_jpeg(data: bytes, side: int) -> bytes:
    """Make a small JPEG of a whole image file.

    Args:
        data: A JPEG or PNG file.
        side: Maximum length of the longer side in pixels. A smaller image keeps its size.

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    info = images.read_info(data)
    return small_jpeg(images.decode(data, images.reduction(info.width, info.height, side, "pad")), side)
