"""What an exported model says about itself: `assets/model.json` of a SavedModel. Imports no TensorFlow."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipelines import storage
from pipelines.cli import UsageError

MODEL_JSON = "assets/model.json"


@dataclass(frozen=True)
class ModelInfo:
    """classes: in the order of the probabilities; fingerprint: of weights, network and dataset."""

    classes: tuple[str, ...]
    malignant_classes: tuple[str, ...]
    image_size: int
    fingerprint: str
    metrics: dict


def read_model_info(option: str, folder: str) -> ModelInfo:
    """Read and check a model directory. Raises UsageError when it is not one that trainer.task exported."""
    try:
        is_model = storage.read_if_exists(storage.join(folder, "saved_model.pb")) is not None
        text = storage.read_if_exists(storage.join(folder, *MODEL_JSON.split("/"))) if is_model else None
    except Exception as error:  # each filesystem raises its own kinds
        raise UsageError(f"{option} {folder}: cannot be read ({error.__class__.__name__})") from error
    if not is_model:
        raise UsageError(f"{option} {folder}: is no model (no saved_model.pb); name the model folder of trainer.task")
    if text is None:
        raise UsageError(f"{option} {folder}: is a SavedModel, but not from trainer.task (no {MODEL_JSON})")
    try:
        content = json.loads(text)
        return ModelInfo(
            classes=tuple(content["classes"]),
            malignant_classes=tuple(content["malignant_classes"]),
            image_size=int(content["image_size"]),
            fingerprint=str(content["model_fingerprint"]),
            metrics=dict(content.get("metrics", {})),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{option} {folder}: {MODEL_JSON} is damaged ({error!r})") from error
