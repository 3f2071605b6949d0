"""ROC and precision-recall curves: their ends, their steps, and how many points they are drawn with."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.metrics.roc_pr_curves import rank_curves


def test_a_perfect_ranking_goes_through_the_corner() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    first, second = rank_curves(np.array([0, 0, 1]), probabilities, ["a", "b"])
    assert (first.name, first.n, second.n) == ("a", 2, 1)
    assert first.prevalence == pytest.approx(2 / 3)
    assert first.roc is not None
    assert first.precision_recall is not None
    assert (0.0, 1.0) in first.roc
    assert first.roc[0] == (0.0, 0.0)
    assert first.roc[-1] == (1.0, 1.0)
    assert all(precision == 1.0 for _, precision in first.precision_recall)


def test_a_ranking_the_wrong_way_round_finds_everything_last() -> None:
    (curve, _) = rank_curves(np.array([0, 1, 1]), np.array([[0.1, 0.9], [0.5, 0.5], [0.6, 0.4]]), ["a", "b"])
    assert curve.roc is not None
    assert curve.precision_recall is not None
    assert (1.0, 0.0) in curve.roc
    assert curve.precision_recall[-1] == (1.0, pytest.approx(1 / 3))


def test_a_class_alone_has_no_roc_but_a_precision() -> None:
    (alone, absent) = rank_curves(np.zeros(3, int), np.eye(3)[:, :2], ["a", "b"])
    assert alone.roc is None
    assert alone.precision_recall is not None
    assert alone.precision_recall == [(pytest.approx(x), 1.0) for x, _ in alone.precision_recall]
    assert (absent.n, absent.prevalence, absent.precision_recall) == (0, 0.0, None)


def test_many_images_are_drawn_with_few_points_between_the_same_ends() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 20_000)
    score = np.clip(random.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    curve = rank_curves(labels, np.stack([1 - score, score], axis=1), ["a", "b"])[1]
    assert curve.roc is not None
    assert len(curve.roc) <= 2 * 251
    assert (curve.roc[0], curve.roc[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert curve.roc == sorted(curve.roc)
