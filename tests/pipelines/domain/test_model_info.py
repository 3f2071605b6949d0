"""What an exported model says of itself."""

from __future__ import annotations

import numpy as np

from pipelines.domain.model_info import model_fingerprint


def test_a_fingerprint_covers_weights_network_and_dataset() -> None:
    weights = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32)]
    network, dataset = {"width": 1.0, "depth": 2}, "d" * 64
    first = model_fingerprint(weights, network, dataset)
    assert len(first) == 64
    assert model_fingerprint([weight.copy() for weight in weights], dict(reversed(network.items())), dataset) == first
    others = [
        model_fingerprint(weights[::-1], network, dataset),
        model_fingerprint([weights[0].reshape(3, 2), weights[1]], network, dataset),
        model_fingerprint([weights[0].astype(np.float64), weights[1]], network, dataset),
        model_fingerprint([weights[0] + 1, weights[1]], network, dataset),
        model_fingerprint(weights, {**network, "depth": 3}, dataset),
        model_fingerprint(weights, network, "e" * 64),
    ]
    assert len({first, *others}) == 7
