"""Shards: their records, names and order do not depend on the order of rows."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from PIL import Image

from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.record_spec import RecordSpec
from pipelines.prepare.shard_writer import SplitShards, WriteShards
from tests.support.collecting import run_with
from tests.support.image_rows import shuffled


class _Shards(beam.PTransform):
    def __init__(self, folder: Path):
        super().__init__()
        self._folder = str(folder)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        return (inputs | WriteShards(self._folder, RecordSpec(("melanoma", "nevus"), 16), threads=2)).shards


def photographs(folder: Path) -> list[ImageRow]:
    """Planned rows of three folds and a test split, one small picture each; some with copies."""
    rows = []
    for n in range(30):
        data = io.BytesIO()
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 16, 3), np.uint8)).save(data, "png")
        (folder / f"{n}.png").write_bytes(data.getvalue())
        known: dict[str, Any] = {
            "path": f"{folder}/{n}.png",
            "relative": f"{n}.png",
            "label": ("melanoma", "nevus")[n % 2],
        }
        placed: dict[str, Any] = {"split": "test"} if n < 6 else {"split": "train", "fold": n % 3}
        sha256 = hashlib.sha256(data.getvalue()).hexdigest()
        rows.append(ImageRow(**known, **placed, sha256=sha256, copies=1 if n < 20 else 2))
    return rows


def test_shards_hold_one_fold_each_in_the_order_of_folds(tmp_path: Path) -> None:
    import tensorflow as tf

    rows = photographs(tmp_path)
    expected = Counter({one.sha256: one.copies for one in rows})
    folds = {one.sha256: one.fold for one in rows}
    shards = {}
    for name, order in (("one", rows), ("two", shuffled(rows))):
        written = run_with(order, [{"train": SplitShards(2, 3), "test": SplitShards(1)}], _Shards(tmp_path / name))
        shards[name] = {shard.name: shard for shard in written}
    assert shards["one"] == shards["two"]
    assert [(name, shard.fold) for name, shard in sorted(shards["one"].items())] == [
        ("test-00000-of-00001.tfrecord", -1),
        *((f"train-{index:05d}-of-00006.tfrecord", index // 2) for index in range(6)),
    ]
    read: Counter = Counter()
    for name, shard in shards["one"].items():
        path = tmp_path / "one" / name
        assert path.read_bytes() == (tmp_path / "two" / name).read_bytes()
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            sha256 = features["image/key/sha256"].bytes_list.value[0].decode()
            assert features["image/fold"].int64_list.value == [folds[sha256]] == [shard.fold]
            read[sha256] += 1
    assert read == expected
