"""Compiled steps: the same update in parts, compiled or in lower precision, and every example predicted once."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config.options import TrainOptions
from trainer.network.model import precision
from trainer.training.losses import cross_entropy
from trainer.training.optimizer import make_optimizer
from trainer.training.steps import make_predict, make_train_step


def small_step(accumulate: int = 1, jit: bool = False, mixed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Loss, weight and flag of one step of a network without batch normalisation, and the weights after it."""
    keras.utils.set_random_seed(0)
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope(), precision(mixed):
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
        x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(inputs, keras.layers.Dense(3, dtype="float32")(x))
        optimizer = make_optimizer(TrainOptions(dataset="d", output="o", warmup=0.0, learning_rate=0.01), 10, model)
    weights, smoothing = np.array([1, 2, 0.5], np.float32), np.full(3, 0.1 / 3, np.float32)
    step = make_train_step(
        strategy, model, optimizer, cross_entropy, weights, smoothing, 12, 0.1, accumulate=accumulate, jit=jit
    )
    random = np.random.default_rng(0)
    batch = {
        "image": tf.constant(random.normal(size=(12, 8, 8, 3)), tf.float32),
        "label": tf.constant(random.integers(0, 3, 12)),
        "partner": tf.constant(random.integers(0, 3, 12)),
        "share": tf.constant(random.uniform(0.5, 1, 12), tf.float32),
        "weight": tf.constant([1.0] * 10 + [0.0] * 2),
    }
    figures = [step(batch, tf.constant(0.0)).numpy() for _ in range(2)]
    assert all(weight.dtype == "float32" for weight in model.weights)
    return np.concatenate(figures), np.concatenate([weight.numpy().ravel() for weight in model.weights])


@pytest.mark.parametrize(
    ("changed", "tolerance"),
    [({"accumulate": 4}, 1e-5), ({"jit": True}, 1e-4), ({"accumulate": 3, "jit": True}, 1e-4), ({"mixed": True}, 5e-2)],
)
def test_parts_of_a_batch_compilation_and_precision_do_not_change_a_step(
    changed: dict[str, Any], tolerance: float
) -> None:
    figures, weights = small_step()
    other_figures, other_weights = small_step(**changed)
    np.testing.assert_allclose(other_figures, figures, rtol=tolerance)
    np.testing.assert_allclose(other_weights, weights, rtol=tolerance, atol=tolerance / 10)


def test_predictions_are_those_of_the_real_examples_in_their_order() -> None:
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        inputs = keras.Input((1, 1, 3))
        model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    images = np.arange(24, dtype=np.float32).reshape(8, 1, 1, 3)
    rows = {"image": images, "label": np.arange(8), "weight": np.array([1] * 6 + [0] * 2, np.float32)}
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(4).repeat()
    logits, labels = make_predict(strategy, model)(iter(batches), 2)
    # The last two examples fill the batch and have no weight.
    assert np.array_equal(logits, images[:6, 0, 0])
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 2, 3, 4, 5]
