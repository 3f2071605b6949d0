"""Counts of a whole job, added up in any order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipelines.beam.tally import Tally
from pipelines.dataset import accounting
from tests.support.tallies import rows_of


def test_totals_do_not_depend_on_how_rows_are_dealt_out() -> None:
    rows = rows_of("written", "duplicate", "written", "rejected")
    tally = Tally()

    def totals(*parts: Iterable[Any]) -> Any:
        accumulators = []
        for part in parts:
            accumulator = tally.create_accumulator()
            for row in part:
                accumulator = tally.add_input(accumulator, accounting.tally_outcome(row))
            accumulators.append(accumulator)
        return tally.extract_output(tally.merge_accumulators(accumulators))

    whole = totals(rows)
    assert totals(rows[:1], [], rows[:0:-1]) == whole
    assert (whole["outcome", "written"], whole["source", "", "written"]) == (2, 2)
    assert whole["outcome paths",] == sum(accounting.path_hash(row.path) for row in rows)
