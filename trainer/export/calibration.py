"""Calibrate probabilities with one temperature, fitted on validation, and measure the error that remains.

Throughout: `logits`, `probabilities` float [n, C], `labels` int [n], `weights` float [n], none of them negative.

Calibration holds for one mix of classes, the *prior* (see `losses`). For a mix with other shares p' the
probabilities are p(y|x) p'(y) / p(y), divided by their sum over y (Saerens, Latinne and Decaestecker 2002, equation
2.4). That holds where images of a class look the same and only its share differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

BINS = 15
# The limits of the temperature. A network that needs more has learned nothing that scaling could repair.
_LEAST, _MOST = 0.05, 20.0


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence is above `low` and at most `high` (the first bin includes 0)."""

    low: float
    high: float
    weight: float  # sum of the images' weights
    n: int  # number of images
    confidence: float | None  # weighted mean; None if `weight` is 0
    accuracy: float | None  # weighted mean; None if `weight` is 0


def example_weights(labels: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return weights with which images represent a world where class c has the share `prior`[c].

    Each class that occurs gets a total weight equal to its share among the classes that occur.

    Args:
        labels: int [n].
        prior: float [C].

    Returns:
        float64 [n] with mean 1; all 0 if none of the classes that occur has a share.
    """
    labels, prior = np.asarray(labels, np.int64), np.asarray(prior, np.float64)
    counts = np.bincount(labels, minlength=len(prior))
    weights = (prior / np.maximum(counts, 1))[labels]
    total = weights.sum()
    return weights * (len(labels) / total) if total else weights


def log_frequencies(prior: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the logarithms of class frequencies.

    Args:
        prior: float [C] or [n, C].

    Returns:
        float64 of the same shape; 0 for a class of frequency 0, whose logit means nothing.
    """
    prior = np.asarray(prior, np.float64)
    return np.log(np.where(prior > 0, prior, 1.0))


def tempered(logits: Any, temperature: Any, offset: Any) -> Any:
    """Apply a temperature to logits; takes arrays or tensors.

    What is divided by the temperature is the logit for equally frequent classes. So the temperature never changes which
    class is chosen under these (`decision_values`), and as it goes to infinity the probabilities become the class
    frequencies.

    Args:
        logits: [..., C].
        temperature: Above 0; a scalar, or an array that broadcasts with the logits.
        offset: `log_frequencies` [C] of the classes that the logits assume, or an array that broadcasts with the
            logits.
    """
    return (logits - offset) * (1.0 / temperature) + offset


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, offset: np.ndarray | float = 0.0
) -> float:
    """Return the T above 0 for which softmax(tempered(logits, T, offset)) makes the labels likeliest.

    The method is that of Guo et al. (2017), who divide the logits as they are: offset 0.

    The weighted likelihood on these images never falls. Its negative logarithm is convex in 1/T, so a search over log T
    finds its one minimum.

    Args:
        logits: float [n, C].
        labels: int [n].
        weights: float [n], none negative.
        offset: [C] or [n, C], the `log_frequencies` of the classes that the logits assume.

    Returns:
        T, kept between 0.05 and 20; 20 is also the result for logits that are worse than uninformative. 1 if the images
        cannot tell: there are none, none has a weight, all logits of each image are equal, or each label has the
        largest logit less offset (the likelihood would rise forever as T falls).

    Raises:
        ValueError: A logit is not finite.
    """
    logits, weights = np.asarray(logits, np.float64) - offset, np.asarray(weights, np.float64)
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite")
    counted = weights > 0
    offset = np.broadcast_to(offset, logits.shape)[counted]
    logits, labels, weights = logits[counted], np.asarray(labels, np.int64)[counted], weights[counted]
    rows = np.arange(len(labels))
    # By how much each logit exceeds the label's.
    lead = logits - logits[rows, labels][:, np.newaxis]
    if lead.max(initial=0.0) <= 0:
        return 1.0

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(logits * np.exp(-log_temperature) + offset, axis=1)[rows, labels]
        return float(-np.average(log_p, weights=weights))

    bounds = (float(np.log(_LEAST)), float(np.log(_MOST)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    # A search inside an interval never tries its ends, nor 1.
    best = min((float(found.x), *bounds, 0.0), key=loss)
    return float(np.exp(best))


def _confidence(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of the top class, and whether that class is the label.

    Returns:
        float64 [n], by the first of equally probable classes; float64 [n], 1 where it is the label, else 0.
    """
    probabilities = np.asarray(probabilities, np.float64)
    return probabilities.max(axis=1, initial=0.0), (probabilities.argmax(axis=1) == labels).astype(np.float64)


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, bins: int = BINS
) -> list[ReliabilityBin]:
    """Compute the table behind a reliability diagram (DeGroot and Fienberg 1983).

    Args:
        probabilities: float [n, C].
        labels: int [n].
        weights: float [n]; all 1 if None.
        bins: The number of equally wide bins of the confidence in the top class.
    """
    edges = np.linspace(0, 1, bins + 1)
    labels = np.asarray(labels, np.int64)
    confidence, correct = _confidence(probabilities, labels)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values, minlength=bins)

    weight, sure, right = total(weights), total(weights * confidence), total(weights * correct)
    count = np.bincount(place, minlength=bins)
    return [
        ReliabilityBin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            weight=float(weight[index]),
            n=int(count[index]),
            confidence=float(sure[index] / weight[index]) if weight[index] else None,
            accuracy=float(right[index] / weight[index]) if weight[index] else None,
        )
        for index in range(bins)
    ]


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, bins: int = BINS
) -> float | None:
    """Return the weighted mean distance of confidence and accuracy over the bins of `reliability`.

    This is the measure of Naeini et al. (2015). It depends on the bins, and with few images it is above 0 for a
    perfectly calibrated model too.

    Args:
        probabilities: float [n, C].
        labels: int [n].
        weights: float [n]; all 1 if None.
        bins: The number of bins.

    Returns:
        0 to 1; None if nothing has a weight.
    """
    table = [row for row in reliability(probabilities, labels, weights, bins) if row.weight]
    if not table:
        return None
    total = sum(row.weight for row in table)
    return float(sum(row.weight * abs(row.accuracy - row.confidence) for row in table) / total)  # type: ignore[operator]
