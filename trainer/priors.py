"""Class frequencies: those that the logits of a network stand for, and those of the photographs.

The softmax of a network gives probabilities for the class frequencies it was trained on: those of the stored examples,
changed by class weights, or equal ones with balanced softmax. Logits for other frequencies differ by the logarithm of
the ratio of the two (Saerens et al. 2002).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.dataset_info import DatasetInfo
from trainer.losses import class_weights, example_counts


def photographed_prior(info: DatasetInfo) -> np.ndarray:
    """Return each class's share of the originals in the train split.

    Returns:
        float64 [C]; 0 for a class without originals.
    """
    return np.array(list(info.train_distribution().values()), np.float64)


def trained_prior(info: DatasetInfo, loss: str, weights: str) -> np.ndarray:
    """Return the class frequencies that logits stand for after training.

    Focal loss is treated as cross-entropy, of which it is a variant that is not calibrated.

    Args:
        info: Dataset of the training.
        loss: Value of `--loss`.
        weights: Value of `--class_weights`.

    Returns:
        float64 [C].
    """
    counts = example_counts(info)
    if loss == "balanced_softmax":
        counts = (counts > 0).astype(np.float64)
    counts *= class_weights(info, weights)
    return counts / counts.sum()


def photographed_shift(info: DatasetInfo, loss: str, weights: str) -> np.ndarray:
    """Return what to add to logits so that they stand for the frequencies of the photographs.

    Args:
        info: Dataset of the training.
        loss: Value of `--loss`.
        weights: Value of `--class_weights`.

    Returns:
        float32 [C]; 0 for a class without training images, whose logit stands for nothing.
    """
    photographed, trained = photographed_prior(info), trained_prior(info, loss, weights)
    ratio = np.divide(photographed, trained, out=np.ones_like(trained), where=photographed > 0)
    return np.log(ratio).astype(np.float32)


def for_photographs(weights: Sequence[np.ndarray], shift: np.ndarray) -> list[np.ndarray]:
    """Return the weights of a network, changed so that its logits are shifted.

    Args:
        weights: All weights; the last one is the bias of the logits, float32 [C].
        shift: float32 [C], as `photographed_shift` gives it.
    """
    return [*weights[:-1], weights[-1] + shift]
