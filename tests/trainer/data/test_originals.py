"""The originals of a split: copies are left out, and a split that is not whole is noticed."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from pipelines.common.cli import UsageError
from trainer.data.dataset_info import DatasetInfo, read_dataset_info
from trainer.data.originals import map_originals, read_originals


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


def test_two_batches_at_once_come_back_in_file_order_with_their_own_results(dataset: Path) -> None:
    info = read_dataset_info(dataset)
    together = threading.Barrier(2, timeout=60)

    def sizes(encoded: np.ndarray) -> list[int]:
        together.wait()  # Nobody passes before a second batch is under way.
        return [len(image) for image in encoded]

    found = list(map_originals(info, "test", 5, sizes))
    assert len(found) == 4
    assert [name.decode() for batch, _ in found for name in batch["image/source_id"]] == ids(info, "test", 5)
    assert all(result == [len(image) for image in batch["image/encoded"]] for batch, result in found)


def test_a_failure_in_one_batch_reaches_the_caller(dataset: Path) -> None:
    def fail(encoded: np.ndarray) -> None:
        raise ValueError(f"{len(encoded)} images")

    with pytest.raises(ValueError, match="5 images"):
        list(map_originals(read_dataset_info(dataset), "test", 5, fail))
