"""Intervals: whole lesions are drawn, the same seed draws alike, and the truth is covered as often as promised."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from tests.support.simulated_predictions import simulate
from trainer.metrics import bootstrap, metrics

CLASSES = ("basal cell carcinoma", "melanoma", "nevus")
MALIGNANT = CLASSES[:2]


def test_resamples_draw_whole_lesions_and_keep_the_classes() -> None:
    labels, _, groups = simulate(60, 4, 1.0, seed=4, photographs=3)
    blocks = list(bootstrap.resamples(labels, groups, 30, seed=9))
    weights = np.concatenate(blocks)
    assert weights.shape == (30, 60)
    by_lesion = weights.reshape(30, 20, 3)
    assert (by_lesion == by_lesion[:, :, :1]).all()
    for label in range(4):
        assert (weights[:, labels == label].sum(axis=1) == (labels == label).sum()).all()
    assert np.array_equal(weights, np.concatenate(list(bootstrap.resamples(labels, groups, 30, seed=9))))
    assert not np.array_equal(weights, np.concatenate(list(bootstrap.resamples(labels, groups, 30, seed=8))))


def test_blocks_do_not_change_the_shape_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities, groups = simulate(60, 3, 1.0, seed=4)
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * 60)
    blocks = list(bootstrap.resamples(labels, groups, 30, seed=0))
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 2]
    figures = metrics.evaluate(labels, probabilities, groups, CLASSES, bootstrap=30)
    assert figures["balanced_accuracy"]["low"] <= figures["balanced_accuracy"]["value"]


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """150 simulated splits of 100 lesions with 3 photographs each: the truth is known from a huge split."""
    labels, probabilities, _ = simulate(300_000, 3, 1.0, seed=5)
    truth = sklearn.metrics.balanced_accuracy_score(labels, probabilities.argmax(axis=1))
    auc = sklearn.metrics.roc_auc_score(labels == 1, probabilities[:, 1])
    covered, covered_auc, too_sure = 0, 0, 0
    for seed in range(150):
        labels, probabilities, groups = simulate(300, 3, 1.0, seed=1000 + seed, photographs=3)
        figures = metrics.evaluate(labels, probabilities, groups, CLASSES, bootstrap=200)
        alone = metrics.evaluate(labels, probabilities, np.arange(300), CLASSES, bootstrap=200)["balanced_accuracy"]
        covered += figures["balanced_accuracy"]["low"] <= truth <= figures["balanced_accuracy"]["high"]
        row = figures["per_class"]["melanoma"]["auc"]
        covered_auc += row["low"] <= auc <= row["high"]
        too_sure += not alone["low"] <= truth <= alone["high"]
    assert covered >= 0.88 * 150
    assert covered_auc >= 0.88 * 150
    # Photographs taken for independent give intervals that miss far more often than 5 %: why lesions are drawn.
    assert too_sure >= 0.15 * 150


def test_same_seed_same_intervals() -> None:
    labels, probabilities, groups = simulate(90, 3, 1.0, seed=6)
    one = metrics.evaluate(labels, probabilities, groups, CLASSES, MALIGNANT, bootstrap=100, seed=4)
    assert one == metrics.evaluate(labels, probabilities, groups, CLASSES, MALIGNANT, bootstrap=100, seed=4)
    other = metrics.evaluate(labels, probabilities, groups, CLASSES, MALIGNANT, bootstrap=100, seed=5)
    assert one["balanced_accuracy"]["low"] != other["balanced_accuracy"]["low"]


def test_a_figure_alike_in_all_resamples_has_no_interval() -> None:
    labels, groups = np.array([0, 0, 1, 1]), np.array(list("abcd"))
    everything = np.ones(4, bool)
    always = bootstrap.resampled(
        lambda weights: np.ones(len(weights)), everything, labels, groups, bootstrap=50, seed=0
    )
    assert always == bootstrap.Estimate(1.0, None, None, 4)
    never = bootstrap.resampled(lambda weights: weights[:, 0] * np.nan, everything, labels, groups, bootstrap=9, seed=0)
    assert never == bootstrap.Estimate(None, None, None, 0)


def test_the_interval_is_of_the_middle_ninety_five_percent_of_resamples() -> None:
    assert bootstrap.interval(np.arange(1001.0)) == pytest.approx((25, 975))
    assert bootstrap.interval(np.array([1.0, np.nan])) == (None, None)
    assert bootstrap.interval(None) == (None, None)
