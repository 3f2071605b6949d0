"""Pictures for the triage report: an image, and where in it the model sees what speaks for malignancy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipelines import images
from pipelines.previews import preview_jpeg, small_jpeg
from pipelines.symmetries import turned_back, views_of

# Longer side of a picture in pixels.
SIDE = 160
# How much of the strongest place's colour is heat, the rest is picture.
_STRONGEST = 0.6
# Viridis (Smith and van der Walt 2015) in fifths: brighter with every step, for all kinds of colour vision.
HEAT = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


class TriagePictures(NamedTuple):
    """JPEGs of at most SIDE pixels. thumbnail: the whole image. overlay: the model's square input with heat over it;
    None without a map."""

    thumbnail: bytes
    overlay: bytes | None


def symmetric_activation(activate: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Class activation maps of an image, float32 [h, w, C]: the mean over its eight flips and turns, turned back.

    A convolution that halves an even side looks half a pixel to one side. Over several of them a map shifts by a good
    part of a position against the image; over the eight views the shifts cancel.
    activate: the model's `class_activation`, float32 [8, S, S, 3] -> [8, h, w, C]. image: float32 [S, S, 3].
    """
    return turned_back(activate(views_of(image))).mean(axis=0)


def malignancy_map(activation: np.ndarray, probabilities: Sequence[float], malignant: Sequence[bool]) -> np.ndarray:
    """Where the evidence for malignancy lies: float32 [h, w] from class activation maps float32 [h, w, C].

    Grad-CAM (Selvaraju et al. 2017), up to scale and before its ReLU, of the log-odds ln(M / (1 - M)) of the malignancy
    score M. With maps A_c and probabilities p_c that is the mean of the malignant classes' maps, weighted by p_c / M,
    less that of the others, weighted by p_c / (1 - M). Zero when the classes are all malignant or none is.
    probabilities: the model's own, of the same image; malignant: for each class, whether it is.
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
    """uint8 [S, S, 3] with the positive part of a map float32 [h, w] over it, scaled to the map's own maximum.

    The stronger, the brighter and the more opaque; what is zero or negative leaves the picture as it is.
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
    """The pictures of an image file.

    heat: float32 [h, w], as `malignancy_map` gives. size, aspect: how the model makes the image square, from its
    model.json; used for the overlay only, which shows what the model was shown. Raises BadImage.
    """
    thumbnail = preview_jpeg(data, SIDE)
    if heat is None:
        return TriagePictures(thumbnail, None)
    return TriagePictures(thumbnail, small_jpeg(overlay(images.standardize(data, size, aspect), heat), SIDE))
