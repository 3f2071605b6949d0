"""dataset.json is read, and every way in which it can be wrong is one clear line."""

from __future__ import annotations

import json
import shutil

import pytest

from pipelines.common.cli import UsageError
from tests.support.tiny_dataset import CLASSES, SIZE
from trainer.data.dataset_info import read_dataset_info


@pytest.fixture
def copy(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "copy")


def test_reads_a_finished_dataset(dataset):
    info = read_dataset_info(dataset)
    assert (info.classes, info.image_size, info.malignant_classes) == (CLASSES, SIZE, ("melanoma",))
    assert [shard.name for shard in info.split("train").shards] == [
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]
    assert (info.split("train").originals, info.split("train").examples) == (70, 140)
    assert info.train_distribution()["nevus"] == 30 / 70
    assert sum(info.train_distribution().values()) == pytest.approx(1)


def change(copy, edit):
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
        (lambda copy: change(copy, lambda d: d.update(schema_version=2)), "schema version 2, this program reads 1"),
        (lambda copy: change(copy, lambda d: d.update(classes=["nevus"])), "at least two"),
        (lambda copy: change(copy, lambda d: d.update(compression="zip")), "damaged (ValueError: compression 'zip')"),
        (lambda copy: (copy / "test-00001-of-00002.tfrecord").unlink(), "test-00001-of-00002.tfrecord is missing"),
        (lambda copy: shutil.rmtree(copy / "transform_fn"), "transform_fn/saved_model.pb is missing"),
    ],
)
def test_names_what_is_wrong(copy, damage, says):
    damage(copy)
    with pytest.raises(UsageError) as error:
        read_dataset_info(copy)
    assert says in str(error.value)
    assert f"--dataset {copy}" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_and_empty_splits(copy):
    with pytest.raises(UsageError, match="no split 'holdout'"):
        read_dataset_info(copy).split("holdout")
    change(copy, lambda document: document["splits"]["test"].update(examples=0))
    with pytest.raises(UsageError, match=r"test split .* is empty"):
        read_dataset_info(copy).split("test")
