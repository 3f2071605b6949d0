"""Metadata of Parquet files of probabilities: the class frequencies that they assume, and the views.

The score job and evaluations write it; evaluations read it. Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.operating_point import EIGHT_VIEWS, ONE_VIEW

_PRIOR, _VIEWS = b"class_prior", b"views"


class Meaning(NamedTuple):
    """How to interpret the probabilities of a file."""

    prior: np.ndarray  # float64 [C], the class frequencies that the probabilities assume, in column order
    # ONE_VIEW, or EIGHT_VIEWS if the probabilities are means over eight views (--tta); None for files written before
    # this was recorded.
    views: str | None


def as_metadata(prior: Sequence[float] | np.ndarray, views: str | None) -> dict[bytes, bytes]:
    """Return the metadata of a file.

    Args:
        prior: Class frequencies that the probabilities assume, in column order.
        views: ONE_VIEW or EIGHT_VIEWS; None, if not known, leaves them out.
    """
    said = {_PRIOR: json.dumps(list(map(float, prior))).encode()}
    return said | ({_VIEWS: views.encode()} if views else {})


def read_metadata(metadata: Mapping[bytes, bytes] | None, classes: int) -> Meaning:
    """Read the metadata that `as_metadata` returned.

    Args:
        metadata: Metadata of a file. If it has no prior, the class frequencies are equal.
        classes: Number of classes.

    Raises:
        ValueError: The prior or the views are malformed.
    """
    metadata = metadata or {}
    known = json.loads(metadata.get(_PRIOR, b"null"))
    prior = np.array(known if isinstance(known, list) else np.nan, np.float64)
    if known is None:
        prior = np.full(classes, 1.0 / classes)
    if prior.shape != (classes,) or not np.isfinite(prior).all() or (prior < 0).any() or not prior.any():
        raise ValueError(f"{_PRIOR.decode()} is not {classes} frequencies")
    views = metadata[_VIEWS].decode() if _VIEWS in metadata else None
    if views not in (ONE_VIEW, EIGHT_VIEWS, None):
        raise ValueError(f"{_VIEWS.decode()} is neither {ONE_VIEW} nor {EIGHT_VIEWS}")
    return Meaning(prior, views)
