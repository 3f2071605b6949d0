"""Decide the class of an image from its probabilities. Imports neither Beam nor TensorFlow.

A model's probabilities assume that classes are as frequent as in its training images. The largest of them is the best
guess for one more image of that kind; in an archive of nevi, that is nearly always nevus. This module treats all
classes alike instead, as balanced accuracy does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def prior_of_model(calibration: Mapping[str, Any], classes: Sequence[str]) -> tuple[float, ...]:
    """Return the class frequencies that a model's probabilities assume, in label order.

    Args:
        calibration: `calibration` of model.json. Without a `prior`, as in models exported before that field existed,
            the frequencies are equal.
        classes: Classes in label order.

    Raises:
        KeyError: The prior lacks a class.
    """
    known = calibration.get("prior") or dict.fromkeys(classes, 1.0 / len(classes))
    return tuple(float(known[name]) for name in classes)


def decision_values(probabilities: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return what the probabilities would be if all classes were equally frequent.

    Choosing the class with the largest value is optimal for balanced accuracy (Menon et al. 2021, section 3).

    Args:
        probabilities: [n, C].
        prior: Class frequencies that the probabilities assume, [C], or [n, C] with one row per image. A class of
            frequency 0 gets the value 0, so it is never chosen.

    Returns:
        float64 [n, C]; each row sums to 1.
    """
    probabilities = np.asarray(probabilities, np.float64)
    values = np.divide(probabilities, prior, out=np.zeros(probabilities.shape), where=np.asarray(prior) > 0)
    total = values.sum(axis=1, keepdims=True)
    # A row sums to 0 if all probable classes were absent from training; then all classes get the same value.
    return np.divide(values, total, out=np.full(values.shape, 1.0 / values.shape[1]), where=total > 0)
