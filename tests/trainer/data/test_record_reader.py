"""Records are read at any position, from wherever they are kept, and damage is named."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from pipelines.common.cli import UsageError
from trainer.data.dataset_info import DatasetInfo, read_dataset_info
from trainer.data.record_reader import RecordReader


@pytest.fixture(scope="module")
def info(dataset: Path) -> DatasetInfo:
    return read_dataset_info(dataset)


def stored_records(info: DatasetInfo, split: str = "train") -> list[bytes]:
    paths = [str(path) for path in info.paths(info.split(split))]
    compression = "GZIP" if info.compression == "gzip" else ""
    return [record.numpy() for record in tf.data.TFRecordDataset(paths, compression_type=compression)]


def read_at(records: RecordReader, positions: list[int]) -> tf.Tensor:
    return next(iter(records.batches(tf.data.Dataset.from_tensors(tf.constant(positions, tf.int64)), len(positions))))


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("cache", ["none", "memory", "directory"])
def test_records_are_read_at_any_position(info: DatasetInfo, tmp_path: Path, compression: str, cache: str) -> None:
    if compression == "gzip":
        folder = tmp_path / "zipped"
        shutil.copytree(info.path, folder)
        for path in folder.glob("*.tfrecord"):
            path.write_bytes(gzip.compress(path.read_bytes()))
        info = dataclasses.replace(read_dataset_info(folder), compression="gzip", fingerprint="zipped")
    where = str(tmp_path / "cache") if cache == "directory" else cache
    expected = stored_records(info)
    positions = [139, 0, 70, 70, 5, 138, 1]
    for _ in range(2):
        found = read_at(RecordReader(info, info.split("train"), where), positions).numpy().tolist()
        assert found == [expected[position] for position in positions]
    copies = sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert copies == ([shard.name for shard in info.split("train").shards] if cache == "directory" else [])


def damaged(info: DatasetInfo, tmp_path: Path, change: Callable[[bytes], bytes]) -> DatasetInfo:
    """The dataset with the first training shard changed."""
    folder = tmp_path / "damaged"
    shutil.copytree(info.path, folder)
    again = read_dataset_info(folder)
    shard = again.paths(again.split("train"))[0]
    shard.write_bytes(change(shard.read_bytes()))
    return again


def test_a_shard_that_ends_early_is_named(info: DatasetInfo, tmp_path: Path) -> None:
    again = damaged(info, tmp_path, lambda data: data[:-10])
    with pytest.raises(UsageError, match=r"train-00000-of-00002.tfrecord is damaged: it ends in the middle"):
        RecordReader(again, again.split("train"), "none")


def test_a_missing_record_is_noticed(info: DatasetInfo, tmp_path: Path) -> None:
    first = int.from_bytes(info.paths(info.split("train"))[0].read_bytes()[:8], "little") + 16
    again = damaged(info, tmp_path, lambda data: data[first:])
    with pytest.raises(UsageError, match=r"the train split holds 139 examples, dataset.json says 140"):
        RecordReader(again, again.split("train"), "none")


def test_a_changed_byte_is_noticed(info: DatasetInfo, tmp_path: Path) -> None:
    again = damaged(info, tmp_path, lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:])
    records = RecordReader(again, again.split("train"), "none")
    with pytest.raises(tf.errors.DataLossError):
        read_at(records, [0])


def test_a_cache_that_cannot_be_written_is_named(info: DatasetInfo) -> None:
    with pytest.raises(UsageError, match=r"--cache /dev/null/cache: cannot keep a copy"):
        RecordReader(info, info.split("train"), "/dev/null/cache")
