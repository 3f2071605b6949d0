"""A moving average of the weights, which generalises better than those of any one step (Polyak and Juditsky 1992).

Everything is averaged, the moving statistics of batch normalisation too, so that they fit the averaged kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf


def averaging_decay(decay: float, step: tf.Tensor) -> tf.Tensor:
    """float32 []: min(decay, (1 + step) / (10 + step)), so that a short run does not average its initial weights in.

    step: how many updates there have been, int. The formula is that of tf.train.ExponentialMovingAverage.
    """
    step = tf.cast(step, tf.float32)
    return tf.minimum(decay, (1.0 + step) / (10.0 + step))


def make_average(
    strategy: tf.distribute.Strategy, model: keras.Model, averaged: keras.Model, decay: float
) -> Callable[[tf.Tensor], None]:
    """A function of the number of updates so far that takes the model's weights into the average.

    averaged: a model of the same shape, made in the strategy's scope, whose weights are the average. To be called
    outside of replicas, which all hold the same weights.
    """

    def take_in(kept: tf.Variable, weight: tf.Tensor, share: tf.Tensor) -> tf.Operation:
        return kept.assign(kept * (1.0 - share) + tf.cast(weight, kept.dtype) * share)

    def update(step: tf.Tensor) -> None:
        share = 1.0 - averaging_decay(decay, step)
        for kept, weight in zip(averaged.weights, model.weights, strict=True):
            strategy.extended.update(kept.value, take_in, args=(weight.value, share))

    return update
