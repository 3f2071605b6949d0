"""Make augmented copies of standardised images for balancing; each draw is a function of (seed, image id, copy)."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from pipelines.common.seeding import uniforms

# Largest changes in either direction. They are mild so that the lesion keeps its diagnosis, which depends on colours
# and border.
ZOOM = 0.15
SHIFT = 0.05
BRIGHTNESS = 0.12
CONTRAST = 0.15
CHANNEL_GAIN = 0.04


def augment(pixels: np.ndarray, seed: int, image_id: str, copy: int) -> np.ndarray:
    """Return a copy with random flip, rotation, zoom, shift, brightness, contrast and colour cast.

    The result depends on the arguments alone.

    Args:
        pixels: uint8 [size, size, 3].
        seed: Seed of the run.
        image_id: Id of the image.
        copy: Number of the copy, from 1. Copy 0 is the original, which is never augmented.

    Returns:
        uint8 [size, size, 3].

    Raises:
        ValueError: `copy` is less than 1.
    """
    if copy < 1:
        raise ValueError(f"copy {copy}: the original is not augmented")
    draws = uniforms(10, seed, image_id, copy)
    return _recolour(_move(pixels, draws[:5]), draws[5:])


def _spread(draw: float, half_width: float) -> float:
    return (2.0 * draw - 1.0) * half_width


def _move(pixels: np.ndarray, draws: list[float]) -> np.ndarray:
    """Flip, rotate about the centre, zoom and shift, with bilinear sampling and the image mirrored at its border."""
    size = pixels.shape[0]
    if draws[0] < 0.5:
        pixels = pixels[:, ::-1]
    angle = 2.0 * math.pi * draws[1]
    scale = 1.0 + _spread(draws[2], ZOOM)
    shift_x, shift_y = (_spread(draw, SHIFT) * size for draw in draws[3:5])
    # A corner of the output samples sqrt(2)/2 * scale * size away from the centre: mirror that far, plus the shift and
    # two pixels.
    margin = min(size - 1, math.ceil(size * ((math.sqrt(0.5) * (1.0 + ZOOM)) - 0.5 + SHIFT)) + 2)
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    centre = size / 2.0
    origin_x = margin + centre + shift_x - cosine * centre + sine * centre
    origin_y = margin + centre + shift_y - sine * centre - cosine * centre
    moved = Image.fromarray(padded).transform(
        (size, size),
        Image.Transform.AFFINE,
        (cosine, -sine, origin_x, sine, cosine, origin_y),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(moved)


def _recolour(pixels: np.ndarray, draws: list[float]) -> np.ndarray:
    """Change brightness, contrast about mid-grey and the gain of each channel with a 256-entry table per channel."""
    brightness = _spread(draws[0], BRIGHTNESS) * 255.0
    contrast = 1.0 + _spread(draws[1], CONTRAST)
    gains = np.array([1.0 + _spread(draw, CHANNEL_GAIN) for draw in draws[2:5]])
    levels = np.arange(256, dtype=np.float64)[:, None]
    tables = np.clip(np.rint(((levels - 127.5) * contrast + 127.5 + brightness) * gains), 0, 255).astype(np.uint8)
    return np.stack([tables[pixels[:, :, channel], channel] for channel in range(3)], axis=2)
