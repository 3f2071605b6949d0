"""The training loss, and the class weights in it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.dataset_info import DatasetInfo


def class_weights(info: DatasetInfo, kind: str) -> np.ndarray:
    """float32 [C], one weight per label. `none`: all 1. `balanced`: n / (k * count), as scikit-learn's 'balanced'.

    Counted over the examples of the train split as stored, copies included; k is the number of classes that occur
    there, and a class that does not has weight 0. The mean weight of an example is 1.
    """
    counts = np.array([info.split("train").per_class[name].examples for name in info.classes], np.float64)
    if kind == "none":
        return np.ones(len(counts), np.float32)
    present = counts > 0
    return np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1)), 0.0).astype(np.float32)


def smoothed_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    """float32 [N]: softmax cross-entropy with (1 - smoothing) on the label and the rest spread over all C classes.

    labels int [N], logits float32 [N, C]. Szegedy et al. 2016, section 7.
    """
    log_p = tf.nn.log_softmax(logits)
    target = tf.one_hot(labels, logits.shape[-1], dtype=log_p.dtype)
    return -(1.0 - smoothing) * tf.reduce_sum(target * log_p, axis=-1) - smoothing * tf.reduce_mean(log_p, axis=-1)
