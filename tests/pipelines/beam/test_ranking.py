"""The position of an element within its stratum."""

from __future__ import annotations

import random

import apache_beam as beam
import pytest

from pipelines.beam.ranking import RankWithin
from pipelines.common.seeding import stable_hash
from tests.support.collecting import run


class _Part(beam.PTransform):
    """One of RankWithin's two outputs."""

    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return getattr(elements | RankWithin(5, "test"), self._name)


@pytest.mark.parametrize("sizes", [{}, {"even": 3, "odd": 1}])
def test_the_sizes_of_strata_are_known_apart_from_the_ranks(sizes: dict[str, int]) -> None:
    elements = [(stratum, f"{n}", n) for stratum, size in sizes.items() for n in range(size)]
    assert dict(run(elements, _Part("sizes"))) == sizes


def test_ranks_are_the_positions_in_hash_order() -> None:
    names = [f"image {n}" for n in range(500)]
    random.Random(1).shuffle(names)
    elements = [("even" if int(name[6:]) % 2 == 0 else "odd", name, name.upper()) for name in names]
    ranked = run(elements, _Part("ranked"))
    for stratum in ("even", "odd"):
        mine = [r for s, r in ranked if s == stratum]
        expected = sorted((n for s, n, _ in elements if s == stratum), key=lambda n: stable_hash(5, "test", n))
        assert [r.payload for r in sorted(mine)] == [name.upper() for name in expected]
        assert {r.stratum_size for r in mine} == {250}
