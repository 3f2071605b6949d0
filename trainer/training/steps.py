"""Compiled steps: training on one global batch, and inference over a whole split.

Steps use `strategy.run` directly, because Keras' `fit` fails under multi-worker strategies; the same code serves every
strategy. Batches are dicts as `trainer.data.input_pipeline` yields them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.training.losses import Loss, targets

TrainStep = Callable[[Any, tf.Tensor], tf.Tensor]


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Loss,
    class_weights: np.ndarray,
    smoothing: np.ndarray,
    batch_size: int,
    clip_norm: float,
    accumulate: int = 1,
    jit: bool = False,
    average: Callable[[tf.Tensor], None] | None = None,
) -> TrainStep:
    """Return a compiled function that updates the weights with one global batch.

    The function takes a distributed batch, as `input_pipeline.train_stream` yields it, and a flag of this worker,
    float32 []. It returns float32 [3], summed over all replicas: weighted losses, weights, flags. By the flags all
    workers agree at every step on whether one of them has been told to end, without an extra message.

    The loss to minimise is sum(weight * loss) / batch_size with the *global* batch size. So the result does not depend
    on the number of replicas, and each example of an epoch counts the same.

    Args:
        strategy: Strategy in whose scope the model was made.
        model: Network to train.
        optimizer: Optimizer that is built for the model.
        loss: Loss of each example.
        class_weights: float32 [C].
        smoothing: float32 [C], see `losses.smoothing_of`.
        batch_size: Size of a global batch.
        clip_norm: Largest global norm of the gradient; 0: no clipping.
        accumulate: Number of parts in which each replica computes its rows, one after another; it updates once with the
            sum of their gradients.
        jit: Compile with XLA.
        average: Called after each update with the number of updates before it (see `trainer.training.optimizer`).
    """
    replicas = strategy.num_replicas_in_sync
    total = tf.distribute.ReduceOp.SUM
    variables = model.trainable_variables

    def differentiate(batch: dict[str, tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        of_class = tf.gather(tf.constant(class_weights), tf.stack([batch["label"], batch["partner"]]))
        share = batch["share"]
        weights = batch["weight"] * (share * of_class[0] + (1.0 - share) * of_class[1])
        target = targets(batch["label"], batch["partner"], share, smoothing)
        with tf.GradientTape() as tape:
            losses = weights * loss(target, model(batch["image"], training=True))
            total_loss = tf.reduce_sum(losses) * (1.0 / batch_size)
        return tape.gradient(total_loss, variables), tf.reduce_sum(losses), tf.reduce_sum(weights)

    def update(gradients: list[tf.Tensor]) -> None:
        if clip_norm:
            # Clip by the norm of the whole batch's gradient. The optimizer sums over replicas once more.
            if replicas > 1:
                gradients = tf.distribute.get_replica_context().all_reduce(total, gradients)
                gradients = [gradient * (1.0 / replicas) for gradient in gradients]
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm / replicas)
        optimizer.apply(gradients, variables)

    def take_average() -> None:
        if average:
            average(tf.convert_to_tensor(optimizer.iterations) - 1)

    def step_at_once(batch: dict[str, tf.Tensor], flag: tf.Tensor) -> tf.Tensor:
        gradients, loss_sum, weight = differentiate(batch)
        update(gradients)
        return tf.stack([loss_sum, weight, flag])

    if accumulate == 1:

        @tf.function(jit_compile=jit)
        def train_step(batch: Any, flag: tf.Tensor) -> tf.Tensor:
            figures = strategy.reduce(total, strategy.run(step_at_once, args=(batch, flag)), axis=None)
            take_average()
            return figures

        return train_step

    with strategy.scope():
        # Each replica has its own copy, with its own sums.
        sums = [
            tf.Variable(
                tf.zeros(variable.shape),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for variable in variables
        ]

    def add_part(batch: dict[str, tf.Tensor], part: tf.Tensor, flag: tf.Tensor) -> tf.Tensor:
        size = batch["label"].shape[0] // accumulate
        rows = {name: value[part * size : (part + 1) * size] for name, value in batch.items()}
        gradients, loss_sum, weight = differentiate(rows)
        for kept, gradient in zip(sums, gradients, strict=True):
            kept.assign_add(gradient)
        return tf.stack([loss_sum, weight, flag])

    def finish() -> None:
        update([tf.convert_to_tensor(kept.read_value()) for kept in sums])
        for kept in sums:
            kept.assign(tf.zeros(kept.shape))

    @tf.function(jit_compile=jit)
    def train_step_in_parts(batch: Any, flag: tf.Tensor) -> tf.Tensor:
        figures = tf.zeros([3])
        # A loop in the graph: unrolled, it would hold the activations of several parts at once.
        for part in tf.range(accumulate):
            figures += strategy.reduce(total, strategy.run(add_part, args=(batch, part, flag)), axis=None)
        strategy.run(finish)
        take_average()
        return figures

    return train_step_in_parts


Predict = Callable[[Iterator[Any], int], tuple[np.ndarray, np.ndarray]]


def make_predict(strategy: tf.distribute.Strategy, model: keras.Model) -> Predict:
    """Return a function that computes the logits of batches.

    The function takes a distributed iterator and the number of batches to take from it. It returns, on every worker,
    logits float32 [n, C] and labels int64 [n] of the n real examples in them.

    Args:
        strategy: Strategy in whose scope the model was made.
        model: Network that gives the logits.
    """

    def replica_step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        logits = model(batch["image"], training=False)
        # Use one tensor, hence one message per batch. float32 holds every label exactly.
        others = tf.cast(tf.stack([tf.cast(batch["label"], tf.float32), batch["weight"]], axis=1), logits.dtype)
        return tf.concat([logits, others], axis=1)

    @tf.function
    def step(batch: Any) -> tf.Tensor:
        return strategy.gather(strategy.run(replica_step, args=(batch,)), axis=0)

    def predict(batches: Iterator[Any], count: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.concatenate([step(next(batches)).numpy() for _ in range(count)])
        rows = rows[rows[:, -1] > 0]
        return rows[:, :-2], rows[:, -2].astype(np.int64)

    return predict
