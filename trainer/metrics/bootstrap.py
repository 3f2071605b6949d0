"""Intervals by cluster bootstrap: figures of merit over resamples of whole lesions.

Throughout: `labels` int [n], `groups` [n] (any hashable value for each image; photographs of one lesion share one),
`weights` float [B, n]: how often each image occurs in each of B resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# With fewer lesions than this, resampling shows too little of how lesions differ, and intervals are too narrow.
FEW = 10
CONFIDENCE = 0.95
# Resamples are processed in blocks of at most this many numbers, so that memory does not grow with the split.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float | None
    low: float | None  # None if there is no interval
    high: float | None  # None if there is no interval
    n: int  # number of images that the figure rests on


def resamples(labels: np.ndarray, groups: Sequence | np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Draw resamples for a cluster bootstrap; the same seed gives the same ones.

    Whole groups are drawn with replacement, because photographs of one lesion are not independent. Each class draws as
    many groups as it has (a stratified bootstrap, as for ROC curves in pROC, Robin et al. 2011): with few lesions in a
    class, plain resampling would lose the class in some resamples and change what balanced accuracy means. A group with
    images of several classes belongs to the class of its first image.

    Args:
        labels: int [n], or any other strata.
        groups: [n].
        count: The number of resamples.
        seed: The seed of the draws.

    Yields:
        Blocks of weights, float32 [b, n], with `count` rows in all.
    """
    _, first, group_of = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    stratum = labels[first]
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(1, len(labels)))
    for start in range(0, count, block):
        rows = min(block, count - start)
        drawn = np.zeros((rows, len(first)), np.float32)
        for members in (np.flatnonzero(stratum == value) for value in np.unique(stratum)):
            drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), rows)
        yield drawn[:, group_of]


def interval(values: np.ndarray | None) -> tuple[float | None, float | None]:
    """Return the percentile interval of a figure over its resamples.

    Args:
        values: float [B]; None if there are no resamples.

    Returns:
        (low, high); (None, None) without resamples, or if the figure does not exist in one of them.
    """
    if values is None or not len(values) or not np.isfinite(values).all():
        return None, None
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def resampled(
    figure: Callable[[np.ndarray], np.ndarray],
    rests_on: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    bootstrap: int,
    seed: int,
) -> Estimate:
    """Compute a figure and its interval over resamples of the images.

    There is no interval if all resamples give the same value: each class has a single lesion, or all images are called
    alike. That says nothing about other images.

    Args:
        figure: Maps weights, float32 [B, n], to the figure's value in each resample, float [B]. With all weights 1 it
            gives the figure itself.
        rests_on: bool [n], the images that count as the figure's n, and on whose groups the interval rests.
        labels: int [n], or any other strata of the bootstrap.
        groups: [n].
        bootstrap: The number of resamples; 0 for no interval.
        seed: The seed of the resamples.
    """
    value = float(figure(np.ones((1, len(labels)), np.float32))[0])
    if not np.isfinite(value):
        return Estimate(None, None, None, 0)
    values = None
    if len(np.unique(groups[rests_on])) > 1:
        values = np.concatenate([np.zeros(0), *map(figure, resamples(labels, groups, bootstrap, seed))])
    low, high = interval(values)
    return Estimate(value, *((None, None) if low == high else (low, high)), int(rests_on.sum()))
