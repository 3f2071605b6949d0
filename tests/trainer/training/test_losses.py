"""Which class frequencies logits stand for, and what they say of the photographs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import softmax

from pipelines.domain.decision_rule import decision_values
from trainer.data.dataset_info import ClassCount, read_dataset_info
from trainer.training.losses import photographed_prior, photographed_shift, trained_prior

ORIGINALS, EXAMPLES = (10, 30, 60, 0), (60, 60, 60, 0)


@pytest.fixture
def info(dataset):
    info = read_dataset_info(dataset)
    counts = (ClassCount(*pair) for pair in zip(ORIGINALS, EXAMPLES, strict=True))
    train = dataclasses.replace(
        info.split("train"), originals=sum(ORIGINALS), per_class=dict(zip(info.classes, counts, strict=True))
    )
    return dataclasses.replace(info, splits={**info.splits, "train": train})


def test_photographs_count_as_they_are(info):
    np.testing.assert_allclose(photographed_prior(info), [0.1, 0.3, 0.6, 0])


@pytest.mark.parametrize("loss", ["cross_entropy", "balanced_softmax"])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_what_was_balanced_stands_for_equal_frequencies(info, loss, weights):
    np.testing.assert_allclose(trained_prior(info, loss, weights), [1 / 3, 1 / 3, 1 / 3, 0])


def test_the_shift_turns_one_frequency_into_another(info):
    """Bayes' rule on made-up likelihoods of an image in each class."""
    likelihood = np.array([0.2, 0.05, 0.01])
    logits = np.log(likelihood * trained_prior(info, "cross_entropy", "none")[:3])
    expected = likelihood * photographed_prior(info)[:3]
    shifted = logits + photographed_shift(info, "cross_entropy", "none")[:3]
    np.testing.assert_allclose(softmax(shifted), expected / expected.sum(), rtol=1e-6)
    assert photographed_shift(info, "cross_entropy", "none")[3] == 0


def test_decisions_are_those_of_equal_frequencies():
    probabilities = np.array([[0.3, 0.6, 0.1], [0.05, 0.9, 0.05]])
    prior = np.array([0.2, 0.8, 0.0])
    values = decision_values(probabilities, prior)
    np.testing.assert_allclose(values.sum(axis=1), 1)
    # 0.3 / 0.2 against 0.6 / 0.8, and a class that training never saw.
    np.testing.assert_allclose(values[0], np.array([1.5, 0.75, 0]) / 2.25)
    assert values.argmax(axis=1).tolist() == [0, 1]
