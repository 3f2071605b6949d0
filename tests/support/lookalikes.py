"""Photographs of skin and copies of them that look alike."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageEnhance

from pipelines.curation.near_duplicates import Picture
from pipelines.imaging import images, perceptual


def photograph(seed: int, height: int = 225, width: int = 300) -> Image.Image:
    """A smooth random picture of skin colour."""
    coarse = np.random.default_rng(seed).integers(-60, 60, (7, 9, 3)) + np.array([190, 140, 130])
    return images.resize(Image.fromarray(coarse.clip(0, 255).astype(np.uint8)), width, height)


def encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def picture_of(identity: str, phash: int, thumbnail: bytes) -> Picture:
    return Picture(identity, phash, perceptual.sketch(thumbnail), thumbnail)


def picture(identity: str, image: Image.Image) -> Picture:
    return picture_of(identity, *perceptual.signature(perceptual.square_of(image.convert("RGB"))))


def thumbnail_of(pixels: np.ndarray) -> bytes:
    return perceptual.signature(perceptual.square_of(Image.fromarray(pixels)))[1]


COPIES = {
    "quality": lambda image: encoded(image, 40),
    "half": lambda image: image.resize((150, 112)),
    "squashed": lambda image: encoded(image.resize((180, 180)), 80),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.07),
    "grey border of one pixel": lambda image: image.crop((1, 1, image.width - 1, image.height - 1)),
}
