"""Predictions of a made-up model for made-up lesions."""

from __future__ import annotations

import numpy as np

CLASSES = ("basal cell carcinoma", "melanoma", "nevus")


def simulate(
    n: int, classes: int, signal: float, seed: int, photographs: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, softmax probabilities and groups; photographs of one lesion share most of their noise."""
    rng = np.random.default_rng(seed)
    lesions = -(-n // photographs)
    labels = np.repeat(rng.integers(0, classes, lesions), photographs)[:n]
    groups = np.repeat(np.arange(lesions), photographs)[:n]
    shared = np.repeat(rng.normal(size=(lesions, classes)), photographs, axis=0)[:n]
    logits = shared + 0.1 * rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += signal
    odds = np.exp(logits)
    return labels, odds / odds.sum(axis=1, keepdims=True), groups
