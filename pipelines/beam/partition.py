"""Divide a PCollection in two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam


def partition(predicate: Callable[[Any], bool]) -> beam.PTransform:
    """Return a PTransform from rows to (rows for which `predicate` is false, rows for which it is true)."""
    return beam.Partition(lambda row, _: int(predicate(row)), 2)  # type: ignore[arg-type]
