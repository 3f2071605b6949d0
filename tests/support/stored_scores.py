"""Scores of two classes, as `trainer.evaluate` reads them from a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.evaluate.stored_predictions import StoredPredictions


def stored_scores(
    ids: Sequence[str], contents: Sequence[str], probabilities: np.ndarray, paths: Sequence[str] = ()
) -> StoredPredictions:
    """Scores of melanoma and nevus, of files each with an id, a content and perhaps a path."""
    empty = [""] * len(ids)
    return StoredPredictions(
        Path("scores"),
        list(ids),
        list(contents),
        empty,
        empty,
        ("melanoma", "nevus"),
        probabilities,
        None,
        (),
        np.full(2, 0.5),
        None,
        paths,
    )
