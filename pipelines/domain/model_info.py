"""What an exported model says about itself: `model.json`, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.common.cli import UsageError
from pipelines.common.schema_version import require_schema_version
from pipelines.domain.decision_rule import OperatingPoint, prior_of_model, read_points

SCHEMA_VERSION = 2
# In the folder of a SavedModel.
MODEL_JSON = "assets/model.json"


@dataclass(frozen=True)
class ModelInfo:
    """The content of model.json and the folder it is from."""

    path: str  # the model's folder
    classes: tuple[str, ...]  # in the order of the probabilities
    malignant_classes: tuple[str, ...]
    image_size: int  # side of the square input in pixels
    aspect: str  # how images are made square, one of `forms.ASPECTS`
    encoding: str  # of the records that the model was trained on
    split: str  # of the dataset, which trained the weights
    fold: int  # of that split, which did not; -1: none
    fingerprint: str  # of weights, network and dataset
    dataset_fingerprint: str
    network: dict[str, Any] = field(compare=False)  # settings of the network, covered by the fingerprint
    train_distribution: dict[str, float] = field(compare=False)  # class -> its share of the training images
    metrics: dict[str, Any] = field(compare=False)
    calibration: dict[str, Any] = field(compare=False)  # how the probabilities were calibrated
    # See `decision_rule.read_points`.
    operating_points: dict[str, tuple[OperatingPoint, ...]] = field(compare=False)

    @property
    def prior(self) -> tuple[float, ...]:
        """Class frequencies that the probabilities assume, in label order."""
        return prior_of_model(self.calibration, self.classes)


def parse_model_info(document: bytes, option: str, folder: str) -> ModelInfo:
    """Return what a model says about itself.

    Args:
        document: Content of its model.json.
        option: The command-line option that names the model, for messages.
        folder: The model's folder.

    Raises:
        UsageError: The document is damaged or has another schema version.
    """
    file = f"{option} {folder}: {MODEL_JSON}"
    try:
        content = json.loads(document)
        require_schema_version(content, SCHEMA_VERSION, file, "train the model again with this version")
        classes = tuple(map(str, content["classes"]))
        # Detect frequencies that lack a class here rather than on a worker.
        prior_of_model(content["calibration"], classes)
        return ModelInfo(
            path=folder,
            classes=classes,
            malignant_classes=tuple(map(str, content["malignant_classes"])),
            image_size=int(content["image_size"]),
            aspect=str(content["aspect"]),
            encoding=str(content["encoding"]),
            # Earlier models do not say it; it was always this one.
            split=str(content.get("split", "train")),
            fold=int(content["fold"]),
            fingerprint=str(content["model_fingerprint"]),
            dataset_fingerprint=str(content["dataset_fingerprint"]),
            network=dict(content["network"]),
            train_distribution={name: float(share) for name, share in content["train_class_distribution"].items()},
            metrics=dict(content["metrics"]),
            calibration=dict(content["calibration"]),
            operating_points=read_points(content["operating_points"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file} is damaged ({type(error).__name__}: {error}); name the model folder of trainer.task"
        ) from error


def model_fingerprint(weights: Iterable[np.ndarray], network: Mapping[str, Any], dataset_fingerprint: str) -> str:
    """Return the SHA-256 of the network's configuration, the dataset's fingerprint and all weights, as 64 hex digits.

    Args:
        weights: The weights in the order of the network.
        network: The network's configuration.
        dataset_fingerprint: Fingerprint of the training dataset.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(network, sort_keys=True).encode())
    digest.update(dataset_fingerprint.encode())
    for weight in weights:
        digest.update(f"{weight.dtype.str}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
