"""Decide which scored images to flag: those whose malignancy score reaches the models' or the user's threshold.

The threshold changes no score. It is not part of the run fingerprint: changing it is no reason to score again.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.cli import UsageError
from pipelines.model_info import ModelInfo
from pipelines.operating_point import EIGHT_VIEWS, ONE_VIEW, OperatingPoint, point_for

# Default of --flag_sensitivity.
SENSITIVITY = 0.95


class Flagging(NamedTuple):
    """A threshold on the malignancy score, and where it comes from."""

    threshold: float  # images with this malignancy score or more are flagged; for several models, the mean of theirs
    target: float | None = None  # sensitivity that the threshold was chosen for; None: the user gave the threshold
    points: tuple[OperatingPoint, ...] = ()  # operating points behind the threshold, in the order of the models

    def describe(self, flagged: int) -> dict[str, Any]:
        """Return the `flag` entry of summary.json.

        Args:
            flagged: Number of flagged images in the run.
        """
        return {
            "flagged": flagged,
            "threshold": self.threshold,
            "target_sensitivity": self.target,
            "validation": [point._asdict() for point in self.points],
        }


def choose_flagging(
    models: Sequence[ModelInfo], tta: bool, sensitivity: float | None, threshold: float | None
) -> Flagging | None:
    """Choose the flagging threshold for these models.

    Args:
        models: The models of the run.
        tta: Whether scores are means over the eight flips and quarter turns; selects the operating points.
        sensitivity: Value of `--flag_sensitivity`; None if not given.
        threshold: Value of `--flag_threshold`; None if not given.

    Returns:
        The threshold; for several models, the mean of theirs. None if neither option is given and a model has no
        operating point for SENSITIVITY: then no image is judged.

    Raises:
        UsageError: A model has no operating point for the sensitivity that the user asked for.
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
