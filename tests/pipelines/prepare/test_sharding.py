"""How many shards a split is written to."""

from __future__ import annotations

from dataclasses import replace

from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging.forms import ENCODINGS
from pipelines.prepare import sharding
from pipelines.prepare.shard_writer import SplitShards

SPEC = RecordSpec(("melanoma", "nevus"), image_size=180)


def test_shards_grow_with_the_examples() -> None:
    assert sharding.shard_count(10, SPEC) == 1
    assert sharding.shard_count(100_000, SPEC) == 103


def test_small_images_count_with_what_their_records_have_besides() -> None:
    # 3 KB each, of which 1 KB is tables, ids and labels.
    assert sharding.shard_count(100_000, replace(SPEC, image_size=64)) == 19


def test_every_fold_has_the_shards_that_the_largest_needs() -> None:
    examples = {("train", 0): 1200, ("train", 1): 900, ("train", 2): 100, ("test", -1): 5}
    assert sharding.plan_shards(examples, SPEC, 3) == {"train": SplitShards(2, 3), "test": SplitShards(1)}
    assert sharding.plan_shards({("train", -1): 2200, ("validation", -1): 5}, SPEC, 0) == {
        "train": SplitShards(3),
        "validation": SplitShards(1),
    }


def test_shards_are_counted_by_encoding_and_size() -> None:
    examples = {("train", -1): 2200}
    specs = {name: replace(SPEC, encoding=name) for name in ENCODINGS}
    counts = {name: sharding.plan_shards(examples, spec, 0)["train"] for name, spec in specs.items()}
    # 38, 116 and 216 MB in shards of 16 MiB.
    assert counts == {"jpeg": SplitShards(3), "png": SplitShards(7), "raw": SplitShards(13)}
    assert sharding.plan_shards(examples, specs["raw"], 0, 1024) == {"train": SplitShards(1)}
    assert sharding.plan_shards(examples, specs["raw"], 0, 1) == {"train": SplitShards(207)}
