"""The JSON schema of dataset.json: every key is told of, and what cannot be right is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from pipelines.dataset.description_schema import dataset_schema, schema_problem

DIGEST = "0" * 64
SHARD = {"name": "train-00000-of-00001.tfrecord", "examples": 3, "bytes": 300, "sha256": DIGEST}
PART = {"originals": 1, "examples": 3, "bytes": 300, "per_class": {"nevus": {"originals": 1, "examples": 3}}}
EMPTY = {"shards": [], "originals": 0, "examples": 0, "bytes": 0, "per_class": {}}
GOOD = {
    "schema_version": 2,
    "fingerprint": DIGEST,
    "classes": ["nevus"],
    "malignant_classes": [],
    "image_size": 48,
    "aspect": "crop",
    "encoding": {"format": "jpeg", "quality": 95},
    "compression": "none",
    "seed": 0,
    "options": {"balance": "none"},
    "versions": {"record_format": "2"},
    "counts": dict.fromkeys(
        ("listed", "ignored", "written", "duplicates", "rejected", "undersampled", "with_lesion_id"), 1
    ),
    "dropped": {"duplicate": 1},
    "near_duplicates": {"pairs": 0, "skipped": 0},
    "frequent_lesions": [{"lesion_id": "?", "images": 6, "of": 100}],
    "splits": {
        "train": {"shards": [SHARD], **PART, "folds": [{"fold": 0, "shards": [SHARD["name"]], **PART}]},
        "validation": EMPTY,
        "test": EMPTY,
    },
}


def edited(path: str, value: Any) -> dict[str, Any]:
    """GOOD with another value at a path of keys; None takes the key away."""
    changed = json.loads(json.dumps(GOOD))
    *above, last = path.split(".")
    place = changed
    for key in above:
        place = place[int(key) if isinstance(place, list) else key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return changed


def test_the_schema_is_one_and_tells_of_every_key() -> None:
    schema = dataset_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    def untold(node: Any, name: str) -> Iterator[Any]:
        for key, below in node.get("properties", {}).items():
            if isinstance(below, dict) and not below.get("description"):
                yield f"{name}.{key}"
            if isinstance(below, dict):
                yield from untold(below, f"{name}.{key}")

    parts = {"dataset.json": schema, **schema["$defs"]}
    assert [key for name, part in parts.items() for key in untold(part, name)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 7),
        ("encoding", {"format": "png"}),
        ("encoding", {"format": "raw"}),
        ("compression", "gzip"),
        ("splits.train.shards.0.name", "train-00000-of-00001.tfrecord.gz"),
        ("options.an_option_to_come", [1, 2]),
        ("splits.train.folds", []),
    ],
)
def test_what_prepare_may_write_is_taken(path: str, value: Any) -> None:
    assert schema_problem(edited(path, value)) == ""


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("seed", None, "the whole: 'seed' is a required property"),
        ("compression", None, "the whole: 'compression' is a required property"),
        ("sed", 1, "the whole: Additional properties are not allowed ('sed' was unexpected)"),
        ("schema_version", 3, "schema_version: 2 was expected"),
        ("counts.listed", -1, "counts.listed: -1 is less than the minimum of 0"),
        ("counts.listed", "3", "counts.listed: '3' is not of type 'integer'"),
        ("fingerprint", "ABC", "fingerprint: 'ABC' does not match"),
        ("encoding", {"format": "jpeg"}, "encoding: 'quality' is a required property"),
        ("encoding", {"format": "png", "quality": 95}, "encoding.quality: "),
        ("encoding.format", "webp", "encoding.format: 'webp' is not one of"),
        ("compression", "zip", "compression: 'zip' is not one of"),
        ("classes", [], "classes: [] "),
        ("splits.train.folds", None, "splits.train: 'folds' is a required property"),
        ("splits.test.folds", [], "splits.test: Additional properties"),
        ("splits.train.shards.0.name", "../train-00000-of-00001.tfrecord", "splits.train.shards.0.name: "),
        ("splits.train.per_class.nevus.examples", 1.5, "splits.train.per_class.nevus.examples: 1.5 is not of type"),
        ("dropped.duplicate", 0, "dropped.duplicate: 0 is less than the minimum of 1"),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_name(path: str, value: Any, says: str) -> None:
    assert schema_problem(edited(path, value)).startswith(says)


def test_what_is_no_object_is_refused() -> None:
    assert schema_problem([]) == "the whole: [] is not of type 'object'"


def test_a_long_quotation_is_cut() -> None:
    assert len(schema_problem(edited("classes", "x" * 10_000))) < 200
