"""The network: shapes, sizes, gradients and what it costs."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config.options import TrainOptions
from trainer.network.model import (
    Dropout,
    ModelConfig,
    build_model,
    multiply_adds,
    scaled,
)
from trainer.training.losses import cross_entropy
from trainer.training.optimizer import make_optimizer
from trainer.training.steps import make_train_step


def test_default_network_is_small_and_gives_logits() -> None:
    model = build_model(ModelConfig(), image_size=64, classes=9)
    assert 0.6e6 < model.count_params() < 0.8e6
    logits = model(tf.zeros([2, 64, 64, 3]), training=False)
    assert logits.shape == (2, 9)
    assert logits.dtype == tf.float32


def test_plain_blocks_and_no_normalisation_give_the_same_kind_of_network() -> None:
    plain = build_model(ModelConfig(block="plain", depth=1, width=0.5), image_size=32, classes=3)
    kinds = {type(layer).__name__ for layer in plain.layers}
    assert "DepthwiseConv2D" not in kinds
    assert "BatchNormalization" in kinds
    bare = build_model(ModelConfig(normalisation=False, depth=1), image_size=32, classes=3)
    assert "BatchNormalization" not in {type(layer).__name__ for layer in bare.layers}
    for model in (plain, bare):
        logits = model(tf.random.stateless_normal([2, 32, 32, 3], [0, 1]), training=False).numpy()
        assert logits.shape == (2, 3)
        assert np.isfinite(logits).all()


def test_config_changes_the_network_and_survives_json() -> None:
    small = ModelConfig(width=0.25, depth=1, squeeze_excite=0, channels=(16, 32))
    assert build_model(small, 33, 2).count_params() < 5000
    assert json.loads(json.dumps(small.as_dict())) == small.as_dict()
    assert [scaled(32, width) for width in (0.1, 0.5, 1.0, 1.1)] == [8, 16, 32, 32]


@pytest.mark.parametrize("synchronized", [False, True])
def test_no_gradient_is_a_sum_whose_order_is_left_to_chance(synchronized: bool) -> None:
    # AddN of three or more adds in an order that depends on timing; of two it cannot matter.
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model = build_model(ModelConfig(), 32, 3, synchronized)
        optimizer = make_optimizer(TrainOptions(dataset="d", output="o"), 10, model)
    ones, smoothing = np.ones(3, np.float32), np.full(3, 0.1 / 3, np.float32)
    step: Any = make_train_step(strategy, model, optimizer, cross_entropy, ones, smoothing, 4, clip_norm=1.0)
    batch = {
        "image": tf.TensorSpec([4, 32, 32, 3], tf.float32),
        "label": tf.TensorSpec([4], tf.int64),
        "partner": tf.TensorSpec([4], tf.int64),
        "share": tf.TensorSpec([4], tf.float32),
        "weight": tf.TensorSpec([4], tf.float32),
    }
    operations = step.get_concrete_function(batch, tf.TensorSpec([], tf.float32)).graph.get_operations()
    if not synchronized:
        assert sum(operation.type == "FusedBatchNormGradV3" for operation in operations) > 10
    sums = [len(operation.inputs) for operation in operations if operation.type == "AddN"]
    assert sums
    assert max(sums) == 2


def test_dropout_keeps_the_expected_share_and_scales_it() -> None:
    layer = Dropout(0.3, seed=1)
    x = tf.ones([100, 50])
    assert np.array_equal(layer(x, training=False), x)
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    assert (first > 0).mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_allclose(first[first > 0], 1 / 0.7, rtol=1e-6)
    assert not np.array_equal(first, second)


def test_same_seed_same_initial_weights() -> None:
    def weights(seed: int) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        model = build_model(ModelConfig(width=0.25, depth=1), 32, 3)
        return np.concatenate([weight.numpy().ravel() for weight in model.weights])

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_multiplications_are_those_counted_by_hand() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same")(inputs)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    inner = keras.Model(inputs, keras.layers.Dense(5)(x))
    by_hand = 4 * 4 * 16 * 27 + 4 * 4 * 16 * 9 + 16 * 5
    assert multiply_adds(inner) == by_hand
    outer = keras.Input((8, 8, 3))
    assert multiply_adds(keras.Model(outer, inner(outer))) == by_hand


def test_a_separable_layer_costs_what_its_two_parts_do() -> None:
    inputs = keras.Input((8, 8, 6))
    one = keras.Model(inputs, keras.layers.SeparableConv2D(10, 3, strides=2, padding="same")(inputs))
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(inputs)
    two = keras.Model(inputs, keras.layers.Conv2D(10, 1)(x))
    assert multiply_adds(one) == multiply_adds(two) == 4 * 4 * (6 * 9 + 6 * 10)


def test_an_image_of_twice_the_side_costs_four_times_as_much() -> None:
    small, large = (multiply_adds(build_model(ModelConfig(squeeze_excite=0), size, 9)) for size in (64, 128))
    linear = 288 * 9
    assert large - linear == 4 * (small - linear)
