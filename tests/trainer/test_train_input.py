"""Training input is a pure function of (seed, epoch), loses nothing, and normalises as the dataset's graph says."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tiny_dataset import CLASSES, HELD_OUT_COUNT, SIZE

from trainer.dataset import (
    SHUFFLE_BUFFER,
    SHUFFLE_BYTES,
    evaluation_batches,
    padded_batches,
    shuffle_buffer,
    steps_per_epoch,
    train_batches,
)
from trainer.dataset_info import read_dataset_info
from trainer.transform import Preprocessing

BATCH = 32


@pytest.fixture(scope="module")
def info(dataset):
    return read_dataset_info(dataset)


@pytest.fixture(scope="module")
def preprocessing(info):
    return Preprocessing(info)


@pytest.fixture(scope="module")
def epoch_of(info, preprocessing):
    """A whole epoch as arrays, by (seed, epoch, augmented)."""

    def read(seed, epoch, augmented):
        batches = list(train_batches(info, preprocessing, BATCH, seed, epoch, augmented).as_numpy_iterator())
        return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}

    return read


def test_an_epoch_has_every_example_once_and_full_batches(info, epoch_of):
    epoch = epoch_of(0, 0, False)
    assert epoch["image"].shape == (steps_per_epoch(info.split("train"), BATCH), BATCH, SIZE, SIZE, 3)
    assert epoch["image"].dtype == epoch["weight"].dtype == np.float32
    real = epoch["weight"] == 1
    assert real.sum() == info.split("train").examples == 140
    assert (epoch["weight"][~real] == 0).all()
    assert real[:-1].all()
    counts = np.bincount(epoch["label"][real], minlength=len(CLASSES))
    assert counts.tolist() == [info.split("train").per_class[name].examples for name in CLASSES]
    # Each original and its unaugmented copy: 70 different images, twice each.
    _, repeats = np.unique(epoch["image"][real].reshape(140, -1), axis=0, return_counts=True)
    assert repeats.tolist() == [2] * 70


def test_same_seed_and_epoch_same_bytes_otherwise_not(epoch_of):
    first, again = epoch_of(1, 2, True), epoch_of(1, 2, True)
    for name in first:
        assert np.array_equal(first[name], again[name])
    for other in (epoch_of(1, 3, True), epoch_of(2, 2, True)):
        assert not np.array_equal(first["label"], other["label"])
        assert not np.array_equal(first["image"], other["image"])


def test_an_example_is_augmented_alike_wherever_it_stands_in_the_epoch(info, preprocessing):
    def images(batch_size):
        batches = train_batches(info, preprocessing, batch_size, seed=3, epoch=1)
        rows = [batch["image"][batch["weight"] > 0] for batch in batches.as_numpy_iterator()]
        return np.sort(np.concatenate(rows).reshape(140, -1).sum(axis=1))

    np.testing.assert_allclose(images(16), images(35), rtol=1e-5)


def test_train_images_are_normalised(epoch_of):
    epoch = epoch_of(0, 0, False)
    images = epoch["image"][epoch["weight"] == 1]
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), 0, atol=0.02)
    np.testing.assert_allclose(images.std(axis=(0, 1, 2)), 1, atol=0.02)


def test_padded_batches_keep_file_order(info, preprocessing):
    batches = list(padded_batches(info, preprocessing, "validation", 16).as_numpy_iterator())
    assert [batch["image"].shape[0] for batch in batches] == [16, 16]
    labels = np.concatenate([batch["label"][batch["weight"] > 0] for batch in batches])
    stored = np.concatenate([batch["image/class/label"] for batch in evaluation_batches(info, "validation", 7)])
    assert labels.tolist() == stored.tolist()
    assert np.bincount(labels).tolist() == [HELD_OUT_COUNT] * len(CLASSES)


def test_evaluation_batches_say_which_image_it_is(info, preprocessing):
    batches = list(evaluation_batches(info, "test", 8).as_numpy_iterator())
    names = np.concatenate([batch["image/source_id"] for batch in batches])
    assert len(names) == len(set(names)) == 20
    assert {len(value) for batch in batches for value in batch["image/key/sha256"]} == {64}
    image = preprocessing.normalise(tf.constant(batches[0]["image/encoded"]))
    assert image.shape == (8, SIZE, SIZE, 3)


def test_large_examples_wait_in_smaller_number(info):
    train = dataclasses.replace(info.split("train"), examples=10**6)
    assert shuffle_buffer(dataclasses.replace(train, record_bytes=15_000)) == SHUFFLE_BUFFER
    raw = dataclasses.replace(train, record_bytes=98_000)
    assert SHUFFLE_BYTES - 98_000 < shuffle_buffer(raw) * 98_000 <= SHUFFLE_BYTES
    assert shuffle_buffer(info.split("train")) == info.split("train").examples
    assert shuffle_buffer(dataclasses.replace(train, record_bytes=1 << 40)) == 1
