"""ROC and precision-recall curves of each class against the rest, as lines to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sklearn.metrics

# Steps into which each axis is divided for drawing; finer ones cannot be seen.
_STEPS = 250

# Points (x, y), each 0 to 1.
Line = list[tuple[float, float]]


class Curves(NamedTuple):
    """One class. roc: specificity's complement against sensitivity; precision_recall: recall against precision.

    The area under roc is the AUC. precision_recall has steps, each as high as the precision when its recall is first
    reached, so that the area is the average precision; straight lines would promise more (Davis and Goadrich 2006).
    Either is None where it does not exist: no image of the class, or for roc no other one. prevalence: the class's
    share of the images, which is the precision of chance.
    """

    name: str
    n: int
    prevalence: float
    roc: Line | None
    precision_recall: Line | None


def rank_curves(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[Curves]:
    """The curves of every class, by its probability as the score. labels int [n], probabilities float [n, C]."""
    found = []
    for index, name in enumerate(classes):
        positive, score = labels == index, probabilities[:, index]
        count = int(positive.sum())
        roc = precision_recall = None
        if 0 < count < len(labels):
            false_rate, true_rate, _ = sklearn.metrics.roc_curve(positive, score)
            roc = _thinned(false_rate, true_rate)
        if count:
            precision, recall, _ = sklearn.metrics.precision_recall_curve(positive, score)
            # As the threshold falls: recalls reached, and the first, best, precision of each.
            reached = np.unique(recall)
            best = np.maximum.reduceat(precision[::-1], np.flatnonzero(np.r_[True, np.diff(recall[::-1]) != 0]))
            precision_recall = _thinned(np.repeat(reached, 2)[1:-1], np.repeat(best[1:], 2))
        found.append(Curves(name, count, count / max(1, len(labels)), roc, precision_recall))
    return found


def _thinned(x: np.ndarray, y: np.ndarray) -> Line:
    """The points of a curve whose x rises, without those that fall on the same place of the drawing as the one before.

    Of many points at one x the first and the last are kept, between which they lie.
    """
    columns = np.rint(x * _STEPS).astype(int)
    change = np.diff(columns) != 0
    kept = np.r_[True, change] | np.r_[change, True]
    return [(float(one), float(other)) for one, other in zip(x[kept], y[kept], strict=True)]
