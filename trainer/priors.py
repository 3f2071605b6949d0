"""Class frequencies: those that a network's logits stand for, and those of the photographs.

A network's softmax gives probabilities for the class frequencies that it was trained on: those of the stored examples,
changed by class weights, or equal ones with balanced softmax. Logits for other frequencies differ by the logarithm of
their ratio (Saerens et al. 2002).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.dataset_info import DatasetInfo
from trainer.losses import class_weights, example_counts


def photographed_prior(info: DatasetInfo) -> np.ndarray:
    """float64 [C]: the share of each class among the originals of the train split; 0 for a class without any."""
    return np.array(list(info.train_distribution().values()), np.float64)


def trained_prior(info: DatasetInfo, loss: str, weights: str) -> np.ndarray:
    """float64 [C]: the class frequencies that logits stand for after training with this `--loss` and `--class_weights`.

    Focal loss is taken for cross-entropy, of which it is a variant that is not calibrated.
    """
    counts = example_counts(info)
    if loss == "balanced_softmax":
        counts = (counts > 0).astype(np.float64)
    counts *= class_weights(info, weights)
    return counts / counts.sum()


def photographed_shift(info: DatasetInfo, loss: str, weights: str) -> np.ndarray:
    """float32 [C]: what is added to logits so that they stand for the frequencies of the photographs.

    0 for a class without training images, whose logit stands for nothing.
    """
    photographed, trained = photographed_prior(info), trained_prior(info, loss, weights)
    ratio = np.divide(photographed, trained, out=np.ones_like(trained), where=photographed > 0)
    return np.log(ratio).astype(np.float32)


def for_photographs(weights: Sequence[np.ndarray], shift: np.ndarray) -> list[np.ndarray]:
    """A network's weights, the last of which is the bias of its logits, changed so that these are shifted."""
    return [*weights[:-1], weights[-1] + shift]
