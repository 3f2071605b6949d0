"""Make the metadata that `tfds.builder_from_directory` needs to read a dataset, without TensorFlow Datasets (TFDS).

TFDS nests features at the slashes in record keys: `image/class/label` is image > class > label. Its JSON files hold its
protocol buffers DatasetInfo and Feature as proto3 JSON, where 64-bit numbers are strings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LABEL_KEY = "image/class/label"
# TFDS reads the names of a class label from a file that is named after the path of the feature.
LABEL_FILE = f"{LABEL_KEY.replace('/', '-')}.labels.txt"
_FEATURES = "tensorflow_datasets.core.features"


_TEXT = {"pythonClassName": f"{_FEATURES}.text_feature.Text", "text": {}}
_NUMBER = {
    "pythonClassName": f"{_FEATURES}.scalar.Scalar",
    "tensor": {"dtype": "int64", "encoding": "none", "shape": {}},
}


def _image(size: int, encoding: str) -> dict[str, Any]:
    shape = {"dimensions": [str(size), str(size), "3"]}
    if encoding == "raw":
        tensor = {"dtype": "uint8", "encoding": "bytes", "shape": shape}
        return {"pythonClassName": f"{_FEATURES}.tensor_feature.Tensor", "tensor": tensor}
    image = {"dtype": "uint8", "encodingFormat": encoding, "shape": shape}
    return {"pythonClassName": f"{_FEATURES}.image_feature.Image", "image": image}


def _record_features(classes: int, size: int, encoding: str) -> dict[str, dict[str, Any]]:
    """Return the TFDS feature of every key that `examples.image_example` writes."""
    label = {
        "pythonClassName": f"{_FEATURES}.class_label_feature.ClassLabel",
        "classLabel": {"numClasses": str(classes)},
    }
    return {
        "image/encoded": _image(size, encoding),
        "image/format": _TEXT,
        "image/height": _NUMBER,
        "image/width": _NUMBER,
        "image/key/sha256": _TEXT,
        "image/source_id": _TEXT,
        LABEL_KEY: label,
        "image/class/text": _TEXT,
        "image/lesion_id": _TEXT,
        "image/group_id": _TEXT,
        "image/fold": _NUMBER,
        "image/augmentation/copy": _NUMBER,
    }


def _nested(features: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Convert features keyed by paths with slashes to nested FeaturesDicts of TFDS."""
    inner: dict[str, Any] = {}
    below: dict[str, dict[str, dict[str, Any]]] = {}
    for key, feature in features.items():
        name, _, rest = key.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = feature
        else:
            inner[name] = feature
    inner.update({name: _nested(inside) for name, inside in below.items()})
    return {"pythonClassName": f"{_FEATURES}.features_dict.FeaturesDict", "featuresDict": {"features": inner}}


def _split(name: str, split: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "filepathTemplate": "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}",
        "shardLengths": [str(shard["examples"]) for shard in split["shards"]],
        "numBytes": str(split["bytes"]),
    }


def metadata_files(description: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that TFDS needs beside dataset.json.

    Args:
        description: The content of dataset.json.

    Returns:
        File name -> text. Splits without records are left out. Empty if the shards are compressed, because TFDS opens
        them as plain TFRecords whatever the metadata say.
    """
    if description["compression"] != "none":
        return {}
    classes = description["classes"]
    info = {
        "name": "isic_lesions",
        "version": f"{description['schema_version']}.0.0",
        "description": f"Skin lesions, fingerprint {description['fingerprint']}; dataset.json says the rest.",
        "fileFormat": "tfrecord",
        "splits": [_split(name, split) for name, split in description["splits"].items() if split["shards"]],
    }
    features = _nested(_record_features(len(classes), description["image_size"], description["encoding"]["format"]))
    return {
        "dataset_info.json": json.dumps(info, indent=2) + "\n",
        "features.json": json.dumps(features, indent=2) + "\n",
        LABEL_FILE: "".join(f"{name}\n" for name in classes),
    }
