"""Sensitivity and specificity of flagging images at thresholds of the malignancy score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipelines.domain.decision_rule import OperatingPoint, flags, point_for
from trainer.metrics.bootstrap import resampled
from trainer.metrics.metrics import class_rates

# The target of the operating point at which subgroups are compared.
SUBGROUP_TARGET = 0.90


def threshold_figures(
    malignant: np.ndarray,
    score: np.ndarray,
    threshold: float,
    labels: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    *,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Compute `sensitivity` and `specificity` of flagging scores of at least `threshold`, as dicts of Estimates.

    Args:
        malignant: bool [n].
        score: float [n].
        threshold: The lowest score that is flagged.
        labels: int [n], the strata of the bootstrap.
        groups: [n]; images that share one are of one lesion.
        bootstrap: The number of resamples; 0 for no intervals.
        seed: The seed of the resamples.
    """
    groups = np.asarray(groups)
    truth, called = malignant[:, None], flags(score, threshold)[:, None]

    def estimate(rate: int, rests_on: np.ndarray) -> dict[str, Any]:
        def figure(weights: np.ndarray) -> np.ndarray:
            return class_rates(truth, called, weights)[rate][:, 0]

        return asdict(resampled(figure, rests_on, labels, groups, bootstrap=bootstrap, seed=seed))

    return {"sensitivity": estimate(0, malignant), "specificity": estimate(1, ~malignant)}


def subgroup_threshold(points: Sequence[OperatingPoint], figures: dict[str, Any]) -> dict[str, Any] | None:
    """Return the threshold at which subgroups are compared, ready for JSON.

    Args:
        points: The operating points of the model.
        figures: Figures of all images, from `metrics.evaluate`.

    Returns:
        `value`, and where it comes from. With `target`, it is the model's operating point for that sensitivity. With
        `specificity`, there is no such point, and all images of `figures` together have that specificity at it. None if
        there is neither.
    """
    if point := point_for(points, SUBGROUP_TARGET):
        return {"value": point.threshold, "target": point.target}
    at = figures["sensitivity_at_specificity"]
    value = at.get("malignant", {}).get("threshold")
    return None if value is None else {"value": value, "specificity": at["specificity"]}
