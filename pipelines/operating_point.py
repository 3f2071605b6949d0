"""An operating point of a model: from which malignancy score on an image is flagged, and how good that was.

The trainer chooses and stores them, the score job reads them. Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# Which images a point was chosen for, as model.json names them: as they are, or as means over flips and turns (--tta).
ONE_VIEW, EIGHT_VIEWS = "one_view", "eight_views"


class OperatingPoint(NamedTuple):
    """A threshold chosen on validation images.

    target: the sensitivity it was chosen for. An image is flagged when its malignancy score is at least `threshold`.
    sensitivity: the share of the `malignant` images that are; specificity: of the `benign` images the share that are
    not, None where there are none. All of that on the images it was chosen on.
    """

    target: float
    threshold: float
    sensitivity: float
    specificity: float | None
    malignant: int
    benign: int


def read_points(values: Mapping[str, Any]) -> dict[str, tuple[OperatingPoint, ...]]:
    """`operating_points` of model.json: ONE_VIEW, EIGHT_VIEWS -> points. Models from before there were any have none.

    Raises KeyError, TypeError, ValueError or AttributeError for what is none.
    """
    found = {}
    for views in (ONE_VIEW, EIGHT_VIEWS):
        points = [OperatingPoint(**point) for point in values.get(views, ())]
        if not all(math.isfinite(point.threshold) for point in points):
            raise ValueError("a threshold is not finite")
        found[views] = tuple(points)
    return found


def point_for(points: Sequence[OperatingPoint], target: float) -> OperatingPoint | None:
    """The point that was chosen for a sensitivity; None if there is none."""
    return next((point for point in points if math.isclose(point.target, target, abs_tol=1e-9)), None)


def malignancy_scores(probabilities: np.ndarray, classes: Sequence[str], malignant: Sequence[str]) -> np.ndarray:
    """Of each row of probabilities [n, C] the sum over the malignant classes, 0 to 1: float64 [n]."""
    return np.asarray(probabilities, np.float64)[:, [name in malignant for name in classes]].sum(axis=1)


def flags(scores: np.ndarray, threshold: float) -> np.ndarray:
    """bool [n]: which malignancy scores are at least the threshold, both as the 32-bit numbers that tables hold."""
    return np.asarray(scores, np.float32) >= np.float32(threshold)
