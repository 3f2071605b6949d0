"""Choose thresholds of the malignancy score at given sensitivities. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.domain.decision_rule import OperatingPoint

TARGETS = (0.80, 0.90, 0.95, 0.98)
# How far, as a share of itself, a threshold lies below the lowest score that it must catch. On another machine or in
# another batch, the same model gives the same image a score with other last digits.
MARGIN = 1e-4


def operating_points(
    scores: np.ndarray, is_malignant: np.ndarray, targets: Sequence[float] = TARGETS
) -> list[OperatingPoint]:
    """Find the highest threshold, less MARGIN, at which at least the target share of the malignant images is flagged.

    An image is flagged when its score is at least the threshold. Images are counted, not lesions. Thresholds are chosen
    and measured on the same images, so the measured rates are a little flattering.

    Args:
        scores: float [n], finite, 0 or more.
        is_malignant: bool [n].
        targets: Sensitivities, above 0 and at most 1.

    Returns:
        A point for each target; none without a malignant image, since nothing then says where to draw the line.

    Raises:
        ValueError: A target is out of range, or a score is not finite.
    """
    scores, is_malignant = np.asarray(scores, np.float64), np.asarray(is_malignant, bool)
    if not all(0 < target <= 1 for target in targets):
        raise ValueError(f"targets must be above 0 and at most 1: {targets}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    malignant, benign = np.sort(scores[is_malignant])[::-1], scores[~is_malignant]
    if not len(malignant):
        return []
    points = []
    for target in targets:
        # 1e-9: 0.95 * 20 is a little more than 19 in floating point.
        needed = max(1, int(np.ceil(target * len(malignant) - 1e-9)))
        threshold = float(malignant[needed - 1] * (1 - MARGIN))
        points.append(
            OperatingPoint(
                target=float(target),
                threshold=threshold,
                sensitivity=float((malignant >= threshold).mean()),
                specificity=float((benign < threshold).mean()) if len(benign) else None,
                malignant=len(malignant),
                benign=len(benign),
            )
        )
    return points
