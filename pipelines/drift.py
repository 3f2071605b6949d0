"""Measure how far the classes of scored images have moved from those of the training data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from scipy.stats import chi2

# Without drift, one run in a thousand exceeds the chance limit.
_CONFIDENCE = 0.999


class Drift(NamedTuple):
    """The population stability index of a run, with the shares that it compares."""

    figure: float | None  # the index; None if nothing was scored
    limit: float  # the index above which drift is a warning
    train: dict[str, float]  # class -> share of the training data
    scored: dict[str, float]  # class -> share of the scored images; 0 if nothing was scored

    @property
    def warning(self) -> bool:
        """Whether the index exceeds the limit."""
        return self.figure is not None and self.figure > self.limit


def drift(train: Mapping[str, float], scored: Mapping[str, float], threshold: float) -> Drift:
    """Return the population stability index of the scored classes against the training shares.

    PSI = sum over classes of (s - t) * ln(s / t) (Siddiqi 2006, Credit Risk Scorecards). Half an image is added to
    each class so that an empty class does not make it infinite. By convention 0.1 is a small shift, and 0.25 one that
    needs a look. Without drift, the index of n images is about chi-squared with C - 1 degrees of freedom, divided by n
    (Yurdakul 2018). The limit is therefore `threshold`, or more if so few images vary more than that by chance.

    Args:
        train: Class -> share of the training data.
        scored: Class -> expected number of images, the sum of their probabilities. Probabilities assume the class
            frequencies of training: for images from the same source they add up to these.
        threshold: Index above which the drift is a warning.
    """
    total = sum(scored.values())
    shares = {name: scored.get(name, 0) / total if total else 0.0 for name in train}
    if not total:
        return Drift(None, threshold, dict(train), shares)
    smoothed = {name: (scored.get(name, 0) + 0.5) / (total + 0.5 * len(train)) for name in train}
    # A class absent from training counts as rare as a class that no scored image has, so that the index stays finite.
    floor = 0.5 / (total + 0.5 * len(train))
    expected = {name: max(share, floor) for name, share in train.items()}
    whole = sum(expected.values())
    figure = sum(
        (smoothed[name] - expected[name] / whole) * math.log(smoothed[name] * whole / expected[name]) for name in train
    )
    chance = float(chi2.ppf(_CONFIDENCE, len(train) - 1)) / total
    return Drift(figure, max(threshold, chance), dict(train), shares)
