"""dataset.json as every reader understands it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.common.cli import UsageError
from pipelines.domain.dataset_json import ClassCount, Fold, Shard, parse_description
from tests.support.documents import dataset_document

CLASSES = ("nevus", "melanoma")


def part(*names: object, originals: int = 2, examples: int = 4) -> Any:
    shards = [{"name": name, "examples": 2, "bytes": 20, "sha256": "a" * 64} for name in names]
    counts = {name: {"originals": originals // 2, "examples": examples // 2} for name in CLASSES}
    return {"shards": shards, "originals": originals, "examples": examples, "bytes": 40, "per_class": counts}


def document(**changes: Any) -> Any:
    """Of a dataset with two folds, whose second shard is listed first."""
    names = [f"train-0000{index}-of-00002.tfrecord" for index in range(2)]
    folds = [{"fold": fold, **part(originals=1, examples=2), "shards": [name]} for fold, name in enumerate(names)]
    splits = {
        "train": {**part(*names[::-1]), "folds": folds},
        "validation": part(originals=0, examples=0),
        "test": part("test-00000-of-00001.tfrecord", examples=2),
    }
    return dataset_document(CLASSES, ["melanoma"], 48, splits, **changes)


def parsed(values: Any) -> Any:
    return parse_description(json.dumps(values).encode(), "--dataset d")


def test_shards_are_in_the_order_of_their_names_and_know_their_fold() -> None:
    description = parsed(document())
    first, second = (Shard(f"train-0000{fold}-of-00002.tfrecord", "train", 2, 20, "a" * 64, fold) for fold in range(2))
    test = Shard("test-00000-of-00001.tfrecord", "test", 2, 20, "a" * 64)
    assert description.shards == [test, first, second]
    counts = dict.fromkeys(CLASSES, ClassCount(0, 1))
    assert description.splits["train"].folds == (Fold(0, (first,), 1, 2, counts), Fold(1, (second,), 1, 2, counts))
    assert description.shards_of("train") == description.shards_of("train", 7) == (first, second)
    assert description.shards_of("train", 1) == (second,)
    assert description.shards_of("test", 1) == (test,)


def test_the_whole_document_goes_with_what_is_read_of_it() -> None:
    values = document(encoding={"format": "png"}, compression="gzip", seed=7)
    description = parsed(values)
    assert (description.encoding, description.compression, description.seed) == ("png", "gzip", 7)
    assert description.document == values


def test_another_version_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        parsed(document(schema_version=3))
    assert str(caught.value) == (
        "--dataset d: dataset.json has schema version 3, this program reads 2; prepare it again with this version"
    )


# What only reports show may be missing.
NEEDED = sorted(document().keys() - {"beside", "near_duplicates", "frequent_lesions"})


@pytest.mark.parametrize("key", NEEDED)
def test_a_document_that_lacks_a_key_is_damaged(key: Any) -> None:
    values = document()
    del values[key]
    with pytest.raises(ValueError, match=f"KeyError: '{key}'"):
        parsed(values)


def test_a_fold_of_an_unlisted_shard_is_damage() -> None:
    values = document()
    values["splits"]["train"]["folds"][0]["shards"] = ["train-00009-of-00002.tfrecord"]
    with pytest.raises(ValueError, match=r"KeyError: 'train-00009-of-00002\.tfrecord'"):
        parsed(values)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"schema_version": 2, "compression": "zip"}'])
def test_what_is_no_description_is_damage(content: Any) -> None:
    with pytest.raises(ValueError, match=r"Error: ") as caught:
        parse_description(content, "--dataset d")
    assert "\n" not in str(caught.value)
