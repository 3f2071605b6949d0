"""The dataset's graphs as functions: what is stored, and the pixels that a network sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.support.tiny_dataset import SIZE, TRAIN_COUNTS, draw, jpeg
from trainer.data.dataset_info import read_dataset_info
from trainer.data.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def preprocessing(dataset: Path) -> Preprocessing:
    return Preprocessing(read_dataset_info(dataset))


def test_pixel_statistics_are_those_of_the_dataset(dataset: Path) -> None:
    images = np.stack([draw(label, index) for label, count in enumerate(TRAIN_COUNTS) for index in range(count)])
    mean, std = Preprocessing(read_dataset_info(dataset)).pixel_statistics()
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2), dtype=float), rtol=1e-4)
    np.testing.assert_allclose(std, images.std(axis=(0, 1, 2), dtype=float), rtol=1e-4)


def test_an_image_is_stored_in_the_size_of_the_dataset(preprocessing: Preprocessing) -> None:
    stored = preprocessing.standardize(tf.constant(jpeg(draw(1, 7, size=57))))
    assert tf.io.decode_jpeg(stored).shape == (SIZE, SIZE, 3)


def test_what_is_no_image_is_refused(preprocessing: Preprocessing) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocessing.standardize(tf.constant(b"no image"))


def test_pixels_are_normalised_by_the_mean_and_deviation_of_each_channel(preprocessing: Preprocessing) -> None:
    photographs = [jpeg(draw(label, 5)) for label in range(3)]
    mean, std = preprocessing.pixel_statistics()
    levels = np.stack([tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE") for data in photographs]).astype(float)
    found = preprocessing.normalise(tf.constant(photographs)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (levels - mean) / std, atol=1e-3)


def test_pixels_do_not_depend_on_the_other_images_of_a_batch(preprocessing: Preprocessing) -> None:
    photographs = [jpeg(draw(label, 6)) for label in range(3)]
    together = preprocessing.normalise(tf.constant(photographs)).numpy()
    alone = np.concatenate([preprocessing.normalise(tf.constant([data])).numpy() for data in photographs])
    assert np.array_equal(together, alone)
