"""How many shards a split is written to."""

from __future__ import annotations

from pipelines.imaging import encoding as imaging_encoding
from pipelines.prepare import sharding
from pipelines.prepare.shard_writer import SplitShards


def test_shards_grow_with_the_examples():
    assert sharding.shard_count(10, 180) == 1
    assert sharding.shard_count(100_000, 180) == 97


def test_every_fold_has_the_shards_that_the_largest_needs():
    examples = {("train", 0): 1200, ("train", 1): 900, ("train", 2): 100, ("test", -1): 5}
    assert sharding.plan_shards(examples, 3, 180) == {"train": SplitShards(2, 3), "test": SplitShards(1)}
    assert sharding.plan_shards({("train", -1): 2200, ("validation", -1): 5}, 0, 180) == {
        "train": SplitShards(3),
        "validation": SplitShards(1),
    }


def test_shards_are_counted_by_encoding_and_size():
    examples = {("train", -1): 2200}
    counts = {name: sharding.plan_shards(examples, 0, 180, name)["train"] for name in imaging_encoding.ENCODINGS}
    # 36, 114 and 214 MB in shards of 16 MiB.
    assert counts == {"jpeg": SplitShards(3), "png": SplitShards(7), "raw": SplitShards(13)}
    assert sharding.plan_shards(examples, 0, 180, "raw", 1024) == {"train": SplitShards(1)}
    assert sharding.plan_shards(examples, 0, 180, "raw", 1) == {"train": SplitShards(204)}
