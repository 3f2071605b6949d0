"""Moving average of the weights, which generalises better than those of any one step (Polyak and Juditsky 1992).

Everything is averaged, including the moving statistics of batch normalisation, so that they fit the averaged kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf


def averaging_decay(decay: float, step: tf.Tensor) -> tf.Tensor:
    """Return min(decay, (1 + step) / (10 + step)), so that a short run does not average its initial weights in.

    The formula is that of tf.train.ExponentialMovingAverage.

    Args:
        decay: Upper limit, reached in long runs.
        step: int [], number of updates so far.

    Returns:
        float32 [].
    """
    step = tf.cast(step, tf.float32)
    return tf.minimum(decay, (1.0 + step) / (10.0 + step))


def make_average(
    strategy: tf.distribute.Strategy, model: keras.Model, averaged: keras.Model, decay: float
) -> Callable[[tf.Tensor], None]:
    """Return a function that takes the weights of the model into the average.

    The function takes the number of updates so far, int []. Call it outside of replicas, which all hold the same
    weights.

    Args:
        strategy: Strategy in whose scope both models were made.
        model: Model that is trained.
        averaged: Model of the same shape whose weights are the average.
        decay: Largest share of the average that each update keeps.
    """

    def take_in(kept: tf.Variable, weight: tf.Tensor, share: tf.Tensor) -> tf.Operation:
        return kept.assign(kept * (1.0 - share) + tf.cast(weight, kept.dtype) * share)

    def update(step: tf.Tensor) -> None:
        share = 1.0 - averaging_decay(decay, step)
        for kept, weight in zip(averaged.weights, model.weights, strict=True):
            strategy.extended.update(kept.value, take_in, args=(weight.value, share))

    return update
