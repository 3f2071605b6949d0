"""Rows divided in two."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipelines.beam.partition import partition
from pipelines.dataset.image_row import is_open
from tests.support.collecting import run
from tests.support.image_rows import row


def test_rows_part_by_a_predicate() -> None:
    rows = [row("a"), row("b").rejected("read", "unreadable", "no"), row("c")]
    assert sorted(one.relative for one in run(rows, _Part(1))) == ["a", "c"]
    assert [one.relative for one in run(rows, _Part(0))] == ["b"]


class _Part(beam.PTransform):
    def __init__(self, index: Any):
        super().__init__()
        self._index = index

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return (rows | partition(is_open))[self._index]
