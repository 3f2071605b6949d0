"""Network, loss, class weights, optimizer: shapes, sizes and formulas."""

from __future__ import annotations

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from trainer.config.options import TrainOptions
from trainer.data.dataset_info import read_dataset_info
from trainer.network.batch_norm import synchronized_batch_norm
from trainer.network.model import BatchNormalization, Dropout, ModelConfig, build_model, precision, scaled
from trainer.training.losses import class_log_priors, class_weights, cross_entropy, make_loss, smoothing_of, targets
from trainer.training.optimizer import learning_rate_schedule, make_optimizer
from trainer.training.steps import make_train_step


def test_default_network_is_small_and_gives_logits():
    model = build_model(ModelConfig(), image_size=64, classes=9)
    assert 0.6e6 < model.count_params() < 0.8e6
    logits = model(tf.zeros([2, 64, 64, 3]), training=False)
    assert logits.shape == (2, 9)
    assert logits.dtype == tf.float32


def test_plain_blocks_and_no_normalisation_give_the_same_kind_of_network():
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


def test_config_changes_the_network_and_survives_json():
    small = ModelConfig(width=0.25, depth=1, squeeze_excite=0, channels=(16, 32))
    assert build_model(small, 33, 2).count_params() < 5000
    assert json.loads(json.dumps(small.as_dict())) == small.as_dict()
    assert [scaled(32, width) for width in (0.1, 0.5, 1.0, 1.1)] == [8, 16, 32, 32]


@pytest.mark.parametrize("synchronized", [False, True])
def test_no_gradient_is_a_sum_whose_order_is_left_to_chance(synchronized):
    # AddN of three or more adds in an order that depends on timing; of two it cannot matter.
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model = build_model(ModelConfig(), 32, 3, synchronized)
        optimizer = make_optimizer(TrainOptions(dataset="d", output="o"), 10, model)
    ones, smoothing = np.ones(3, np.float32), np.full(3, 0.1 / 3, np.float32)
    step = make_train_step(strategy, model, optimizer, cross_entropy, ones, smoothing, 4, clip_norm=1.0)
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


def test_batch_normalization_agrees_with_keras():
    x = tf.constant(np.random.default_rng(0).normal(2, 3, size=(8, 5, 5, 6)), tf.float32)
    ours, theirs = BatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    for training in (True, False):
        np.testing.assert_allclose(ours(x, training=training), theirs(x, training=training), atol=0.02)
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0.006)


def test_synchronized_batch_norm_of_one_replica_is_batch_norm():
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(2, 3, size=(8, 5, 5, 6)), tf.float32)
    gamma, beta = (tf.constant(random.normal(1, 0.5, 6), tf.float32) for _ in range(2))
    upstream = tf.constant(random.normal(size=x.shape), tf.float32)

    def ours(x, gamma, beta):
        return synchronized_batch_norm(x, gamma, beta, 1e-3)

    def theirs(x, gamma, beta):
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-3, is_training=True)

    def values_and_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            outputs, mean, variance = function(x, gamma, beta)
        return [outputs, mean, variance, *tape.gradient(outputs, [x, gamma, beta], upstream)]

    for one, other in zip(values_and_gradients(ours), values_and_gradients(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_dropout_keeps_the_expected_share_and_scales_it():
    layer = Dropout(0.3, seed=1)
    x = tf.ones([100, 50])
    assert np.array_equal(layer(x, training=False), x)
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    assert (first > 0).mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_allclose(first[first > 0], 1 / 0.7, rtol=1e-6)
    assert not np.array_equal(first, second)


def small_step(accumulate=1, jit=False, mixed=False):
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
def test_parts_of_a_batch_compilation_and_precision_do_not_change_a_step(changed, tolerance):
    figures, weights = small_step()
    other_figures, other_weights = small_step(**changed)
    np.testing.assert_allclose(other_figures, figures, rtol=tolerance)
    np.testing.assert_allclose(other_weights, weights, rtol=tolerance, atol=tolerance / 10)


def test_same_seed_same_initial_weights():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        model = build_model(ModelConfig(width=0.25, depth=1), 32, 3)
        return np.concatenate([weight.numpy().ravel() for weight in model.weights])

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_agrees_with_keras(smoothing):
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 5, 8), random.normal(size=(8, 5)).astype(np.float32)
    expected = keras.losses.categorical_crossentropy(
        np.eye(5)[labels], logits, from_logits=True, label_smoothing=smoothing
    )
    target = targets(labels, labels, np.ones(8, np.float32), smoothing_of("cross_entropy", smoothing, np.zeros(5)))
    np.testing.assert_allclose(cross_entropy(target, logits), expected, rtol=1e-5)


def test_focal_loss_agrees_with_keras():
    random = np.random.default_rng(0)
    target = np.eye(5, dtype=np.float32)[random.integers(0, 5, 8)]
    logits = random.normal(size=(8, 5)).astype(np.float32)
    expected = keras.losses.categorical_focal_crossentropy(target, logits, from_logits=True, alpha=1.0, gamma=2.0)
    np.testing.assert_allclose(make_loss("focal", np.zeros(5))(target, logits), expected, rtol=1e-4)


def test_logits_that_balanced_softmax_asks_for_say_nothing_of_frequencies():
    """An image that could be anything: the loss is least where all logits are equal, though classes are not."""
    log_priors = np.log(np.array([0.9, 0.09, 0.01], np.float32))
    loss = make_loss("balanced_softmax", log_priors)
    smoothing = smoothing_of("balanced_softmax", 0.1, log_priors)
    assert smoothing.sum() == pytest.approx(0.1)

    def expected_loss(logits):
        shares = np.exp(log_priors)
        rows = np.tile(np.array(logits, np.float32), (3, 1))
        target = targets(np.arange(3), np.arange(3), np.ones(3, np.float32), smoothing)
        return float(np.sum(shares * loss(target, rows).numpy()))

    least = expected_loss([0, 0, 0])
    assert all(expected_loss(other) > least + 1e-4 for other in ([0.2, 0, 0], [0, 0.2, 0], [0, 0, 0.2], [-0.2, 0, 0]))


def test_log_priors_count_what_is_stored(dataset):
    info = read_dataset_info(dataset)
    counts = np.array([info.split("train").per_class[name].examples for name in info.classes])
    np.testing.assert_allclose(np.exp(class_log_priors(info)), counts / counts.sum(), rtol=1e-6)


def test_balanced_class_weights_are_scikit_learns(dataset):
    info = read_dataset_info(dataset)
    labels = np.repeat(np.arange(4), [info.split("train").per_class[name].examples for name in info.classes])
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    np.testing.assert_allclose(class_weights(info, "balanced"), expected, rtol=1e-6)
    assert class_weights(info, "none").tolist() == [1, 1, 1, 1]


def test_learning_rate_rises_then_falls_to_zero():
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


def test_only_kernels_decay():
    model = build_model(ModelConfig(width=0.25, depth=1), 32, 3)
    options = TrainOptions(dataset="d", output="o", weight_decay=0.5, warmup=0.0, learning_rate=0.1)
    optimizer = make_optimizer(options, 10, model)
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    for old, variable in zip(before, model.trainable_variables, strict=True):
        factor = 1 - 0.1 * 0.5 if old.ndim > 1 else 1
        np.testing.assert_allclose(variable.numpy(), old * np.float32(factor), rtol=1e-5)
