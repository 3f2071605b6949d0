"""Copies are functions of (seed, image id, copy), differ from one another and stay recognisable."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.imaging.augment import augment
from tests.support.image_files import photograph


def test_same_draws_same_copy_whatever_was_drawn_before() -> None:
    pixels = photograph(64, 64)
    first = augment(pixels, 7, "image", 3)
    augment(photograph(64, 64, seed=1), 7, "other", 1)
    assert np.array_equal(augment(pixels, 7, "image", 3), first)


def test_seed_image_and_copy_each_matter() -> None:
    pixels = photograph(64, 64)
    copies = [augment(pixels, *key) for key in [(7, "image", 1), (7, "image", 2), (8, "image", 1), (7, "imagf", 1)]]
    for index, one in enumerate(copies):
        assert one.shape == (64, 64, 3)
        assert one.dtype == np.uint8
        assert all(not np.array_equal(one, other) for other in [pixels, *copies[:index]])


def test_no_black_corners_and_similar_colour() -> None:
    bright = np.full((60, 60, 3), 180, np.uint8)
    for copy in range(1, 40):
        shown = augment(bright, 0, "flat", copy)
        assert shown.min() > 110
        assert np.ptp(shown.reshape(-1, 3), axis=0).max() == 0


def test_tiny_images_are_augmented_too() -> None:
    assert augment(photograph(8, 8), 0, "tiny", 1).shape == (8, 8, 3)


def test_original_is_not_augmented() -> None:
    with pytest.raises(ValueError, match="original"):
        augment(photograph(8, 8), 0, "image", 0)
