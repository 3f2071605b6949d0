"""The originals of a split: copies are left out, and a split that is not whole is noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.common.cli import UsageError
from trainer.data.dataset_info import DatasetInfo, read_dataset_info
from trainer.data.originals import read_originals


def ids(info: DatasetInfo, split: str, batch_size: int) -> list[str]:
    return [name.decode() for batch in read_originals(info, split, batch_size) for name in batch["image/source_id"]]


def test_copies_are_left_out_and_the_order_is_that_of_the_files(dataset: Path) -> None:
    info = read_dataset_info(dataset)
    found = ids(info, "train", 16)
    assert len(found) == len(set(found)) == info.split("train").originals == 70
    assert found == ids(info, "train", 3)
    for batch in read_originals(info, "train", 16):
        assert np.all(batch["image/augmentation/copy"] == 0)


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(dataset, tmp_path / "copy")


def test_a_damaged_shard_is_one_line(copy: Path) -> None:
    shard = copy / "test-00000-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(UsageError, match=r"the test split cannot be read .*; prepare it again") as error:
        ids(read_dataset_info(copy), "test", 8)
    assert f"--dataset {copy}: " in str(error.value)
    assert "\n" not in str(error.value)


def test_another_number_of_originals_than_stated_is_noticed(copy: Path) -> None:
    document = json.loads((copy / "dataset.json").read_text())
    document["splits"]["test"]["originals"] += 1
    (copy / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"the test split holds 20 originals, dataset.json says 21; prepare it again"):
        ids(read_dataset_info(copy), "test", 8)
