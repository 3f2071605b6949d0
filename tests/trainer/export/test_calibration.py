"""Calibration: the temperature that made the logits is found again; errors are those that are counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from trainer.export.calibration import example_weights, expected_calibration_error, fit_temperature, reliability


def drawn(temperature: float, n: int = 4000, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels, drawn from softmax(logits / temperature)."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (n, classes))
    chances = softmax(logits / temperature, axis=1).cumsum(axis=1)
    return logits, (random.random((n, 1)) > chances).sum(axis=1).clip(max=classes - 1)


def likelihood(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, temperature: float = 1.0) -> float:
    log_p = log_softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return np.average(log_p[np.arange(len(labels)), labels], weights=weights)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_the_draw_is_found(temperature: float) -> None:
    logits, labels = drawn(temperature)
    weights = np.ones(len(labels))
    found = fit_temperature(logits, labels, weights)
    assert found == pytest.approx(temperature, rel=0.05)
    # Of all temperatures the likeliest, also against its close neighbours.
    best = likelihood(logits, labels, weights, found)
    assert all(best >= likelihood(logits, labels, weights, found * factor) for factor in (0.5, 0.999, 1.001, 2))
    # Logits of another scale: the same probabilities.
    assert fit_temperature(2 * logits, labels, weights) == pytest.approx(2 * found, rel=1e-4)


def test_calibration_mends_a_network_that_is_too_sure() -> None:
    logits, labels = drawn(2.5)
    found = fit_temperature(logits, labels, np.ones(len(labels)))
    assert found is not None
    before, after = softmax(logits, axis=1), softmax(logits / found, axis=1)
    errors = [expected_calibration_error(probabilities, labels) for probabilities in (before, after)]
    assert errors[0] is not None
    assert errors[0] > 0.15
    assert errors[1] is not None
    assert errors[1] < 0.03
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))


def test_weights_count_as_repetition() -> None:
    logits, labels = drawn(1.5, n=300)
    times = np.random.default_rng(1).integers(0, 4, 300)
    repeated = np.repeat(np.arange(300), times)
    weighted = fit_temperature(logits, labels, times)
    assert weighted == pytest.approx(fit_temperature(logits[repeated], labels[repeated], np.ones(len(repeated))))
    assert weighted != pytest.approx(fit_temperature(logits, labels, np.ones(300)), rel=1e-3)
    for calculate in (
        expected_calibration_error,
        lambda *given: [(row.weight, row.accuracy) for row in reliability(*given)],
    ):
        of_weights = calculate(softmax(logits, axis=1), labels, times)
        of_copies = calculate(softmax(logits[repeated], axis=1), labels[repeated])
        np.testing.assert_allclose(np.array(of_weights, float), np.array(of_copies, float))


HUGE = np.array([[1e4, -1e4, 0.0]] * 3 + [[-1e4, 1e4, 0.0]])


@pytest.mark.parametrize(
    ("logits", "labels", "weights", "temperature"),
    [
        (np.zeros((0, 3)), [], [], 1.0),
        (HUGE, [1, 1, 1, 1], [0, 0, 0, 0], 1.0),
        # Any temperature gives equal logits the same likelihood.
        (np.full((4, 3), 7.0), [0, 1, 2, 0], [1, 1, 1, 1], 1.0),
        # All right: the likelihood rises for ever as the temperature falls.
        (HUGE, [0, 0, 0, 1], [1, 1, 1, 1], 1.0),
        # All right but for what does not count.
        (HUGE, [0, 0, 0, 0], [1, 1, 1, 0], 1.0),
        # All wrong: no temperature is high enough.
        (HUGE, [1, 1, 1, 0], [1, 1, 1, 1], 20.0),
        # Almost all right by little: no temperature above 0 is low enough, within reason.
        (np.array([[1e-6, 0.0]] * 99 + [[0.0, 1e-9]]), [0] * 100, np.ones(100), 0.05),
    ],
)
def test_what_images_cannot_tell_or_not_within_limits(
    logits: np.ndarray, labels: list[int], weights: Any, temperature: float
) -> None:
    assert fit_temperature(logits, np.array(labels, int), np.array(weights)) == pytest.approx(temperature)


def test_the_likelihood_never_falls() -> None:
    random = np.random.default_rng(2)
    for scale in (1e-3, 1.0, 30.0, 1e5):
        for _ in range(20):
            logits, labels = random.normal(0, scale, (7, 3)), random.integers(0, 3, 7)
            weights = random.exponential(size=7)
            found = fit_temperature(logits.astype(np.float32), labels, weights)
            assert 0.05 * (1 - 1e-9) <= found <= 20 * (1 + 1e-9)
            assert likelihood(logits, labels, weights, found) >= likelihood(logits, labels, weights) - 1e-6
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]), np.ones(1))


def test_example_weights_make_the_prior() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [3])
    # Class 2 does not occur, class 4 neither; class 3 once.
    weights = example_weights(labels, np.array([0.1, 0.2, 0.3, 0.2, 0.2]))
    assert weights.mean() == pytest.approx(1)
    totals = np.bincount(labels, weights, minlength=5) / weights.sum()
    np.testing.assert_allclose(totals, [0.2, 0.4, 0, 0.4, 0])
    assert len(set(weights[:90])) == 1
    # A class that the network was not trained for counts nothing; alone it leaves nothing.
    np.testing.assert_allclose(example_weights(np.array([0, 0, 1]), np.array([1.0, 0.0])), [1.5, 1.5, 0])
    np.testing.assert_allclose(example_weights(np.array([1, 1]), np.array([1.0, 0.0])), [0, 0])
    assert example_weights(np.array([], int), np.array([0.5, 0.5])).shape == (0,)


def test_the_error_counted_by_hand() -> None:
    # Two bins: (0, 0.5] has one image, wrong at 0.5; (0.5, 1] three, two of them right.
    probabilities = np.array([[0.5, 0.5], [0.6, 0.4], [0.3, 0.7], [0.0, 1.0]])
    labels = np.array([1, 0, 1, 0])
    low, high = reliability(probabilities, labels, bins=2)
    assert (low.low, low.high, low.n, low.weight, low.confidence, low.accuracy) == (0, 0.5, 1, 1, 0.5, 0)
    assert (high.low, high.high, high.n, high.weight) == (0.5, 1, 3, 3)
    assert (high.confidence, high.accuracy) == pytest.approx((2.3 / 3, 2 / 3))
    assert expected_calibration_error(probabilities, labels, bins=2) == pytest.approx((0.5 + 0.3) / 4)
    weighted = expected_calibration_error(probabilities, labels, np.array([0.0, 2, 0, 2]), bins=2)
    assert weighted == pytest.approx(abs(0.5 - 0.8))


def test_every_image_is_in_one_bin() -> None:
    edges = np.linspace(0, 1, 16)
    probabilities = np.stack([edges, 1 - edges], axis=1)
    table = reliability(probabilities, np.zeros(16, int))
    assert sum(row.n for row in table) == 16
    for row in table:
        assert (row.confidence is None) == (row.accuracy is None) == (row.n == 0)
        assert row.confidence is None or row.low < row.confidence <= row.high


def test_nothing_has_no_error() -> None:
    for weights in (None, np.zeros(0)):
        assert expected_calibration_error(np.zeros((0, 3)), np.zeros(0, int), weights) is None
    assert expected_calibration_error(np.array([[0.2, 0.8]]), np.array([1]), np.zeros(1)) is None
    assert all(row.n == 0 for row in reliability(np.zeros((0, 3)), np.zeros(0, int)))
