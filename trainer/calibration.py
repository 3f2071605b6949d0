"""Probabilities that mean what they say: one temperature, fitted on validation, and how far it leaves them off.

Throughout: `logits`, `probabilities` float [n, C], `labels` int [n], `weights` float [n], none of them negative.

What is calibrated is a statement about one mix of classes, the *prior* (see `trainer.priors`). For a mix with other
shares p' the probabilities are p(y|x) p'(y) / p(y), divided by their sum over y (Saerens, Latinne and Decaestecker
2002, equation 2.4). That holds where images of a class look the same and only its share differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

BINS = 15
# A network whose logits would have to be scaled by more has learned nothing that scaling could mend.
_LEAST, _MOST = 0.05, 20.0


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence is above `low` and at most `high` (the first bin has 0 too).

    weight: the sum of theirs; n: how many they are; confidence, accuracy: their weighted means; None where weight is 0.
    """

    low: float
    high: float
    weight: float
    n: int
    confidence: float | None
    accuracy: float | None


def example_weights(labels: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """float64 [n], mean 1: weights with which images stand for a world where class c has the share `prior`[c].

    Each class that occurs weighs in total as its share among those that occur. All 0 where none of them has a share.
    """
    labels, prior = np.asarray(labels, np.int64), np.asarray(prior, np.float64)
    counts = np.bincount(labels, minlength=len(prior))
    weights = (prior / np.maximum(counts, 1))[labels]
    total = weights.sum()
    return weights * (len(labels) / total) if total else weights


def log_frequencies(prior: Sequence[float] | np.ndarray) -> np.ndarray:
    """float64 [C]: logarithms of class frequencies; 0 for a class of frequency 0, whose logit stands for nothing."""
    prior = np.asarray(prior, np.float64)
    return np.log(np.where(prior > 0, prior, 1.0))


def tempered(logits: Any, temperature: Any, offset: Any) -> Any:
    """Logits [..., C] at a temperature; arrays or tensors.

    offset [C]: `log_frequencies` of the classes that the logits stand for. What is divided by the temperature is what
    the logits say where all classes are equally frequent. So the temperature changes for no image which class is chosen
    there (`decision_values`), and at a temperature without end the probabilities are the frequencies.
    """
    return (logits - offset) * (1.0 / temperature) + offset


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, offset: np.ndarray | float = 0.0
) -> float:
    """The T above 0 for which softmax(tempered(logits, T, offset)) makes the labels likeliest (Guo et al. 2017, whose
    logits are divided as they are: offset 0).

    offset: [C] or [n, C]. The weighted likelihood on these images never falls. Its negative logarithm is convex in 1/T,
    so a search over log T finds its one minimum. T is 1 where the images cannot tell: there are none, none has a
    weight, all logits of each are equal, or each label has the largest logit less offset (the likelihood would rise for
    ever as T falls). It is kept between 0.05 and 20; 20 is also what logits get that say less than nothing. Raises
    ValueError for logits that are not finite.
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
    """float64 [n] probability of the top class (of equal ones the first), float64 [n] 1 where it is the label."""
    probabilities = np.asarray(probabilities, np.float64)
    return probabilities.max(axis=1, initial=0.0), (probabilities.argmax(axis=1) == labels).astype(np.float64)


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, bins: int = BINS
) -> list[ReliabilityBin]:
    """The table behind a reliability diagram (DeGroot and Fienberg 1983): top-class confidence in `bins` equal bins.

    weights: of the images; all 1 if None.
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
    """Mean distance of confidence and accuracy over the bins of `reliability`, by weight (Naeini et al. 2015).

    0 to 1; None where nothing has a weight. It depends on the bins, and with few images it is above 0 for a perfectly
    calibrated model too.
    """
    table = [row for row in reliability(probabilities, labels, weights, bins) if row.weight]
    if not table:
        return None
    total = sum(row.weight for row in table)
    return float(sum(row.weight * abs(row.accuracy - row.confidence) for row in table) / total)  # type: ignore[operator]
