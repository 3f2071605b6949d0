"""The fingerprint of a model: written by the trainer when it exports, computed again wherever the model is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def model_fingerprint(weights: Iterable[np.ndarray], network: Mapping[str, Any], dataset_fingerprint: str) -> str:
    """64 hex digits: sha256 over the network's configuration, the dataset's fingerprint and every weight in order."""
    digest = hashlib.sha256()
    digest.update(json.dumps(network, sort_keys=True).encode())
    digest.update(dataset_fingerprint.encode())
    for weight in weights:
        digest.update(f"{weight.dtype.str}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
