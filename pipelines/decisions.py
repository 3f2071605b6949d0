"""Which class an image is said to be of, given its probabilities. Imports neither Beam nor TensorFlow.

Probabilities are for classes as frequent as the photographs that a model was trained on. The largest of them is the
best guess for one more such photograph, and in an archive of nevi nearly always nevus. Here the classes are treated
alike instead, as balanced accuracy does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def prior_of_model(calibration: Mapping[str, Any], classes: Sequence[str]) -> tuple[float, ...]:
    """The class frequencies that a model's probabilities stand for, in label order: what its `calibration` says.

    Equal ones where it says nothing, as models do that were exported before it was asked for.
    """
    known = calibration.get("prior") or dict.fromkeys(classes, 1.0 / len(classes))
    return tuple(float(known[name]) for name in classes)


def decision_values(probabilities: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """float64 [n, C], rows that add up to 1: the probabilities if all classes were equally frequent.

    probabilities [n, C] for class frequencies `prior` [C], or [n, C] of each image. The class with the largest is the
    choice that is best for balanced accuracy (Menon et al. 2021, section 3). A class of frequency 0 is never chosen:
    its value is 0.
    """
    probabilities = np.asarray(probabilities, np.float64)
    values = np.divide(probabilities, prior, out=np.zeros(probabilities.shape), where=np.asarray(prior) > 0)
    total = values.sum(axis=1, keepdims=True)
    # All that is probable has never been seen in training.
    return np.divide(values, total, out=np.full(values.shape, 1.0 / values.shape[1]), where=total > 0)
