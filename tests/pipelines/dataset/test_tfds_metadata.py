"""Metadata for TensorFlow Datasets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.dataset.record_schema import feature_kinds, record_schema
from pipelines.dataset.tfds_metadata import LABEL_FILE, metadata_files

DESCRIPTION = {
    "schema_version": 2,
    "fingerprint": "ab" * 32,
    "image_size": 32,
    "classes": ["melanoma", "nevus"],
    "encoding": {"format": "jpeg", "quality": 95},
    "compression": "none",
    "splits": {
        "train": {"shards": [{"examples": 3}, {"examples": 2}], "bytes": 500, "folds": []},
        "validation": {"shards": [], "bytes": 0},
        "test": {"shards": [{"examples": 1}], "bytes": 90},
    },
}


def keys_of(feature: dict[str, Any], above: str = "") -> Iterator[Any]:
    """The record keys of nested features, each with its TFDS class."""
    for name, below in feature["featuresDict"]["features"].items():
        if "featuresDict" in below:
            yield from keys_of(below, f"{above}{name}/")
        else:
            yield f"{above}{name}", below["pythonClassName"].rpartition(".")[2]


@pytest.mark.parametrize(("encoding", "image"), [("jpeg", "Image"), ("png", "Image"), ("raw", "Tensor")])
def test_features_are_nested_at_the_slashes_of_the_record_s_keys(encoding: str, image: str) -> None:
    description = {**DESCRIPTION, "encoding": {"format": encoding}}
    kinds = dict(keys_of(json.loads(metadata_files(description)["features.json"])))
    assert kinds.keys() == feature_kinds(record_schema(description)).keys()
    assert (kinds["image/encoded"], kinds["image/class/label"]) == (image, "ClassLabel")


def test_splits_without_records_are_left_out() -> None:
    info = json.loads(metadata_files(DESCRIPTION)["dataset_info.json"])
    assert [(split["name"], split["shardLengths"], split["numBytes"]) for split in info["splits"]] == [
        ("train", ["3", "2"], "500"),
        ("test", ["1"], "90"),
    ]


def test_class_names_stand_in_label_order() -> None:
    assert metadata_files(DESCRIPTION)[LABEL_FILE] == "melanoma\nnevus\n"


def test_compressed_shards_have_no_metadata() -> None:
    assert metadata_files({**DESCRIPTION, "compression": "gzip"}) == {}
