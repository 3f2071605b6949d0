"""Which scored images are flagged: those whose malignancy score reaches a threshold, the models' own or the user's.

The threshold decides no score. It is no part of the run fingerprint: another one is no reason to score again.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.cli import UsageError
from pipelines.model_info import ModelInfo
from pipelines.operating_point import EIGHT_VIEWS, ONE_VIEW, OperatingPoint, point_for

# What --flag_sensitivity is where it is not given.
SENSITIVITY = 0.95


class Flagging(NamedTuple):
    """threshold: images with this malignancy score or more are flagged; of several models the mean of theirs.

    target: the sensitivity for which it was chosen, None where the user gave the threshold. points: the models' own
    operating points that it comes from, in their order.
    """

    threshold: float
    target: float | None = None
    points: tuple[OperatingPoint, ...] = ()

    def describe(self, flagged: int) -> dict[str, Any]:
        """What summary.json says of it. flagged: how many images are."""
        return {
            "flagged": flagged,
            "threshold": self.threshold,
            "target_sensitivity": self.target,
            "validation": [point._asdict() for point in self.points],
        }


def choose_flagging(
    models: Sequence[ModelInfo], tta: bool, sensitivity: float | None, threshold: float | None
) -> Flagging | None:
    """What the options `--flag_sensitivity` and `--flag_threshold` (None: not given) mean for these models.

    Without either, and where a model has no operating point for SENSITIVITY: None, nothing is judged. Raises UsageError
    for a sensitivity that was asked for and that a model has no operating point for.
    """
    if threshold is not None:
        return Flagging(threshold)
    target = SENSITIVITY if sensitivity is None else sensitivity
    views = EIGHT_VIEWS if tta else ONE_VIEW
    points = []
    for model in models:
        known = model.operating_points.get(views, ())
        point = point_for(known, target)
        if point is None:
            if sensitivity is None:
                return None
            has = f"those for {', '.join(f'{point.target:g}' for point in known)}; give one of them or" if known else ""
            raise UsageError(
                f"--flag_sensitivity {target:g}: {model.path} has no operating point for it, "
                f"{has or 'nor for any other; give'} --flag_threshold"
            )
        points.append(point)
    return Flagging(statistics.fmean(point.threshold for point in points), target, tuple(points))
