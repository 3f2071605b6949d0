"""Compute a model's fingerprint: the trainer writes it on export, and it is recomputed wherever the model is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


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
