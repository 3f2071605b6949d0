"""Predictions of a split's originals: ids and labels in file order, and the table that holds them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.simulated_predictions import CLASSES
from tests.support.tiny_dataset import CLASSES as TINY_CLASSES
from tests.support.tiny_dataset import HELD_OUT_COUNT
from trainer.data.dataset_info import DatasetInfo, read_dataset_info
from trainer.evaluate.predictions import Predictions, read_images, read_truth, write_predictions
from trainer.metrics.metrics import UNDECIDED


@pytest.fixture(scope="module")
def info(dataset: Path) -> DatasetInfo:
    return read_dataset_info(dataset)


def test_truth_is_that_of_the_originals_whatever_the_size_of_a_batch(info: DatasetInfo) -> None:
    truth = read_truth(info, "train", 7)
    assert len(truth.source_id) == len(set(truth.source_id)) == info.split("train").originals
    assert np.bincount(truth.labels).tolist() == [
        info.split("train").per_class[name].originals for name in TINY_CLASSES
    ]
    assert all(name.startswith(f"train-{label}-") for name, label in zip(truth.source_id, truth.labels, strict=True))
    assert truth.group_id == truth.source_id
    again = read_truth(info, "train", 64)
    assert (again.source_id, again.labels.tolist()) == (truth.source_id, truth.labels.tolist())


def test_only_wanted_images_are_read(info: DatasetInfo) -> None:
    truth = read_truth(info, "test", 8)
    assert len(truth.sha256) == HELD_OUT_COUNT * len(TINY_CLASSES)
    images = read_images(info, "test", {truth.sha256[3], "not there"}, 8)
    assert images.keys() == {truth.sha256[3]}
    assert images[truth.sha256[3]].startswith(b"\xff\xd8")


def test_the_table_has_a_row_for_each_image_and_a_column_for_each_class(
    predictions: Predictions, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.parquet"
    predicted = predictions.probabilities.argmax(axis=1)
    predicted[2] = UNDECIDED
    write_predictions(predictions, predicted, CLASSES, "", path)
    table = pq.read_table(path)
    assert table["source_id"].to_pylist() == predictions.truth.source_id
    assert table["label"].to_pylist() == predictions.truth.labels.tolist()
    assert table["class"].to_pylist() == [CLASSES[label] for label in predictions.truth.labels]
    assert table["top_class"].to_pylist()[:3] == [CLASSES[predicted[0]], CLASSES[predicted[1]], None]
    for index, name in enumerate(("basal_cell_carcinoma", "melanoma", "nevus")):
        assert np.array_equal(table[f"probability_{name}"].to_numpy(), predictions.probabilities[:, index])


def test_the_same_predictions_give_the_same_bytes(predictions: Predictions, tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_predictions(
            dataclasses.replace(predictions), predictions.probabilities.argmax(axis=1), CLASSES, "m", tmp_path / name
        )
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
