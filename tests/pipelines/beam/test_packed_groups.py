"""Groups of packed elements: the same as Beam's own."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import apache_beam as beam
import pytest

from pipelines.beam import packed_groups
from pipelines.beam.packed_groups import PackedCoGroupByKey, PackedGroupByKey, pack_elements, unpack_elements
from tests.support.collecting import run, run_with

KEYS: dict[str, list[Hashable]] = {
    "str": ["", "a", "ü \U0001f642", "b" * 1000],
    "bytes": [b"", b"a", b"\0\xff"],
    "int": [0, -1, 1 << 70],
    "tuple": [("a", 1), ("a", -1), (), (("nested", b"x"), None)],
}


def pairs(keys: list[Hashable], values: int = 700) -> list[tuple[Any, int]]:
    return [(keys[number * number % len(keys)], number) for number in range(values)]


def normal(groups: Iterable[tuple[Any, Any]]) -> list[tuple[str, Any]]:
    """Groups without the order in which they and their values come."""
    return sorted(
        (
            repr(key),
            {name: sorted(values) for name, values in group.items()} if isinstance(group, dict) else sorted(group),
        )
        for key, group in groups
    )


class _Many(beam.PTransform):
    """A transform over many bundles."""

    def __init__(self, transform: beam.PTransform):
        super().__init__()
        self._transform = transform

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return elements | beam.Reshuffle() | self._transform


@pytest.mark.parametrize("kind", KEYS)
def test_values_are_grouped_as_beam_groups_them(kind: str) -> None:
    given = pairs(KEYS[kind])
    assert len({repr(key) for key, _ in given}) > 1
    own, beams = (run(given, _Many(transform)) for transform in (PackedGroupByKey(), beam.GroupByKey()))
    assert normal(own) == normal(beams)
    assert sum(len(values) for _, values in own) == len(given)


class _CoGroup(beam.PTransform):
    """A grouping of a pair of collections by their names."""

    def __init__(self, transform: beam.PTransform):
        super().__init__()
        self._transform = transform

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        return dict(zip(("left", "right"), inputs, strict=True)) | self._transform


@pytest.mark.parametrize("few_keys", [False, True])
@pytest.mark.parametrize("sizes", [(700, 300), (700, 0), (0, 300), (0, 0)])
@pytest.mark.parametrize("kind", ["str", "tuple"])
def test_collections_are_joined_as_beam_joins_them(kind: str, sizes: tuple[int, int], few_keys: bool) -> None:
    # The second collection has keys that the first one has not, and the other way round.
    left, right = pairs(KEYS[kind][1:], sizes[0]), pairs(KEYS[kind][:-1], sizes[1])
    own = run_with(left, right, _CoGroup(PackedCoGroupByKey(few_keys)))
    assert normal(own) == normal(run_with(left, right, _CoGroup(beam.CoGroupByKey())))


def test_blocks_that_are_full_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_groups, "_PACKED_AT_ONCE", 10)
    given = pairs(KEYS["int"])
    assert normal(run(given, PackedGroupByKey())) == normal(run(given, beam.GroupByKey()))
    few = run_with(given, given, _CoGroup(PackedCoGroupByKey(few_keys=True)))
    assert normal(few) == normal(run_with(given, given, _CoGroup(beam.CoGroupByKey())))


def test_packed_elements_come_back() -> None:
    elements = [*KEYS["str"], *KEYS["tuple"], {"a": [1.5]}, "no UTF-8: \udcff"]
    assert unpack_elements(pack_elements(elements)) == elements
    assert unpack_elements(memoryview(pack_elements([]))) == []
