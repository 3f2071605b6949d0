"""Cross-validation: one fold validates, all others train, and nothing of the one is in the other."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from pipelines.common.cli import UsageError
from tests.support.tiny_dataset import CLASSES, deal_into_folds, training
from trainer.data.dataset_info import fold_split, read_dataset_info
from trainer.data.input_pipeline import Batching, evaluation_stream, train_stream
from trainer.data.preprocessing import Preprocessing
from trainer.data.record_reader import RecordReader
from trainer.export.loaded_model import read_model_info

FOLDS = 3


@pytest.fixture(scope="module")
def folded(dataset, tmp_path_factory):
    copy = shutil.copytree(dataset, tmp_path_factory.mktemp("folds") / "dataset")
    deal_into_folds(copy, FOLDS)
    return copy


def source_ids(records: RecordReader) -> list[str]:
    """Of all records in order."""
    positions = tf.data.Dataset.range(records.count).batch(1)
    feature = {"image/source_id": tf.io.FixedLenFeature([], tf.string)}
    parsed = [tf.io.parse_example(record, feature) for record in records.batches(positions, 1)]
    return [row["image/source_id"].numpy()[0].decode() for row in parsed]


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_every_original_validates_in_one_fold_and_trains_in_the_others(folded, cache):
    info = read_dataset_info(folded)
    validated = []
    for fold in range(FOLDS):
        turn = fold_split(info, fold)
        train, validation = (
            source_ids(RecordReader(turn, turn.split(name), cache)) for name in ("train", "validation")
        )
        assert not set(train) & set(validation)
        # The fold's originals once each; the others twice, with their copies.
        assert len(validation) == len(set(validation)) == turn.split("validation").examples
        assert len(train) == 2 * len(set(train)) == turn.split("train").examples
        assert len(set(train)) + len(validation) == 70
        validated += validation
    assert len(set(validated)) == len(validated) == 70


def test_counts_per_class_are_those_of_the_turn(folded):
    info = read_dataset_info(folded)
    turn = fold_split(info, 1)
    for name in CLASSES:
        whole, train, validation = (
            split.per_class[name] for split in (info.split("train"), turn.split("train"), turn.split("validation"))
        )
        assert train.originals + validation.originals == whole.originals
        assert train.examples == 2 * train.originals
        assert validation.examples == validation.originals
    assert turn.split("test") == info.split("test")
    assert turn.fingerprint == info.fingerprint


def test_the_streams_of_a_turn_have_its_images(folded):
    turn = fold_split(read_dataset_info(folded), 2)
    preprocessing = Preprocessing(turn)
    records = RecordReader(turn, turn.split("validation"), "none")
    batch = next(evaluation_stream(records, preprocessing, Batching(32)).as_numpy_iterator())
    counts = np.bincount(batch["label"][batch["weight"] > 0], minlength=len(CLASSES))
    assert counts.tolist() == [turn.split("validation").per_class[name].originals for name in CLASSES]
    train = RecordReader(turn, turn.split("train"), "none")
    first = next(train_stream(train, preprocessing, Batching(16), 0, 0).as_numpy_iterator())
    assert first["weight"].sum() == 16


@pytest.mark.parametrize(("fold", "says"), [(3, "--fold 3: .* has 3 folds; give 0 to 2"), (-1, "--fold -1: .* 0 to 2")])
def test_a_fold_that_is_not_there(folded, fold, says):
    with pytest.raises(UsageError, match=says):
        fold_split(read_dataset_info(folded), fold)


def test_folds_that_are_not_there(dataset):
    with pytest.raises(UsageError, match=r"--fold 0: .* was prepared without folds; prepare it with --folds 5"):
        fold_split(read_dataset_info(dataset), 0)


def test_a_run_on_a_fold_validates_on_it_and_exports_the_last_epoch(command, folded, tmp_path):
    done = command(*training(folded, tmp_path / "run", "--fold=1", "--epochs=2", "--keep=last"))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "run/train.json").read_text())
    history = json.loads((tmp_path / "run/history.json").read_text())
    turn = fold_split(read_dataset_info(folded), 1)
    assert report["validation"]["n"] == turn.split("validation").originals
    assert report["calibration"]["n"] == turn.split("validation").originals
    assert report["epoch"] == 2
    assert read_model_info(tmp_path / "run/model").fold == 1
    assert report["validation"]["balanced_accuracy"] == history[-1]["val_balanced_accuracy"]
