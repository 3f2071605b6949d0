"""AdamW with warm-up and cosine decay, and averaged weights."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from trainer.config.options import TrainOptions


def learning_rate_schedule(
    options: TrainOptions, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate by step: linear from 0 in the warm-up, then half a cosine to 0 at the last step."""
    total = options.epochs * steps_per_epoch
    warmup = min(max(round(options.warmup * total), 1), total - 1) if options.warmup and total > 1 else 0
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else options.learning_rate,
        warmup_target=options.learning_rate if warmup else None,
        warmup_steps=warmup,
        decay_steps=total - warmup,
    )


def make_optimizer(options: TrainOptions, steps_per_epoch: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """Return the optimizer, built for the variables of the model.

    Biases and normalisation parameters do not decay. The train step clips the gradients: the optimizer would clip the
    share of each replica on its own.
    """
    optimizer = keras.optimizers.AdamW(
        learning_rate_schedule(options, steps_per_epoch), weight_decay=options.weight_decay or None
    )
    if options.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if len(v.shape) < 2])
    optimizer.build(model.trainable_variables)
    return optimizer


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
