"""Rank the elements of each stratum in hash order, without sorting a stratum on one worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import apache_beam as beam

from pipelines.beam.packed_groups import PackedGroupByKey
from pipelines.common.seeding import stable_hash

Payload = TypeVar("Payload")
# A stratum's elements are sorted bucket by bucket; with a million elements, a bucket holds about 250.
BUCKETS = 4096


class Ranked(NamedTuple):
    """An element with its rank in its stratum."""

    rank: int  # from 0
    stratum_size: int
    payload: object


def _bucket(order: tuple[int, str]) -> int:
    return order[0] * BUCKETS >> 64


class _CountBuckets(beam.CombineFn):
    """Bucket numbers of one stratum -> its size and, for each bucket, the number of elements in the buckets before."""

    def create_accumulator(self) -> Counter[int]:
        return Counter()

    def add_input(self, counts: Counter[int], bucket: int) -> Counter[int]:
        counts[bucket] += 1
        return counts

    def merge_accumulators(self, accumulators: Iterable[Counter[int]]) -> Counter[int]:
        merged: Counter[int] = Counter()
        for counts in accumulators:
            merged.update(counts)
        return merged

    def extract_output(self, counts: Counter[int]) -> tuple[int, dict[int, int]]:
        before, total = {}, 0
        for bucket in sorted(counts):
            before[bucket] = total
            total += counts[bucket]
        return total, before


def _rank(
    element: tuple[tuple[str, int], Iterable[tuple[tuple[int, str], object]]],
    strata: Mapping[str, tuple[int, dict[int, int]]],
) -> Iterator[tuple[str, Ranked]]:
    (stratum, bucket), members = element
    count, before = strata[stratum]
    ordered = sorted(members, key=lambda member: member[0])
    for position, (_, payload) in enumerate(ordered):
        yield stratum, Ranked(before[bucket] + position, count, payload)


class Ranking(NamedTuple):
    """The PCollections that RankWithin returns."""

    ranked: beam.PCollection[tuple[str, Ranked]]  # (stratum, payload with its rank)
    sizes: beam.PCollection[tuple[str, int]]  # (stratum, number of elements); known before the ranks are


class RankWithin(beam.PTransform):
    """PTransform: (stratum, id, payload) -> Ranking.

    Elements are ordered by hash(seed, purpose, id). Ids must be distinct within a stratum. Ranks depend on the set of
    ids alone.

    Args:
        seed: Seed of the run.
        purpose: What the order is for. Different purposes give independent orders.
    """

    def __init__(self, seed: int, purpose: str):
        super().__init__()
        self._seed = seed
        self._purpose = purpose

    def expand(self, elements: beam.PCollection[tuple[str, str, object]]) -> Ranking:
        """Turn (stratum, id, payload) into ranked payloads and the sizes of the strata."""
        seed, purpose = self._seed, self._purpose

        def place(element: tuple[str, str, object]) -> tuple[tuple[str, int], tuple[tuple[int, str], object]]:
            stratum, identity, payload = element
            order = (stable_hash(seed, purpose, identity), identity)
            return (stratum, _bucket(order)), (order, payload)

        placed = elements | "Place" >> beam.Map(place)
        strata = (
            placed
            | "Buckets" >> beam.Map(lambda element: element[0])
            | "Count buckets" >> beam.CombinePerKey(_CountBuckets())
        )
        ranked = placed | "By bucket" >> PackedGroupByKey() | "Rank" >> beam.FlatMap(_rank, beam.pvalue.AsDict(strata))
        return Ranking(ranked, strata | "Sizes" >> beam.MapTuple(lambda stratum, counts: (stratum, counts[0])))
