"""Small pictures for reports."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipelines import images

_QUALITY = 80


def small_jpeg(pixels: np.ndarray, side: int) -> bytes:
    """A JPEG of uint8 [h, w, 3], its longer side `side` pixels at most."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    small = images.resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def preview_jpeg(data: bytes, side: int) -> bytes:
    """A JPEG of the whole picture, its longer side `side` pixels at most. Raises BadImage."""
    info = images.read_info(data)
    return small_jpeg(images.decode(data, images.reduction(info.width, info.height, side, "pad")), side)
