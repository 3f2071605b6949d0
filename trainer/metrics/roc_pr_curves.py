"""ROC and precision-recall curves of each class against the rest, as lines to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sklearn.metrics

# Each axis is divided into this many steps for drawing; finer ones cannot be seen.
_STEPS = 250


# Points (x, y), each 0 to 1.
Line = list[tuple[float, float]]


class Curves(NamedTuple):
    """The curves of one class; None where a curve does not exist."""

    name: str
    n: int  # images of the class
    prevalence: float  # the class's share of the images: the precision of chance
    # (1 - specificity, sensitivity). The area below is the AUC. None without images of the class, or of others.
    roc: Line | None
    # (recall, precision), in steps: each as high as the precision when its recall is first reached, so that the area
    # below is the average precision. Straight lines would promise more (Davis and Goadrich 2006). None if there is no
    # image of the class.
    precision_recall: Line | None


def rank_curves(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[Curves]:
    """Compute the curves of every class, with its probability as the score.

    Args:
        labels: int [n].
        probabilities: float [n, C].
        classes: Class names in label order.
    """
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
            # The recalls reached as the threshold falls, and the first and best precision of each.
            reached = np.unique(recall)
            best = np.maximum.reduceat(precision[::-1], np.flatnonzero(np.r_[True, np.diff(recall[::-1]) != 0]))
            precision_recall = _thinned(np.repeat(reached, 2)[1:-1], np.repeat(best[1:], 2))
        found.append(Curves(name, count, count / max(1, len(labels)), roc, precision_recall))
    return found


def _thinned(x: np.ndarray, y: np.ndarray) -> Line:
    """Drop the points of a curve that fall on the same place of the drawing as the one before.

    Of many points at one x the first and the last are kept; the others lie between them.

    Args:
        x: float, ascending, 0 to 1.
        y: float, of the same length.
    """
    columns = np.rint(x * _STEPS).astype(int)
    change = np.diff(columns) != 0
    kept = np.r_[True, change] | np.r_[change, True]
    return [(float(one), float(other)) for one, other in zip(x[kept], y[kept], strict=True)]
