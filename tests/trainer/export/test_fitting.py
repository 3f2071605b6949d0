"""What a trained network's validation logits say of its temperature and its thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from trainer.export.calibration import expected_calibration_error, tempered
from trainer.export.fitting import fit_outputs

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
