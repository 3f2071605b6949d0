"""Columns of a table of probabilities, and what they mean, as metadata of the file."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW

# BigQuery allows 300 characters; the rest is for what comes before and after the class.
_CLASS_CHARACTERS = 200


def class_names(classes: Sequence[str]) -> list[str]:
    """Return plain names of the classes for use in column names.

    Args:
        classes: Classes in label order.

    Returns:
        Names in the same order, made of ASCII letters, digits and single underscores. No two of them are equal when
        case is ignored.
    """
    names: list[str] = []
    for number, name in enumerate(classes, 1):
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^0-9A-Za-z]+", "_", plain).strip("_")[:_CLASS_CHARACTERS].strip("_") or f"class_{number}"
        taken = {other.lower() for other in names}
        ways = (stem, *(f"{stem}_{again}" for again in range(2, len(classes) + 2)))
        names.append(next(way for way in ways if way.lower() not in taken))
    return names


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
