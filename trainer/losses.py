"""The training losses, and the class weights in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.dataset_info import DatasetInfo

# (target float32 [N, C], logits float32 [N, C]) -> float32 [N]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def example_counts(info: DatasetInfo) -> np.ndarray:
    """float64 [C]: examples of each class in the train split as stored, copies included."""
    return np.array([info.split("train").per_class[name].examples for name in info.classes], np.float64)


def class_weights(info: DatasetInfo, kind: str) -> np.ndarray:
    """float32 [C], one weight per label. `none`: all 1. `balanced`: n / (k * count), as scikit-learn's 'balanced'.

    Counted over the examples of the train split as stored, copies included; k is the number of classes that occur
    there, and a class that does not has weight 0. The mean weight of an example is 1.
    """
    counts = example_counts(info)
    if kind == "none":
        return np.ones(len(counts), np.float32)
    present = counts > 0
    return np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1)), 0.0).astype(np.float32)


def class_log_priors(info: DatasetInfo) -> np.ndarray:
    """float32 [C]: logarithms of the shares of the classes among the examples of the train split, as stored.

    A class that does not occur there has the share of half an example.
    """
    counts = example_counts(info)
    return np.log(np.maximum(counts, 0.5) / counts.sum()).astype(np.float32)


def targets(labels: tf.Tensor, partners: tf.Tensor, shares: tf.Tensor, smoothing: np.ndarray) -> tf.Tensor:
    """float32 [N, C]: what the network should say of images that are mixed of two.

    labels, partners int [N]; shares float32 [N], that of the label's image; smoothing: see `smoothing_of`.
    """
    classes = len(smoothing)
    own = shares[:, tf.newaxis] * tf.one_hot(labels, classes)
    other = (1.0 - shares[:, tf.newaxis]) * tf.one_hot(partners, classes)
    return (own + other) * (1.0 - float(smoothing.sum())) + tf.constant(smoothing)


def smoothing_of(loss: str, amount: float, log_priors: np.ndarray) -> np.ndarray:
    """float32 [C]: what label smoothing gives to each class, `amount` in all (Szegedy et al. 2016, section 7).

    The same to each; with balanced_softmax in proportion to its frequency. Equal parts would there be a reward for
    rare classes on every image, for its logits stand for a world in which these are not rare.
    """
    spread = np.exp(log_priors) if loss == "balanced_softmax" else np.ones_like(log_priors)
    return (amount * spread / spread.sum()).astype(np.float32)


def cross_entropy(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """float32 [N] in nats, of target and logits float32 [N, C]."""
    return -tf.reduce_sum(target * tf.nn.log_softmax(logits), axis=-1)


def focal_loss(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """float32 [N]: cross-entropy whose terms count less the surer the network is of them (Lin et al. 2017, gamma 2)."""
    log_p = tf.nn.log_softmax(logits)
    return -tf.reduce_sum(target * tf.square(1.0 - tf.exp(log_p)) * log_p, axis=-1)


def make_loss(name: str, log_priors: np.ndarray) -> Loss:
    """The loss that `--loss` names.

    balanced_softmax: cross-entropy of logits to which the classes' log priors were added (Ren et al. 2020; Menon et
    al. 2021, logit adjustment with tau 1). The logits themselves then are those of a world in which all classes are
    equally frequent, so their largest minimises the balanced error.
    """
    if name == "focal":
        return focal_loss
    if name == "balanced_softmax":
        return lambda target, logits: cross_entropy(target, logits + tf.constant(log_priors))
    return cross_entropy
