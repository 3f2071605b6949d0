"""How far the classes that a model sees have moved from those it learned from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from scipy.stats import chi2

# What remains unlikely (one in a thousand runs) without any drift.
_CONFIDENCE = 0.999


class Drift(NamedTuple):
    """figure: the population stability index, None when nothing was scored; limit: beyond which it is a warning."""

    figure: float | None
    limit: float
    train: dict[str, float]
    scored: dict[str, float]

    @property
    def warning(self) -> bool:
        """Whether the figure is beyond the limit."""
        return self.figure is not None and self.figure > self.limit


def drift(train: Mapping[str, float], scored: Mapping[str, float], threshold: float) -> Drift:
    """Population stability index of the classes of scored images against the shares in the training data.

    scored: how many images of each class are to be expected, the sum of their probabilities, which are for classes as
    frequent as in training: where images come from the same source, that is what they add up to.
    PSI = sum over classes of (s - t) * ln(s / t) (Siddiqi 2006, Credit Risk Scorecards), where half an image is added
    to each class so that an empty one does not make it infinite. 0.1 is commonly taken for a small shift, 0.25 for one
    that needs a look. Without any drift the index of n images is about chi-squared with C - 1 degrees of freedom,
    divided by n (Yurdakul 2018): the limit is `threshold`, or more when so few images vary more than that by chance.
    """
    total = sum(scored.values())
    shares = {name: scored.get(name, 0) / total if total else 0.0 for name in train}
    if not total:
        return Drift(None, threshold, dict(train), shares)
    smoothed = {name: (scored.get(name, 0) + 0.5) / (total + 0.5 * len(train)) for name in train}
    # A class without training images is as rare as it would be to see none of it by chance in what was scored.
    floor = 0.5 / (total + 0.5 * len(train))
    expected = {name: max(share, floor) for name, share in train.items()}
    whole = sum(expected.values())
    figure = sum(
        (smoothed[name] - expected[name] / whole) * math.log(smoothed[name] * whole / expected[name]) for name in train
    )
    chance = float(chi2.ppf(_CONFIDENCE, len(train) - 1)) / total
    return Drift(figure, max(threshold, chance), dict(train), shares)
