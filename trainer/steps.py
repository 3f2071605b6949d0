"""The compiled steps: one global batch of training, and inference over a whole split.

A loop of our own over `strategy.run`, because Keras' `fit` fails under multi-worker strategies; here the same code
serves every strategy. Batches are dicts as `trainer.dataset` yields them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.losses import Loss, targets

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
    """A function of one distributed batch and a flag of this worker's: updates the weights.

    Returns float32 [3], summed over all replicas: weighted losses, weights, flags. So the workers agree at every step
    on whether one of them has been told to end, at no extra message.

    Batches: as `trainer.dataset.train_stream` yields them. class_weights, smoothing: float32 [C].
    The loss whose gradient is followed is sum(weight * loss) / batch_size with the *global* batch size, so the result
    does not depend on the number of replicas, and each example of an epoch counts the same. With `accumulate`, each
    replica computes its rows in so many parts, one after another, and updates once with the sum of their gradients.
    average: called after each update with the number of updates before it (see `trainer.averaging`).
    """
    replicas = strategy.num_replicas_in_sync
    total = tf.distribute.ReduceOp.SUM
    variables = model.trainable_variables

    def differentiate(batch):
        of_class = tf.gather(tf.constant(class_weights), tf.stack([batch["label"], batch["partner"]]))
        share = batch["share"]
        weights = batch["weight"] * (share * of_class[0] + (1.0 - share) * of_class[1])
        target = targets(batch["label"], batch["partner"], share, smoothing)
        with tf.GradientTape() as tape:
            losses = weights * loss(target, model(batch["image"], training=True))
            total_loss = tf.reduce_sum(losses) * (1.0 / batch_size)
        return tape.gradient(total_loss, variables), tf.reduce_sum(losses), tf.reduce_sum(weights)

    def update(gradients):
        if clip_norm:
            # The norm that counts is that of the whole batch's gradient. The optimizer sums over replicas once more.
            if replicas > 1:
                gradients = tf.distribute.get_replica_context().all_reduce(total, gradients)
                gradients = [gradient * (1.0 / replicas) for gradient in gradients]
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm / replicas)
        optimizer.apply(gradients, variables)

    def take_average():
        if average:
            average(tf.convert_to_tensor(optimizer.iterations) - 1)

    def step_at_once(batch, flag):
        gradients, loss_sum, weight = differentiate(batch)
        update(gradients)
        return tf.stack([loss_sum, weight, flag])

    if accumulate == 1:

        @tf.function(jit_compile=jit)
        def train_step(batch, flag):
            figures = strategy.reduce(total, strategy.run(step_at_once, args=(batch, flag)), axis=None)
            take_average()
            return figures

        return train_step

    with strategy.scope():
        # One copy per replica, of its own sums.
        sums = [
            tf.Variable(
                tf.zeros(variable.shape),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for variable in variables
        ]

    def add_part(batch, part, flag):
        size = batch["label"].shape[0] // accumulate
        rows = {name: value[part * size : (part + 1) * size] for name, value in batch.items()}
        gradients, loss_sum, weight = differentiate(rows)
        for kept, gradient in zip(sums, gradients, strict=True):
            kept.assign_add(gradient)
        return tf.stack([loss_sum, weight, flag])

    def finish():
        update([tf.convert_to_tensor(kept.read_value()) for kept in sums])
        for kept in sums:
            kept.assign(tf.zeros(kept.shape))

    @tf.function(jit_compile=jit)
    def train_step_in_parts(batch, flag):
        figures = tf.zeros([3])
        # The parts in a loop of the graph: unrolled, it would hold the activations of several at once.
        for part in tf.range(accumulate):
            figures += strategy.reduce(total, strategy.run(add_part, args=(batch, part, flag)), axis=None)
        strategy.run(finish)
        take_average()
        return figures

    return train_step_in_parts


Predict = Callable[[Iterator[Any], int], tuple[np.ndarray, np.ndarray]]


def make_predict(strategy: tf.distribute.Strategy, model: keras.Model) -> Predict:
    """A function of a distributed iterator and a number of batches of it.

    Gives (logits float32 [n, C], labels int64 [n]) of their n real examples, on every worker.
    """

    def replica_step(batch):
        logits = model(batch["image"], training=False)
        # In one tensor, for one message per batch. float32 holds every label exactly.
        others = tf.cast(tf.stack([tf.cast(batch["label"], tf.float32), batch["weight"]], axis=1), logits.dtype)
        return tf.concat([logits, others], axis=1)

    @tf.function
    def step(batch):
        return strategy.gather(strategy.run(replica_step, args=(batch,)), axis=0)

    def predict(batches, count):
        rows = np.concatenate([step(next(batches)).numpy() for _ in range(count)])
        rows = rows[rows[:, -1] > 0]
        return rows[:, :-2], rows[:, -2].astype(np.int64)

    return predict
