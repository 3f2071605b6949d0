"""What an exported model says about itself: `assets/model.json` of a SavedModel. Imports no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines import storage
from pipelines.cli import UsageError
from pipelines.decisions import prior_of_model
from pipelines.images import ASPECTS
from pipelines.operating_point import OperatingPoint, read_points

MODEL_JSON = "assets/model.json"


@dataclass(frozen=True)
class ModelInfo:
    """What model.json says.

    path: the model's folder. classes: in the order of the probabilities. aspect: how pictures are made square, one of
    `images.ASPECTS`; encoding: of the records it was trained on. fingerprint: of weights, network and dataset; network:
    the settings of the network that it covers. train_distribution: class -> its share of the images it learned from.
    calibration: how its probabilities were calibrated, empty where they were not; operating_points: see
    `operating_point.read_points`.
    """

    path: str
    classes: tuple[str, ...]
    malignant_classes: tuple[str, ...]
    image_size: int
    aspect: str
    encoding: str
    fingerprint: str
    dataset_fingerprint: str
    network: dict[str, Any] = field(compare=False)
    train_distribution: dict[str, float] = field(compare=False)
    metrics: dict[str, Any] = field(compare=False)
    calibration: dict[str, Any] = field(compare=False, default_factory=dict)
    operating_points: dict[str, tuple[OperatingPoint, ...]] = field(compare=False, default_factory=dict)

    @property
    def prior(self) -> tuple[float, ...]:
        """Class frequencies that the probabilities stand for, in label order; equal where the model does not say."""
        return prior_of_model(self.calibration, self.classes)


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
        model = ModelInfo(
            path=folder,
            classes=tuple(content["classes"]),
            malignant_classes=tuple(content["malignant_classes"]),
            image_size=int(content["image_size"]),
            # Models exported before it was asked for do not say; nor do they make the maps that it is for.
            aspect=str(content.get("aspect", ASPECTS[0])),
            encoding=str(content.get("encoding", "jpeg")),
            fingerprint=str(content["model_fingerprint"]),
            dataset_fingerprint=str(content["dataset_fingerprint"]),
            network=dict(content["network"]),
            train_distribution={name: float(share) for name, share in content["train_class_distribution"].items()},
            metrics=dict(content.get("metrics", {})),
            calibration=dict(content.get("calibration", {})),
            operating_points=read_points(content.get("operating_points", {})),
        )
        # Frequencies that lack a class are found here, not by a worker.
        _ = model.prior
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{option} {folder}: {MODEL_JSON} is damaged ({error!r})") from error
    return model


def read_ensemble(option: str, folders: Sequence[str]) -> tuple[ModelInfo, ...]:
    """The models of an ensemble. Raises UsageError for one that is no model, comes twice or has other classes."""
    models = tuple(read_model_info(option, folder) for folder in folders)
    for index, model in enumerate(models):
        for earlier in models[:index]:
            if model.fingerprint == earlier.fingerprint:
                raise UsageError(f"{option} {model.path}: is the same model as {earlier.path}; name each model once")
        first = models[0]
        if (model.classes, model.malignant_classes) != (first.classes, first.malignant_classes):
            raise UsageError(
                f"{option} {model.path}: has other classes than {first.path} ({', '.join(model.classes)} and "
                f"{', '.join(first.classes)}); the models of an ensemble need the same"
            )
    return models
