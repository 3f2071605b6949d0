"""Training input is a pure function of (seed, step), loses nothing, and normalises as the dataset's graph says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.support.tiny_dataset import CLASSES, HELD_OUT_COUNT, SIZE
from trainer.data.dataset_info import DatasetInfo, fold_split, read_dataset_info
from trainer.data.input_pipeline import (
    Batching,
    evaluation_batches,
    evaluation_stream,
    steps_per_epoch,
    train_stream,
)
from trainer.data.preprocessing import Preprocessing
from trainer.data.record_reader import RecordReader

BATCH = 32
# The arrays of a batch by name.
Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def info(dataset: Path) -> DatasetInfo:
    return read_dataset_info(dataset)


@pytest.fixture(scope="module")
def preprocessing(info: DatasetInfo) -> Preprocessing:
    return Preprocessing(info)


@pytest.fixture(scope="module")
def records(info: DatasetInfo) -> RecordReader:
    return RecordReader(info, info.split("train"), "none")


def train_epoch(
    records: RecordReader, preprocessing: Preprocessing, batch_size: int, seed: int, epoch: int, augmented: bool = True
) -> Any:
    """One epoch of the train split, for a single replica."""
    steps = -(-records.count // batch_size)
    stream = train_stream(records, preprocessing, Batching(batch_size), seed, epoch * steps, augmented)
    return stream.take(steps).as_numpy_iterator()


@pytest.fixture(scope="module")
def epoch_of(records: RecordReader, preprocessing: Preprocessing) -> Callable[[int, int, bool], Batch]:
    """A whole epoch as arrays, by (seed, epoch, augmented)."""

    def read(seed: int, epoch: int, augmented: bool) -> Batch:
        batches = list(train_epoch(records, preprocessing, BATCH, seed, epoch, augmented))
        return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}

    return read


@pytest.fixture(scope="module")
def steps_of(records: RecordReader, preprocessing: Preprocessing) -> Callable[..., Iterator[Batch]]:
    """Some global batches in a row, put together from the parts of all replicas in order."""

    def read(batching: Batching, first_step: int = 0, steps: int = 6) -> Iterator[Batch]:
        readers = [
            train_stream(records, preprocessing, dataclasses.replace(batching, first=first), 5, first_step)
            .take(steps * batching.local)
            .as_numpy_iterator()
            for first in range(0, batching.replicas, batching.local)
        ]
        for _ in range(steps):
            parts = [next(reader) for reader in readers for _ in range(batching.local)]
            yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return read


def test_an_epoch_has_every_example_once_and_full_batches(
    info: DatasetInfo, epoch_of: Callable[[int, int, bool], Batch]
) -> None:
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


def test_same_seed_and_epoch_same_bytes_otherwise_not(epoch_of: Callable[[int, int, bool], Batch]) -> None:
    first, again = epoch_of(1, 2, True), epoch_of(1, 2, True)
    for name in first:
        assert np.array_equal(first[name], again[name])
    for other in (epoch_of(1, 3, True), epoch_of(2, 2, True)):
        assert not np.array_equal(first["label"], other["label"])
        assert not np.array_equal(first["image"], other["image"])


def test_an_example_is_augmented_alike_wherever_it_stands_in_the_epoch(
    records: RecordReader, preprocessing: Preprocessing
) -> None:
    def images(batch_size: int) -> np.ndarray:
        batches = train_epoch(records, preprocessing, batch_size, seed=3, epoch=1)
        rows = [batch["image"][batch["weight"] > 0] for batch in batches]
        return np.sort(np.concatenate(rows).reshape(140, -1).sum(axis=1))

    np.testing.assert_allclose(images(16), images(35), rtol=1e-5)


def test_train_images_are_normalised(epoch_of: Callable[[int, int, bool], Batch]) -> None:
    epoch = epoch_of(0, 0, False)
    images = epoch["image"][epoch["weight"] == 1]
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), 0, atol=0.02)
    np.testing.assert_allclose(images.std(axis=(0, 1, 2)), 1, atol=0.02)


@pytest.mark.parametrize(("replicas", "local"), [(2, 1), (4, 2), (4, 4)])
def test_the_readers_of_a_step_have_its_batch_between_them(
    steps_of: Callable[..., Iterator[Batch]], replicas: int, local: int
) -> None:
    # Five steps an epoch, so these are of two.
    for whole, divided in zip(
        steps_of(Batching(BATCH)), steps_of(Batching(BATCH, replicas=replicas, local=local)), strict=True
    ):
        assert np.array_equal(whole["label"], divided["label"])
        assert np.array_equal(whole["weight"], divided["weight"])
        np.testing.assert_allclose(whole["image"], divided["image"], atol=1e-5)


def test_the_parts_of_a_step_are_the_same_rows_for_any_number_of_replicas(
    steps_of: Callable[..., Iterator[Batch]],
) -> None:
    (whole,), (divided,) = (list(steps_of(Batching(BATCH, 2, replicas), steps=1)) for replicas in (1, 2))
    # Two parts on two replicas: part 0 is the first half of each replica's rows.
    halves = divided["label"].reshape(2, 2, BATCH // 4)
    assert np.array_equal(whole["label"], halves.swapaxes(0, 1).ravel())


def test_input_goes_on_in_the_middle_of_an_epoch(steps_of: Callable[..., Iterator[Batch]]) -> None:
    whole = list(steps_of(Batching(BATCH), 0, 8))
    for first in (3, 5, 7):
        for one, other in zip(whole[first:], steps_of(Batching(BATCH), first, 8 - first), strict=True):
            for name in one:
                assert np.array_equal(one[name], other[name])


def test_validation_keeps_file_order_pass_after_pass(info: DatasetInfo, preprocessing: Preprocessing) -> None:
    records = RecordReader(info, info.split("validation"), "none")
    batches = list(evaluation_stream(records, preprocessing, Batching(16)).take(4).as_numpy_iterator())
    assert [batch["image"].shape[0] for batch in batches] == [16] * 4
    stored = np.concatenate([batch["image/class/label"] for batch in evaluation_batches(info, "validation", 7)])
    for once in (batches[:2], batches[2:]):
        labels = np.concatenate([batch["label"][batch["weight"] > 0] for batch in once])
        assert labels.tolist() == stored.tolist()
        assert np.bincount(labels).tolist() == [HELD_OUT_COUNT] * len(CLASSES)


def test_evaluation_batches_say_which_image_it_is(info: DatasetInfo, preprocessing: Preprocessing) -> None:
    batches = list(evaluation_batches(info, "test", 8).as_numpy_iterator())
    names = np.concatenate([batch["image/source_id"] for batch in batches])
    assert len(names) == len(set(names)) == 20
    assert {len(value) for batch in batches for value in batch["image/key/sha256"]} == {64}
    image = preprocessing.normalise(tf.constant(batches[0]["image/encoded"]))
    assert image.shape == (8, SIZE, SIZE, 3)


def test_the_streams_of_a_fold_have_its_images(folded: Path) -> None:
    of_fold = fold_split(read_dataset_info(folded), 2)
    preprocessing = Preprocessing(of_fold)
    records = RecordReader(of_fold, of_fold.split("validation"), "none")
    batch = next(evaluation_stream(records, preprocessing, Batching(32)).as_numpy_iterator())
    counts = np.bincount(batch["label"][batch["weight"] > 0], minlength=len(CLASSES))
    assert counts.tolist() == [of_fold.split("validation").per_class[name].originals for name in CLASSES]
    train = RecordReader(of_fold, of_fold.split("train"), "none")
    first = next(train_stream(train, preprocessing, Batching(16), 0, 0).as_numpy_iterator())
    assert first["weight"].sum() == 16
