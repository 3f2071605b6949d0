"""Losses, class weights, and the class frequencies that logits stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from trainer.data.dataset_info import DatasetInfo


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


# (target float32 [N, C], logits float32 [N, C]) -> float32 [N]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def example_counts(info: DatasetInfo) -> np.ndarray:
    """Count the examples of each class in the train split as stored, copies included: float64 [C]."""
    return np.array([info.split("train").per_class[name].examples for name in info.classes], np.float64)


def class_weights(info: DatasetInfo, kind: str) -> np.ndarray:
    """Return the weight of each label in the loss.

    Examples of the train split are counted as stored, copies included.

    Args:
        info: Dataset to train on.
        kind: `none`: all weights are 1. `balanced`: n / (k * count), as scikit-learn's 'balanced', where k is the
            number of classes that occur in the train split.

    Returns:
        float32 [C]; a class that does not occur has weight 0 if `balanced`. The mean weight of an example is 1.
    """
    counts = example_counts(info)
    if kind == "none":
        return np.ones(len(counts), np.float32)
    present = counts > 0
    return np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1)), 0.0).astype(np.float32)


def class_log_priors(info: DatasetInfo) -> np.ndarray:
    """Return the logarithm of each class's share of the examples in the train split, as stored.

    Returns:
        float32 [C]; a class that does not occur is given the share of half an example.
    """
    counts = example_counts(info)
    return np.log(np.maximum(counts, 0.5) / counts.sum()).astype(np.float32)


def targets(labels: tf.Tensor, partners: tf.Tensor, shares: tf.Tensor, smoothing: np.ndarray) -> tf.Tensor:
    """Return the target probabilities of images, each mixed from two.

    Args:
        labels: int [N], label of each image.
        partners: int [N], label of the image mixed into it.
        shares: float32 [N], share of the image that belongs to `labels`.
        smoothing: float32 [C], see `smoothing_of`.

    Returns:
        float32 [N, C].
    """
    classes = len(smoothing)
    own = shares[:, tf.newaxis] * tf.one_hot(labels, classes)
    other = (1.0 - shares[:, tf.newaxis]) * tf.one_hot(partners, classes)
    return (own + other) * (1.0 - float(smoothing.sum())) + tf.constant(smoothing)


def smoothing_of(loss: str, amount: float, log_priors: np.ndarray) -> np.ndarray:
    """Return what label smoothing gives to each class (Szegedy et al. 2016, section 7).

    All classes get the same; with balanced_softmax each gets a part in proportion to its frequency. There, equal parts
    would reward rare classes on every image, because its logits stand for a world in which they are not rare.

    Args:
        loss: Value of `--loss`.
        amount: Sum over the classes.
        log_priors: float32 [C], see `class_log_priors`.

    Returns:
        float32 [C].
    """
    spread = np.exp(log_priors) if loss == "balanced_softmax" else np.ones_like(log_priors)
    return (amount * spread / spread.sum()).astype(np.float32)


def cross_entropy(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy of each example in nats.

    Args:
        target: float32 [N, C].
        logits: float32 [N, C].

    Returns:
        float32 [N].
    """
    return -tf.reduce_sum(target * tf.nn.log_softmax(logits), axis=-1)


def focal_loss(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the focal loss of each example (Lin et al. 2017, gamma 2).

    It is the cross-entropy whose terms count less the surer the network is of them.

    Args:
        target: float32 [N, C].
        logits: float32 [N, C].

    Returns:
        float32 [N].
    """
    log_p = tf.nn.log_softmax(logits)
    return -tf.reduce_sum(target * tf.square(1.0 - tf.exp(log_p)) * log_p, axis=-1)


def make_loss(name: str, log_priors: np.ndarray) -> Loss:
    """Return the loss that `--loss` names.

    balanced_softmax is the cross-entropy of logits plus the log priors of the classes (Ren et al. 2020; Menon et al.
    2021, logit adjustment with tau 1). The logits themselves then stand for a world in which all classes are equally
    frequent, so predicting the largest one minimises the balanced error.

    Args:
        name: Value of `--loss`.
        log_priors: float32 [C], see `class_log_priors`.
    """
    if name == "focal":
        return focal_loss
    if name == "balanced_softmax":
        return lambda target, logits: cross_entropy(target, logits + tf.constant(log_priors))
    return cross_entropy
