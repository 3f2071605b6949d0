"""Read what an exported model says about itself in `assets/model.json`. Does not import TensorFlow."""

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
    """The content of model.json and the folder it is from."""

    path: str  # the model's folder
    classes: tuple[str, ...]  # in the order of the probabilities
    malignant_classes: tuple[str, ...]
    image_size: int  # side of the square input in pixels
    aspect: str  # how images are made square, one of `images.ASPECTS`
    encoding: str  # of the records that the model was trained on
    fingerprint: str  # of weights, network and dataset
    dataset_fingerprint: str
    network: dict[str, Any] = field(compare=False)  # settings of the network, covered by the fingerprint
    train_distribution: dict[str, float] = field(compare=False)  # class -> its share of the training images
    metrics: dict[str, Any] = field(compare=False)
    # How the probabilities were calibrated; empty if they were not.
    calibration: dict[str, Any] = field(compare=False, default_factory=dict)
    # See `operating_point.read_points`.
    operating_points: dict[str, tuple[OperatingPoint, ...]] = field(compare=False, default_factory=dict)

    @property
    def prior(self) -> tuple[float, ...]:
        """Class frequencies that the probabilities assume, in label order; equal if the model does not say."""
        return prior_of_model(self.calibration, self.classes)


def read_model_info(option: str, folder: str) -> ModelInfo:
    """Read and check the folder of a model.

    Args:
        option: The option that names the folder, for error messages.
        folder: A SavedModel, on any filesystem that Beam supports.

    Raises:
        UsageError: The folder cannot be read or was not exported by trainer.task, or its model.json is damaged.
    """
    try:
        is_model = storage.read_if_exists(storage.join(folder, "saved_model.pb")) is not None
        text = storage.read_if_exists(storage.join(folder, *MODEL_JSON.split("/"))) if is_model else None
    except Exception as error:  # each filesystem raises its own exception types
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
            # Models exported before this field existed lack it. They do not make the maps that it is needed for either.
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
        # Detect frequencies that lack a class here rather than on a worker.
        _ = model.prior
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{option} {folder}: {MODEL_JSON} is damaged ({error!r})") from error
    return model


def read_ensemble(option: str, folders: Sequence[str]) -> tuple[ModelInfo, ...]:
    """Read and check the models of an ensemble.

    Args:
        option: The option that names the folders, for error messages.
        folders: The folders of the models.

    Raises:
        UsageError: A folder is not a model (see `read_model_info`), a model is named twice, or the models differ in
            their classes.
    """
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
