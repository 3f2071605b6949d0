"""The quantile of the chi-squared distribution, without the second of start-up that `scipy.stats` costs."""

from __future__ import annotations

import math


def _exceeding(value: float, degrees: int) -> float:
    """Return the probability of more than `value`.

    With one or two degrees of freedom it is elementary; each two further ones add a term (Abramowitz and Stegun 26.4.4
    and 26.4.5).
    """
    half = value / 2
    shape = 1.0 if degrees % 2 == 0 else 0.5
    total = math.exp(-half) if shape == 1.0 else math.erfc(math.sqrt(half))
    term = math.exp(-half) * half**shape / math.gamma(shape + 1)
    while shape < degrees / 2:
        total += term
        shape += 1
        term *= half / shape
    return total


def quantile(probability: float, degrees: int) -> float:
    """Return the value that a chi-squared variable stays below with a probability.

    Args:
        probability: From 0 to below 1.
        degrees: Degrees of freedom; with 0 the variable is always 0.
    """
    low, high = 0.0, float(degrees)
    while _exceeding(high, degrees) > 1 - probability and degrees:
        low, high = high, 2 * high
    # Halve until no number lies between the two.
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _exceeding(middle, degrees) > 1 - probability else (low, middle)
    return high
