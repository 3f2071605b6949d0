"""Pairs of training images: what is mixed, how much of each, and that it depends on the images alone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import kstest

from trainer.data.mixup import make_mixer, unmixed

COUNT, SIZE = 2000, 8


@pytest.fixture(scope="module")
def batch() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images that are all of one value each, so that a pixel says whose it is."""
    values = np.arange(COUNT, dtype=np.float32)
    images = np.broadcast_to(values[:, None, None, None], (COUNT, SIZE, SIZE, 3))
    return tf.constant(images), tf.range(COUNT, dtype=tf.int64), tf.constant([f"key {index}" for index in range(COUNT)])


def partners() -> np.ndarray:
    return np.arange(COUNT) ^ 1


def test_mixup_is_the_mean_that_its_shares_say(batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> None:
    mixed = make_mixer("mixup", 0.4)(*batch)
    share = mixed["share"].numpy()
    assert np.array_equal(mixed["partner"], partners())
    assert np.array_equal(mixed["label"], np.arange(COUNT))
    expected = np.arange(COUNT) * share + partners() * (1 - share)
    np.testing.assert_allclose(mixed["image"][:, 3, 4, 1], expected, rtol=1e-5)


def test_mixup_shares_are_those_of_the_larger_part_of_a_beta_distribution(
    batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
) -> None:
    share = make_mixer("mixup", 0.4)(*batch)["share"].numpy()
    drawn = np.random.default_rng(0).beta(0.4, 0.4, 100_000)
    assert share.min() >= 0.5
    assert kstest(share, np.maximum(drawn, 1 - drawn)).statistic < 0.04


def test_cutmix_pastes_one_rectangle_and_counts_its_pixels(batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> None:
    mixed = make_mixer("cutmix", 1.0)(*batch)
    image = mixed["image"].numpy()[..., 0]
    own = image == np.arange(COUNT)[:, None, None]
    assert (own | (image == partners()[:, None, None])).all()
    np.testing.assert_allclose(mixed["share"], own.mean(axis=(1, 2)), atol=1e-6)
    pasted = ~own
    # As many rows times columns with pasted pixels as pasted pixels: a rectangle.
    assert np.array_equal(pasted.any(axis=2).sum(axis=1) * pasted.any(axis=1).sum(axis=1), pasted.sum(axis=(1, 2)))
    assert 0.2 < pasted.any(axis=(1, 2)).mean() <= 1


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_pair_is_mixed_alike_wherever_it_stands(batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor], kind: str) -> None:
    images, labels, keys = batch
    mixer = make_mixer(kind, 0.4)
    whole, part = mixer(images, labels, keys), mixer(images[10:14], labels[10:14], keys[10:14])
    for name, values in part.items():
        assert np.array_equal(values, whole[name][10:14])


def test_unmixed_images_are_wholly_their_own(batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> None:
    rows = unmixed(*batch)
    assert np.array_equal(rows["partner"], rows["label"])
    assert (rows["share"].numpy() == 1).all()
    assert make_mixer("none", 0.4) is unmixed
