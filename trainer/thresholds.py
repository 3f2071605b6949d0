"""How many malignant images are flagged, and how many others, at thresholds of the malignancy score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipelines.operating_point import OperatingPoint, flags, point_for
from trainer.metrics import class_rates, resampled

# Of a model's operating points, the one that subgroups are compared at.
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
    """`sensitivity` and `specificity` of flagging scores of at least `threshold`, Estimates as dicts.

    malignant bool [n], score float [n], labels int [n]; groups [n]: images that share one are one lesion.
    """
    groups = np.asarray(groups)
    truth, called = malignant[:, None], flags(score, threshold)[:, None]

    def estimate(rate: int, rests_on: np.ndarray) -> dict[str, Any]:
        def figure(weights: np.ndarray) -> np.ndarray:
            return class_rates(truth, called, weights)[rate][:, 0]

        return asdict(resampled(figure, rests_on, labels, groups, bootstrap=bootstrap, seed=seed))

    return {"sensitivity": estimate(0, malignant), "specificity": estimate(1, ~malignant)}


def subgroup_threshold(points: Sequence[OperatingPoint], figures: dict[str, Any]) -> dict[str, Any] | None:
    """The threshold at which subgroups are compared, ready for JSON: `value`, and where it comes from.

    `target`: it is the model's operating point for this sensitivity. `specificity`: without such a point, all images
    that `figures` (of `metrics.evaluate`) speak of have this specificity at it. None where there is neither.
    """
    if point := point_for(points, SUBGROUP_TARGET):
        return {"value": point.threshold, "target": point.target}
    at = figures["sensitivity_at_specificity"]
    value = at.get("malignant", {}).get("threshold")
    return None if value is None else {"value": value, "specificity": at["specificity"]}
