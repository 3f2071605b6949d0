"""Add up counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import apache_beam as beam


class Tally(beam.CombineFn):
    """CombineFn that adds up Counters.

    Counts, and sums of hashes that stand for sets, can be added in any order.
    """

    def create_accumulator(self) -> Counter:
        """Return an empty Counter."""
        return Counter()

    def add_input(self, totals: Counter, counts: Mapping) -> Counter:
        """Add one element's counts to the accumulator in place."""
        totals.update(counts)
        return totals

    def merge_accumulators(self, accumulators: Iterable[Counter]) -> Counter:
        """Return the sum of the accumulators."""
        merged: Counter = Counter()
        for totals in accumulators:
            merged.update(totals)
        return merged

    def extract_output(self, totals: Counter) -> Counter:
        """Return the totals."""
        return totals
