"""Batch normalisation: the same as Keras', whichever code computes it."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from trainer.network.batch_norm import BatchNormalization, synchronized_batch_norm


def test_batch_normalization_agrees_with_keras() -> None:
    x = tf.constant(np.random.default_rng(0).normal(2, 3, size=(8, 5, 5, 6)), tf.float32)
    ours, theirs = BatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    for training in (True, False):
        np.testing.assert_allclose(ours(x, training=training), theirs(x, training=training), atol=0.02)
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0.006)


def test_synchronized_batch_norm_of_one_replica_is_batch_norm() -> None:
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(2, 3, size=(8, 5, 5, 6)), tf.float32)
    gamma, beta = (tf.constant(random.normal(1, 0.5, 6), tf.float32) for _ in range(2))
    upstream = tf.constant(random.normal(size=x.shape), tf.float32)

    def ours(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return synchronized_batch_norm(x, gamma, beta, 1e-3)

    def theirs(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-3, is_training=True)

    def values_and_gradients(function: Callable[..., tuple[tf.Tensor, ...]]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            outputs, mean, variance = function(x, gamma, beta)
        return [outputs, mean, variance, *tape.gradient(outputs, [x, gamma, beta], upstream)]

    for one, other in zip(values_and_gradients(ours), values_and_gradients(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_layer_that_is_not_trained_keeps_its_statistics() -> None:
    layer = BatchNormalization()
    x = tf.constant(np.random.default_rng(0).normal(2, 3, size=(8, 5, 5, 6)), tf.float32)
    layer(x, training=True)
    layer.trainable = False
    before = [variable.numpy() for variable in layer.variables]
    frozen = layer(x, training=True)
    for old, variable in zip(before, layer.variables, strict=True):
        assert np.array_equal(variable.numpy(), old)
    assert np.array_equal(frozen, layer(x, training=False))
