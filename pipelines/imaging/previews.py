"""Small pictures for reports, with a class activation map drawn over them where one is given."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipelines.imaging import images
from pipelines.imaging.tta_views import turned_back, views_of

_QUALITY = 80


def small_jpeg(pixels: np.ndarray, side: int) -> bytes:
    """Shrink an image and encode it as JPEG.

    Args:
        pixels: uint8 [h, w, 3].
        side: Maximum length of the longer side in pixels. A smaller image keeps its size.
    """
    image = Image.fromarray(pixels)
    scale = min(1.0, side / max(image.size))
    small = images.resize(image, max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def preview_jpeg(data: bytes, side: int) -> bytes:
    """Make a small JPEG of a whole image file.

    Args:
        data: An image file.
        side: Maximum length of the longer side in pixels. A smaller image keeps its size.

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    info = images.read_info(data)
    factor = images.reduction(info.width, info.height, side, "pad")
    with images.decode_turn(info, factor):
        return small_jpeg(images.decode(data, factor), side)


# Longer side of a picture in pixels.
SIDE = 160
# Opacity of the heat where it is strongest.
_STRONGEST = 0.6
# Five steps of Viridis (Smith and van der Walt 2015): each is brighter than the one before, for all kinds of colour
# vision.
HEAT = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


class TriagePictures(NamedTuple):
    """JPEGs whose longer side is at most SIDE pixels."""

    thumbnail: bytes  # the whole image
    overlay: bytes | None  # the model's square input under the heat map; None if there is no map


def symmetric_activation(activate: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Return class activation maps of an image, averaged over its eight flips and turns.

    A convolution that halves an even side is off centre by half a pixel. After several of them, a map is shifted
    against the image by a good part of a position. Over the eight views these shifts cancel.

    Args:
        activate: The model's `class_activation`, float32 [8, S, S, 3] -> [8, h, w, C].
        image: float32 [S, S, 3].

    Returns:
        float32 [h, w, C], in the orientation of `image`.
    """
    return turned_back(activate(views_of(image))).mean(axis=0)


def malignancy_map(activation: np.ndarray, probabilities: Sequence[float], malignant: Sequence[bool]) -> np.ndarray:
    """Return a map of the evidence for malignancy in an image.

    This is Grad-CAM (Selvaraju et al. 2017), up to scale and before its ReLU, of the log-odds ln(M / (1 - M)) of the
    malignancy score M. With maps A_c and probabilities p_c, it is the mean of the malignant classes' maps, weighted by
    p_c / M, minus the mean of the other maps, weighted by p_c / (1 - M).

    Args:
        activation: Class activation maps, float32 [h, w, C].
        probabilities: The model's own probabilities [C] for the same image.
        malignant: Whether each class is malignant, [C].

    Returns:
        float32 [h, w]; zero if all classes are malignant or none is.
    """
    shares = np.asarray(probabilities, np.float64)
    chosen = np.asarray(malignant, bool)
    weights = np.zeros_like(shares)
    for sign, part in ((1.0, chosen), (-1.0, ~chosen)):
        total = shares[part].sum()
        if not part.any() or not total:
            return np.zeros(activation.shape[:2], np.float32)
        weights[part] = sign * shares[part] / total
    return (activation @ weights).astype(np.float32)


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draw the positive part of a map over an image, scaled to the map's own maximum.

    Stronger heat is brighter and more opaque. Where the map is zero or negative, the image stays as it is.

    Args:
        pixels: uint8 [S, S, 3].
        heat: float32 [h, w]; resized to the image.

    Returns:
        uint8 [S, S, 3].
    """
    positive = np.maximum(heat, 0.0).astype(np.float32)
    if positive.max() > 0:
        positive /= positive.max()
    height, width = pixels.shape[:2]
    strength = np.asarray(Image.fromarray(positive).resize((width, height), Image.Resampling.BILINEAR))
    steps = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(strength, steps, channel) for channel in zip(*HEAT, strict=True)], axis=2)
    opacity = (_STRONGEST * strength**2)[:, :, None]
    return np.rint(pixels * (1 - opacity) + colour * opacity).astype(np.uint8)


def triage_pictures(data: bytes, heat: np.ndarray | None, size: int, aspect: str) -> TriagePictures:
    """Make the pictures of an image file.

    Args:
        data: An image file.
        heat: float32 [h, w] from `malignancy_map`, or None for no overlay.
        size: Side of the model's square input in pixels. Like `aspect`, it comes from model.json and is used for the
            overlay only, which shows what the model saw.
        aspect: How the model makes an image square, one of `forms.ASPECTS`.

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    thumbnail = preview_jpeg(data, SIDE)
    if heat is None:
        return TriagePictures(thumbnail, None)
    return TriagePictures(thumbnail, small_jpeg(overlay(images.standardize(data, size, aspect), heat), SIDE))
