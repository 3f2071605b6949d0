"""What an exported model says about itself: `assets/model.json`, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.domain.decision_rule import OperatingPoint, prior_of_model

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
    # See `decision_rule.read_points`.
    operating_points: dict[str, tuple[OperatingPoint, ...]] = field(compare=False, default_factory=dict)

    @property
    def prior(self) -> tuple[float, ...]:
        """Class frequencies that the probabilities assume, in label order; equal if the model does not say."""
        return prior_of_model(self.calibration, self.classes)


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
