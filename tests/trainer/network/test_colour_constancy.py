"""Shades of grey: the light's tint is gone, its strength and everything else stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import Command
from tests.support.tiny_dataset import draw, training
from trainer.network.colour_constancy import ShadesOfGrey

MEAN, STD = (190.0, 140.0, 145.0), (35.0, 40.0, 45.0)


def normalised(pixels: np.ndarray) -> np.ndarray:
    return ((pixels - np.array(MEAN)) / np.array(STD)).astype(np.float32)


def corrected(pixels: np.ndarray) -> np.ndarray:
    """Levels of 0 to 255 in, the same out."""
    return ShadesOfGrey(MEAN, STD)(normalised(pixels)).numpy() * np.array(STD) + np.array(MEAN)


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.random.default_rng(0).uniform(20, 200, [3, 8, 8, 3])


def test_it_is_the_published_formula(photographs: np.ndarray) -> None:
    light = (photographs**6).mean(axis=(1, 2), keepdims=True) ** (1 / 6)
    expected = photographs * light.mean(axis=-1, keepdims=True) / light
    np.testing.assert_allclose(corrected(photographs), expected, rtol=1e-4)


def test_the_tint_of_the_light_makes_no_difference(photographs: np.ndarray) -> None:
    neutral, tinted = corrected(photographs), corrected(photographs * np.array([1.2, 1.0, 0.7]))
    # Up to the strength of the light, which is that of the tinted photograph.
    strength = tinted.mean(axis=(1, 2, 3)) / neutral.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(tinted, neutral * strength[:, None, None, None], rtol=1e-4)


def test_every_image_has_its_own_light(photographs: np.ndarray) -> None:
    alone = np.concatenate([corrected(photographs[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(corrected(photographs), alone, rtol=1e-5)


def test_grey_stays_grey_and_black_stays_black() -> None:
    grey = np.full([1, 4, 4, 3], 120.0)
    np.testing.assert_allclose(corrected(grey), grey, rtol=1e-4)
    np.testing.assert_allclose(corrected(np.zeros([1, 4, 4, 3])), 0.0, atol=1e-4)


def test_darker_than_black_is_black() -> None:
    dark = np.full([1, 4, 4, 3], 100.0)
    dark[0, 0, 0] = -80.0
    assert corrected(dark)[0, 0, 0] == pytest.approx([0.0, 0.0, 0.0], abs=1e-3)


@pytest.mark.proof
def test_the_exported_network_does_not_see_the_tint(command: Command, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = command(*training(dataset, run, "--epochs=1", "--colour_constancy"))
    assert done.returncode == 0, done.stderr
    network = json.loads((run / "model/assets/model.json").read_text())["network"]
    assert network["colour_constancy"] is True
    photograph = draw(1, 1000).astype(np.float64)
    tinted = photograph * np.array([0.9, 0.8, 1.0])
    # The same strength of light as before, so that only its tint differs.
    strengths = [(image**6).mean(axis=(0, 1)) ** (1 / 6) for image in (photograph, tinted)]
    tinted *= strengths[0].mean() / strengths[1].mean()
    mean, std = np.array(network["pixel_mean"]), np.array(network["pixel_std"])
    pixels = ((np.stack([photograph, tinted]) - mean) / std).astype(np.float32)
    classify = tf.saved_model.load(str(run / "model")).signatures["classify"]
    first, second = classify(image=tf.constant(pixels))["probabilities"].numpy()
    np.testing.assert_allclose(first, second, rtol=1e-3)
