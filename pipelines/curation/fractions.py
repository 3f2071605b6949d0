"""How large splits are, and how many folds there may be."""

from __future__ import annotations

from typing import NamedTuple

MOST_FOLDS = 100


class Fractions(NamedTuple):
    """Share of each split in the groups of each class; the shares add up to 1."""

    train: float
    validation: float
    test: float


DEFAULT_FRACTIONS = Fractions(0.8, 0.1, 0.1)
# Default with folds: no validation split, because the folds serve as validation.
FOLDED_FRACTIONS = Fractions(0.9, 0.0, 0.1)
