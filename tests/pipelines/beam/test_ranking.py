"""The position of an element within its stratum."""

from __future__ import annotations

import random

from pipelines.beam.ranking import RankWithin
from pipelines.common.seeding import stable_hash
from tests.support.collecting import run


def test_ranks_are_the_positions_in_hash_order() -> None:
    names = [f"image {n}" for n in range(500)]
    random.Random(1).shuffle(names)
    elements = [("even" if int(name[6:]) % 2 == 0 else "odd", name, name.upper()) for name in names]
    ranked = run(elements, RankWithin(5, "test"))
    for stratum in ("even", "odd"):
        mine = [r for s, r in ranked if s == stratum]
        expected = sorted((n for s, n, _ in elements if s == stratum), key=lambda n: stable_hash(5, "test", n))
        assert [r.payload for r in sorted(mine)] == [name.upper() for name in expected]
        assert {r.stratum_size for r in mine} == {250}
