"""What a trained network's validation logits say of its temperature and its thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from trainer.export.calibration import expected_calibration_error, tempered
from trainer.export.fitting import MARGIN, TARGETS, fit_outputs, operating_points

CLASSES = ("basal cell carcinoma", "melanoma", "nevus", "wart")
MALIGNANT = CLASSES[:2]
TEMPERATURE = 2.0


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, 8, C] of a network that is too sure, and labels, which follow its first view."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (3000, 1, 4)) + random.normal(0, 0.5, (3000, 8, 4))
    chances = softmax(logits[:, 0] / TEMPERATURE, axis=1).cumsum(axis=1)
    return logits.astype(np.float32), (random.random((3000, 1)) > chances).sum(axis=1).clip(max=3)


def test_the_temperature_of_the_draw_is_found_and_points_reach_their_targets(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = drawn
    prior = np.bincount(labels) / len(labels)
    fitted = fit_outputs(logits, labels, prior, CLASSES, MALIGNANT)
    assert fitted.temperature == pytest.approx(TEMPERATURE, rel=0.05)
    assert fitted.calibration["temperature"] == fitted.temperature
    assert (fitted.calibration["n"], fitted.calibration["split"]) == (3000, "validation")
    errors = fitted.calibration["expected_calibration_error"]
    # The prior is that of the photographs.
    assert errors["as_prior"] == pytest.approx(errors["as_photographed"])
    assert errors["as_prior"]["after"] < 0.03 < 0.1 < errors["as_prior"]["before"]
    after = softmax(tempered(logits, fitted.temperature, np.log(prior)), axis=2)
    assert errors["as_prior"]["after"] == pytest.approx(expected_calibration_error(after[:, 0], labels))
    is_malignant = labels < 2
    for name, probabilities in (("one_view", after[:, 0]), ("eight_views", after.mean(axis=1))):
        scores = probabilities[:, :2].sum(axis=1)
        for point in fitted.operating_points[name]:
            assert (scores >= point["threshold"])[is_malignant].mean() == point["sensitivity"]
            assert point["target"] <= point["sensitivity"] < point["target"] + 0.01
            assert (point["malignant"], point["benign"]) == (is_malignant.sum(), (~is_malignant).sum())
    one, eight = (fitted.operating_points[name][2]["threshold"] for name in ("one_view", "eight_views"))
    assert one != pytest.approx(eight, rel=1e-3)


def test_images_weigh_as_the_prior_says(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    """In a world of nevi, on which the network is always right where classes are alike, it is not sure enough."""
    logits, labels = drawn
    nevi = np.flatnonzero((labels == 2) & (logits[:, 0].argmax(axis=1) == 2))
    kept = np.concatenate([nevi, np.flatnonzero(labels != 2)])
    logits, labels = logits[kept], labels[kept]
    world = np.array([0.001, 0.001, 0.997, 0.001])
    # The same network for both: its logits are those of the world that it is asked about.
    plain = fit_outputs(logits, labels, np.full(4, 0.25), CLASSES, MALIGNANT)
    shifted = logits + np.log(world).astype(np.float32)
    of_nevi = fit_outputs(shifted, labels, world, CLASSES, MALIGNANT)
    assert of_nevi.temperature < 0.5 * plain.temperature
    # Thresholds are for the images as they are.
    flagged = [one.operating_points["one_view"][0]["sensitivity"] for one in (plain, of_nevi)]
    assert flagged == pytest.approx([0.8, 0.8], abs=0.01)


def test_without_malignant_classes_or_images_there_are_no_points(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    none: dict[str, list] = {"one_view": [], "eight_views": []}
    assert fit_outputs(logits, labels, np.full(4, 0.25), CLASSES, ()).operating_points == none
    benign = labels >= 2
    assert fit_outputs(logits[benign], labels[benign], np.full(4, 0.25), CLASSES, MALIGNANT).operating_points == none


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
