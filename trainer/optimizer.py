"""AdamW with a linear warm-up and a cosine decay to zero."""

from __future__ import annotations

import keras

from trainer.options import Options


def learning_rate_schedule(options: Options, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate by step: linear from 0 in the warm-up, then half a cosine to 0 at the last step."""
    total = options.epochs * steps_per_epoch
    warmup = min(max(round(options.warmup * total), 1), total - 1) if options.warmup and total > 1 else 0
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else options.learning_rate,
        warmup_target=options.learning_rate if warmup else None,
        warmup_steps=warmup,
        decay_steps=total - warmup,
    )


def make_optimizer(options: Options, steps_per_epoch: int, model: keras.Model) -> keras.optimizers.Optimizer:
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
