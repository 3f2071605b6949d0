"""The compiled steps: one global batch of training, and inference over a whole split.

A loop of our own over `strategy.run`, because Keras' `fit` fails under multi-worker strategies; here the same code
serves every strategy. Batches are dicts as `trainer.dataset` yields them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.losses import smoothed_cross_entropy

TrainStep = Callable[[Any], tuple[tf.Tensor, tf.Tensor]]


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    class_weights: np.ndarray,
    batch_size: int,
    label_smoothing: float,
    clip_norm: float,
) -> TrainStep:
    """A function of one distributed batch: updates the weights, returns (sum of weighted losses, sum of weights).

    The loss whose gradient is followed is sum(weight * loss) / batch_size with the *global* batch size, so the result
    does not depend on the number of replicas, and each example of an epoch counts the same.
    """
    replicas = strategy.num_replicas_in_sync

    def replica_step(batch):
        weights = batch["weight"] * tf.gather(tf.constant(class_weights), batch["label"])
        with tf.GradientTape() as tape:
            logits = model(batch["image"], training=True)
            losses = weights * smoothed_cross_entropy(batch["label"], logits, label_smoothing)
            loss = tf.reduce_sum(losses) * (1.0 / batch_size)
        gradients = tape.gradient(loss, model.trainable_variables)
        if clip_norm:
            # The norm that counts is that of the whole batch's gradient. The optimizer sums over replicas once more.
            if replicas > 1:
                context = tf.distribute.get_replica_context()
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
                gradients = [gradient * (1.0 / replicas) for gradient in gradients]
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm / replicas)
        optimizer.apply(gradients, model.trainable_variables)
        return tf.reduce_sum(losses), tf.reduce_sum(weights)

    @tf.function
    def train_step(batch):
        loss, weight = strategy.run(replica_step, args=(batch,))
        total = tf.distribute.ReduceOp.SUM
        return strategy.reduce(total, loss, axis=None), strategy.reduce(total, weight, axis=None)

    return train_step


Predict = Callable[[Iterable[Any]], tuple[np.ndarray, np.ndarray]]


def make_predict(strategy: tf.distribute.Strategy, model: keras.Model) -> Predict:
    """A function of a distributed dataset: (logits float32 [n, C], labels int64 [n]) of its n real examples."""

    def replica_step(batch):
        return model(batch["image"], training=False), batch["label"], batch["weight"]

    @tf.function
    def step(batch):
        return strategy.run(replica_step, args=(batch,))

    def predict(batches):
        logits, labels = [], []
        for batch in batches:
            values = [strategy.gather(value, axis=0).numpy() for value in step(batch)]
            real = values[2] > 0
            logits.append(values[0][real])
            labels.append(values[1][real])
        return np.concatenate(logits), np.concatenate(labels)

    return predict
