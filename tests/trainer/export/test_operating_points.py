"""Thresholds at chosen sensitivities, held against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.export.operating_points import MARGIN, TARGETS, operating_points


def test_points_of_twenty_malignant_images_are_those_counted_by_hand() -> None:
    scores = np.concatenate([np.arange(1, 21) / 20, np.arange(0, 10) / 10])
    is_malignant = np.arange(30) < 20
    points = operating_points(scores, is_malignant)
    assert [point.target for point in points] == list(TARGETS)
    # 16, 18, 19 (which 0.95 * 20 exceeds in floating point) and, as 19 are too few for 0.98, all 20.
    assert [point.sensitivity for point in points] == [0.8, 0.9, 0.95, 1.0]
    assert [point.threshold for point in points] == pytest.approx([0.25, 0.15, 0.1, 0.05], rel=1.1 * MARGIN)
    # Benign: 0, 0.1, 0.2, ...; one of 0.1 is flagged at a threshold of 0.1.
    assert [point.specificity for point in points] == [0.3, 0.2, 0.1, 0.1]
    assert {(point.malignant, point.benign) for point in points} == {(20, 10)}


@pytest.mark.parametrize("seed", range(20))
def test_no_higher_threshold_would_do(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 60))
    # Many equal scores, many of exactly 0 and 1.
    scores = random.integers(0, 8, n) / 7
    is_malignant = random.random(n) < 0.5
    is_malignant[0] = True
    for point in operating_points(scores, is_malignant, (0.01, 0.5, 2 / 3, 0.95, 1.0)):
        flagged = scores >= point.threshold
        assert flagged[is_malignant].mean() == point.sensitivity >= point.target - 1e-9
        higher = scores[scores > point.threshold * (1 + 2 * MARGIN)]
        assert not any((scores[is_malignant] >= other).mean() >= point.target for other in higher)
        if point.benign:
            assert point.specificity == (~flagged)[~is_malignant].mean()


def test_the_last_digits_of_a_score_decide_nothing() -> None:
    scores = np.random.default_rng(0).random(50)
    is_malignant = np.arange(50) < 20
    for point in operating_points(scores, is_malignant):
        elsewhere = (scores * (1 - 1e-6)).astype(np.float32)
        assert (elsewhere[is_malignant] >= np.float32(point.threshold)).mean() >= point.target


def test_without_malignant_or_benign_images() -> None:
    assert operating_points(np.array([0.1, 0.9]), np.array([False, False])) == []
    assert operating_points(np.zeros(0), np.zeros(0, bool)) == []
    (point,) = operating_points(np.array([0.4]), np.array([True]), (0.95,))
    assert (point.sensitivity, point.specificity, point.malignant, point.benign) == (1, None, 1, 0)


def test_a_malignant_image_of_score_0_is_found_by_flagging_all() -> None:
    (point,) = operating_points(np.array([0.0, 0.5, 0.2]), np.array([True, True, False]), (1.0,))
    assert (point.threshold, point.sensitivity, point.specificity) == (0, 1, 0)


def test_what_is_no_sensitivity_or_no_score() -> None:
    one = np.array([True])
    for target in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            operating_points(np.array([0.5]), one, (target,))
    with pytest.raises(ValueError, match="finite"):
        operating_points(np.array([np.nan]), one)
