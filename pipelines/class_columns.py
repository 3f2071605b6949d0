"""Derive column names from classes, for columns such as `probability_` followed by the class."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

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
