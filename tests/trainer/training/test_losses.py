"""Losses and class weights, and which class frequencies logits stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.utils.class_weight import compute_class_weight

from pipelines.domain.dataset_json import ClassCount
from pipelines.domain.decision_rule import decision_values
from trainer.data.dataset_info import DatasetInfo, read_dataset_info
from trainer.training.losses import (
    class_log_priors,
    class_weights,
    cross_entropy,
    make_loss,
    photographed_prior,
    photographed_shift,
    smoothing_of,
    targets,
    trained_prior,
)

ORIGINALS, EXAMPLES = (10, 30, 60, 0), (60, 60, 60, 0)


@pytest.fixture
def info(dataset: Path) -> DatasetInfo:
    info = read_dataset_info(dataset)
    counts = (ClassCount(*pair) for pair in zip(ORIGINALS, EXAMPLES, strict=True))
    train = dataclasses.replace(
        info.split("train"), originals=sum(ORIGINALS), per_class=dict(zip(info.classes, counts, strict=True))
    )
    return dataclasses.replace(info, splits={**info.splits, "train": train})


def test_photographs_count_as_they_are(info: DatasetInfo) -> None:
    np.testing.assert_allclose(photographed_prior(info), [0.1, 0.3, 0.6, 0])


@pytest.mark.parametrize("loss", ["cross_entropy", "balanced_softmax"])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_what_was_balanced_stands_for_equal_frequencies(info: DatasetInfo, loss: str, weights: str) -> None:
    np.testing.assert_allclose(trained_prior(info, loss, weights), [1 / 3, 1 / 3, 1 / 3, 0])


def test_the_shift_turns_one_frequency_into_another(info: DatasetInfo) -> None:
    """Bayes' rule on made-up likelihoods of an image in each class."""
    likelihood = np.array([0.2, 0.05, 0.01])
    logits = np.log(likelihood * trained_prior(info, "cross_entropy", "none")[:3])
    expected = likelihood * photographed_prior(info)[:3]
    shifted = logits + photographed_shift(info, "cross_entropy", "none")[:3]
    np.testing.assert_allclose(softmax(shifted), expected / expected.sum(), rtol=1e-6)
    assert photographed_shift(info, "cross_entropy", "none")[3] == 0


def test_decisions_are_those_of_equal_frequencies() -> None:
    probabilities = np.array([[0.3, 0.6, 0.1], [0.05, 0.9, 0.05]])
    prior = np.array([0.2, 0.8, 0.0])
    values = decision_values(probabilities, prior)
    np.testing.assert_allclose(values.sum(axis=1), 1)
    # 0.3 / 0.2 against 0.6 / 0.8, and a class that training never saw.
    np.testing.assert_allclose(values[0], np.array([1.5, 0.75, 0]) / 2.25)
    assert values.argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_agrees_with_keras(smoothing: float) -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 5, 8), random.normal(size=(8, 5)).astype(np.float32)
    expected = keras.losses.categorical_crossentropy(
        np.eye(5)[labels], logits, from_logits=True, label_smoothing=smoothing
    )
    target = targets(labels, labels, np.ones(8, np.float32), smoothing_of("cross_entropy", smoothing, np.zeros(5)))
    np.testing.assert_allclose(cross_entropy(target, logits), expected, rtol=1e-5)


def test_focal_loss_agrees_with_keras() -> None:
    random = np.random.default_rng(0)
    target = np.eye(5, dtype=np.float32)[random.integers(0, 5, 8)]
    logits = random.normal(size=(8, 5)).astype(np.float32)
    expected = keras.losses.categorical_focal_crossentropy(target, logits, from_logits=True, alpha=1.0, gamma=2.0)
    np.testing.assert_allclose(make_loss("focal", np.zeros(5))(target, logits), expected, rtol=1e-4)


def test_logits_that_balanced_softmax_asks_for_say_nothing_of_frequencies() -> None:
    """An image that could be anything: the loss is least where all logits are equal, though classes are not."""
    log_priors = np.log(np.array([0.9, 0.09, 0.01], np.float32))
    loss = make_loss("balanced_softmax", log_priors)
    smoothing = smoothing_of("balanced_softmax", 0.1, log_priors)
    assert smoothing.sum() == pytest.approx(0.1)

    def expected_loss(logits: Sequence[float]) -> float:
        shares = np.exp(log_priors)
        rows = np.tile(np.array(logits, np.float32), (3, 1))
        target = targets(np.arange(3), np.arange(3), np.ones(3, np.float32), smoothing)
        return float(np.sum(shares * loss(target, rows).numpy()))

    least = expected_loss([0, 0, 0])
    assert all(expected_loss(other) > least + 1e-4 for other in ([0.2, 0, 0], [0, 0.2, 0], [0, 0, 0.2], [-0.2, 0, 0]))


def test_log_priors_count_what_is_stored(dataset: Path) -> None:
    info = read_dataset_info(dataset)
    counts = np.array([info.split("train").per_class[name].examples for name in info.classes])
    np.testing.assert_allclose(np.exp(class_log_priors(info)), counts / counts.sum(), rtol=1e-6)


def test_balanced_class_weights_are_scikit_learns(dataset: Path) -> None:
    info = read_dataset_info(dataset)
    labels = np.repeat(np.arange(4), [info.split("train").per_class[name].examples for name in info.classes])
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    np.testing.assert_allclose(class_weights(info, "balanced"), expected, rtol=1e-6)
    assert class_weights(info, "none").tolist() == [1, 1, 1, 1]
