"""The JSON files that describe models and datasets, whole, for tests that write them themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW
from pipelines.domain.model_files import MODEL_JSON, seal_model


def model_document(classes: Sequence[str], malignant: Iterable[str], image_size: int, **changes: Any) -> dict:
    """model.json of a model without operating points, whose probabilities assume equally frequent classes."""
    document = {
        "schema_version": 3,
        "classes": list(classes),
        "malignant_classes": list(malignant),
        "image_size": image_size,
        "aspect": "crop",
        "encoding": "jpeg",
        "dataset_fingerprint": "d" * 64,
        "split": "train",
        "fold": -1,
        "weights_fingerprint": "e" * 64,
        "train_class_distribution": {name: 1 / len(classes) for name in classes},
        "metrics": {},
        "operating_points": {ONE_VIEW: [], EIGHT_VIEWS: []},
        "network": {},
        **changes,
    }
    equal = {name: 1 / len(document["classes"]) for name in document["classes"]}
    return {"calibration": {"temperature": 1.0, "prior": equal}, **document}


def write_model_json(folder: Path, document: dict) -> Path:
    """Write the description of the model in a folder, whose other files are there."""
    folder.mkdir(parents=True, exist_ok=True)
    seal_model(folder, document)
    return folder


def change_model(folder: Path, **changes: Any) -> dict:
    """Let a model say other things of itself, as one that was exported so."""
    return seal_model(folder, {**json.loads((folder / MODEL_JSON).read_text()), **changes})


def shard_entry(path: Path, examples: int) -> dict:
    """What dataset.json says of a shard."""
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return {"name": path.name, "examples": examples, "bytes": len(content), "sha256": sha256}


def dataset_document(
    classes: Sequence[str], malignant: Iterable[str], image_size: int, splits: dict[str, dict], **changes: Any
) -> dict:
    """dataset.json of a dataset with these splits, from as many files as it has originals."""
    originals = sum(split["originals"] for split in splits.values())
    counts = dict.fromkeys(("ignored", "duplicates", "rejected", "undersampled", "with_lesion_id"), 0)
    return {
        "schema_version": 2,
        "fingerprint": "d" * 64,
        "classes": list(classes),
        "malignant_classes": list(malignant),
        "image_size": image_size,
        "aspect": "crop",
        "encoding": {"format": "jpeg", "quality": 95},
        "compression": "none",
        "seed": 0,
        "options": {"folds": len(splits["train"].get("folds", ()))},
        "versions": {"record_format": "2"},
        "counts": {"listed": originals, "written": originals, **counts},
        "beside": {"ignored": [], "passed_over": []},
        "dropped": {},
        "near_duplicates": {"pairs": 0, "skipped": 0},
        "frequent_lesions": [],
        "splits": {**splits, "train": {"folds": [], **splits["train"]}},
        **changes,
    }
