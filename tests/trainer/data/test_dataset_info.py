"""dataset.json is read, and its folds; every way in which it can be wrong is one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from pipelines.common.cli import UsageError
from tests.support.tiny_dataset import CLASSES, SIZE
from tests.support.training_fixtures import FOLDS
from trainer.data.dataset_info import fold_split, read_dataset_info, require_unchanged
from trainer.data.record_reader import RecordReader


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(dataset, tmp_path / "copy")


def test_a_finished_dataset_is_read_with_classes_shards_and_counts(dataset: Path) -> None:
    info = read_dataset_info(dataset)
    assert (info.classes, info.image_size, info.malignant_classes) == (CLASSES, SIZE, ("melanoma",))
    assert [shard.name for shard in info.split("train").shards] == [
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]
    assert (info.split("train").originals, info.split("train").examples) == (70, 140)
    assert info.train_distribution()["nevus"] == 30 / 70
    assert sum(info.train_distribution().values()) == pytest.approx(1)


def test_a_dataset_that_was_replaced_since_it_was_read_is_one_line(copy: Path) -> None:
    info = read_dataset_info(copy)
    require_unchanged(info)
    for replace in (
        lambda: change(copy, lambda document: document.update(fingerprint="another")),
        (copy / "dataset.json").unlink,
    ):
        replace()
        with pytest.raises(UsageError, match=r"--dataset .*: was replaced while it was read; train on it anew"):
            require_unchanged(info)


def change(copy: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((copy / "dataset.json").read_text())
    edit(document)
    (copy / "dataset.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (shutil.rmtree, "no such directory"),
        (lambda copy: (copy / "dataset.json").unlink(), "not a finished dataset"),
        (lambda copy: (copy / "dataset.json").write_text("{"), "dataset.json is damaged"),
        (lambda copy: change(copy, lambda d: d.pop("classes")), "damaged (KeyError: 'classes')"),
        (lambda copy: change(copy, lambda d: d.update(schema_version=3)), "schema version 3, this program reads 2"),
        (lambda copy: change(copy, lambda d: d.update(classes=["nevus"])), "at least two"),
        (lambda copy: change(copy, lambda d: d.update(compression="zip")), "damaged (ValueError: compression 'zip')"),
        (lambda copy: (copy / "test-00001-of-00002.tfrecord").unlink(), "test-00001-of-00002.tfrecord is missing"),
        (lambda copy: shutil.rmtree(copy / "transform_fn"), "transform_fn/saved_model.pb is missing"),
    ],
)
def test_a_dataset_that_is_not_whole_is_refused_in_one_line_that_says_why(
    copy: Path, damage: Callable[..., Any], says: str
) -> None:
    damage(copy)
    with pytest.raises(UsageError) as error:
        read_dataset_info(copy)
    assert says in str(error.value)
    assert f"--dataset {copy}" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_and_empty_splits_are_refused(copy: Path) -> None:
    with pytest.raises(UsageError, match="no split 'holdout'"):
        read_dataset_info(copy).split("holdout")
    change(copy, lambda document: document["splits"]["test"].update(examples=0))
    with pytest.raises(UsageError, match=r"test split .* is empty"):
        read_dataset_info(copy).split("test")


def source_ids(records: RecordReader) -> list[str]:
    """Of all records in order."""
    positions = tf.data.Dataset.range(records.count).batch(1)
    feature = {"image/source_id": tf.io.FixedLenFeature([], tf.string)}
    parsed = [tf.io.parse_example(record, feature) for record in records.batches(positions, 1)]
    return [row["image/source_id"].numpy()[0].decode() for row in parsed]


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_every_original_validates_in_one_fold_and_trains_in_the_others(folded: Path, cache: str) -> None:
    info = read_dataset_info(folded)
    validated = []
    for fold in range(FOLDS):
        of_fold = fold_split(info, fold)
        train, validation = (
            source_ids(RecordReader(of_fold, of_fold.split(name), cache)) for name in ("train", "validation")
        )
        assert not set(train) & set(validation)
        # The fold's originals once each; the others twice, with their copies.
        assert len(validation) == len(set(validation)) == of_fold.split("validation").examples
        assert len(train) == 2 * len(set(train)) == of_fold.split("train").examples
        assert len(set(train)) + len(validation) == 70
        validated += validation
    assert len(set(validated)) == len(validated) == 70


def test_counts_per_class_are_those_of_the_fold(folded: Path) -> None:
    info = read_dataset_info(folded)
    of_fold = fold_split(info, 1)
    for name in CLASSES:
        whole, train, validation = (
            split.per_class[name]
            for split in (info.split("train"), of_fold.split("train"), of_fold.split("validation"))
        )
        assert train.originals + validation.originals == whole.originals
        assert train.examples == 2 * train.originals
        assert validation.examples == validation.originals
    assert of_fold.split("test") == info.split("test")
    assert of_fold.fingerprint == info.fingerprint


@pytest.mark.parametrize(("fold", "says"), [(3, "--fold 3: .* has 3 folds; give 0 to 2"), (-1, "--fold -1: .* 0 to 2")])
def test_a_fold_that_is_not_there_is_refused(folded: Path, fold: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        fold_split(read_dataset_info(folded), fold)


def test_a_fold_of_a_dataset_without_folds_is_refused(dataset: Path) -> None:
    with pytest.raises(UsageError, match=r"--fold 0: .* was prepared without folds; prepare it with --folds 5"):
        fold_split(read_dataset_info(dataset), 0)
