"""Which class an image is given and whether it is flagged, from a model's probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# The probabilities that a point was chosen for, as named in model.json: of the image as it is, or the mean over its
# eight flips and turns (--tta).
ONE_VIEW, EIGHT_VIEWS = "one_view", "eight_views"


class OperatingPoint(NamedTuple):
    """A threshold chosen on validation images, and how it performs on them."""

    target: float  # the sensitivity it was chosen for
    threshold: float  # an image is flagged if its malignancy score is at least this
    # On the images that the threshold was chosen on:
    sensitivity: float  # share of malignant images that are flagged
    specificity: float | None  # share of benign images that are not flagged; None if there are no benign images
    malignant: int  # number of malignant images
    benign: int  # number of benign images


def read_points(values: Mapping[str, Any]) -> dict[str, tuple[OperatingPoint, ...]]:
    """Read the operating points of a model.

    Args:
        values: `operating_points` of model.json.

    Returns:
        The points for ONE_VIEW and for EIGHT_VIEWS.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: `values` has another form, or a threshold is not finite.
    """
    found = {}
    for views in (ONE_VIEW, EIGHT_VIEWS):
        points = [OperatingPoint(**point) for point in values[views]]
        if not all(math.isfinite(point.threshold) for point in points):
            raise ValueError("a threshold is not finite")
        found[views] = tuple(points)
    return found


def point_for(points: Sequence[OperatingPoint], target: float) -> OperatingPoint | None:
    """Return the point that was chosen for the target sensitivity, or None."""
    return next((point for point in points if math.isclose(point.target, target, abs_tol=1e-9)), None)


def malignancy_scores(probabilities: np.ndarray, classes: Sequence[str], malignant: Sequence[str]) -> np.ndarray:
    """Return the malignancy score of each image: the sum of the probabilities of its malignant classes.

    Args:
        probabilities: [n, C].
        classes: Classes in label order.
        malignant: The malignant ones among them.

    Returns:
        float64 [n], from 0 to 1.
    """
    return np.asarray(probabilities, np.float64)[:, [name in malignant for name in classes]].sum(axis=1)


def flags(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return which malignancy scores are at least the threshold.

    Both are compared as float32, because that is what tables store.

    Args:
        scores: [n].
        threshold: The lowest score that is flagged.

    Returns:
        bool [n].
    """
    return np.asarray(scores, np.float32) >= np.float32(threshold)


def prior_of_model(calibration: Mapping[str, Any], classes: Sequence[str]) -> tuple[float, ...]:
    """Return the class frequencies that a model's probabilities assume, in label order.

    Args:
        calibration: `calibration` of model.json.
        classes: Classes in label order.

    Raises:
        KeyError: There is no prior, or it lacks a class.
    """
    return tuple(float(calibration["prior"][name]) for name in classes)


def decision_values(probabilities: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return what the probabilities would be if all classes were equally frequent.

    Choosing the class with the largest value is optimal for balanced accuracy (Menon et al. 2021, section 3).

    Args:
        probabilities: [n, C].
        prior: Class frequencies that the probabilities assume, [C], or [n, C] with one row per image. A class of
            frequency 0 gets the value 0, so it is never chosen.

    Returns:
        float64 [n, C]; each row sums to 1.
    """
    probabilities = np.asarray(probabilities, np.float64)
    values = np.divide(probabilities, prior, out=np.zeros(probabilities.shape), where=np.asarray(prior) > 0)
    total = values.sum(axis=1, keepdims=True)
    # A row sums to 0 if all probable classes were absent from training; then all classes get the same value.
    return np.divide(values, total, out=np.full(values.shape, 1.0 / values.shape[1]), where=total > 0)
