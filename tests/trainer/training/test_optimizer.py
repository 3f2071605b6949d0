"""The learning rate by step, which weights decay, and the average of the weights."""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config.options import TrainOptions
from trainer.network.model import ModelConfig, build_model
from trainer.training.optimizer import averaging_decay, learning_rate_schedule, make_average, make_optimizer


def test_learning_rate_rises_then_falls_to_zero() -> None:
    options = TrainOptions(dataset="d", output="o", epochs=10, learning_rate=0.01, warmup=0.2)
    schedule = learning_rate_schedule(options, steps_per_epoch=10)
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == 0
    assert rates[10] == pytest.approx(0.005)
    assert rates[20] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.01)
    assert rates[100] == pytest.approx(0, abs=1e-9)
    assert rates[60] == pytest.approx(0.01 * (1 + math.cos(math.pi / 2)) / 2)
    for changed in ({"warmup": 0.0}, {"epochs": 1}):
        other = learning_rate_schedule(dataclasses.replace(options, **changed), steps_per_epoch=1)
        assert float(other(0)) == pytest.approx(0.01)


def test_only_kernels_decay() -> None:
    model = build_model(ModelConfig(width=0.25, depth=1), 32, 3)
    options = TrainOptions(dataset="d", output="o", weight_decay=0.5, warmup=0.0, learning_rate=0.1)
    optimizer = make_optimizer(options, 10, model)
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    for old, variable in zip(before, model.trainable_variables, strict=True):
        factor = 1 - 0.1 * 0.5 if old.ndim > 1 else 1
        np.testing.assert_allclose(variable.numpy(), old * np.float32(factor), rtol=1e-5)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.1), (8, 0.5), (10_000, 0.99)])
def test_the_average_forgets_fast_at_first(step: int, expected: float) -> None:
    assert float(averaging_decay(0.99, tf.constant(step))) == pytest.approx(expected)


def test_the_average_moves_towards_the_weights_by_the_rest_of_its_decay() -> None:
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model, averaged = (keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]) for _ in range(2))
    for network, value in ((model, 1.0), (averaged, 0.0)):
        network.set_weights([np.full(weight.shape, value, np.float32) for weight in network.weights])
    update = make_average(strategy, model, averaged, 0.99)
    update(tf.constant(8))
    for weight in averaged.weights:
        np.testing.assert_allclose(weight.numpy(), 0.5)
    update(tf.constant(8))
    for weight in averaged.weights:
        np.testing.assert_allclose(weight.numpy(), 0.75)
    assert all((weight.numpy() == 1).all() for weight in model.weights)
