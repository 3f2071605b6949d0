"""Components are those of the graph of items and keys, whatever the order."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.beam.components import ConnectedComponents, join_links
from tests.support.collecting import run
from tests.support.properties import IN_A_PIPELINE, PURE
from tests.support.union_find import components


def parts(elements: list[tuple[str, list[str]]]) -> set[frozenset[str]]:
    """Components as a set of sets of items."""
    found: dict[str, set[str]] = {}
    for item, component in run(elements, ConnectedComponents()):
        found.setdefault(component, set()).add(item)
    return {frozenset(items) for items in found.values()}


def test_items_join_through_keys_and_through_others() -> None:
    elements = [
        ("a", ["L1"]),
        ("b", ["L1", "P1"]),
        ("c", ["P1"]),
        ("d", []),
        ("e", ["L2"]),
        ("f", ["L2", "L2"]),
        ("g", ["x"]),
    ]
    assert parts(elements) == {frozenset("abc"), frozenset("d"), frozenset("ef"), frozenset("g")}


def test_a_long_chain_is_one_component() -> None:
    chain = [(f"{n:04}", [f"k{n}", f"k{n + 1}"]) for n in range(400)]
    random.Random(0).shuffle(chain)
    assert parts(chain) == {frozenset(item for item, _ in chain)}


def test_names_do_not_depend_on_order_or_on_other_items() -> None:
    elements = [("a", ["1"]), ("b", ["1", "2"]), ("c", ["2"]), ("z", ["9"])]
    first = dict(run(elements, ConnectedComponents()))
    assert dict(run(elements[::-1], ConnectedComponents())) == first
    assert dict(run([*elements, ("y", ["8"])], ConnectedComponents()))["a"] == first["a"]


def test_nothing_shared_nothing_joined() -> None:
    assert parts([]) == set()
    assert parts([("a", ["1"]), ("b", ["2"])]) == {frozenset("a"), frozenset("b")}


def test_join_links_against_a_plain_walk() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 2**63, 300, dtype=np.uint64)[generator.integers(0, 300, (2, 250))]
    items, roots = join_links(first, second)
    neighbours: dict[int, set[int]] = {int(item): set() for item in items}
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        neighbours[one].add(other)
        neighbours[other].add(one)
    for item, root in zip(items.tolist(), roots.tolist(), strict=True):
        reached, waiting = {item}, [item]
        while waiting:
            for other in neighbours[waiting.pop()] - reached:
                reached.add(other)
                waiting.append(other)
        assert root == min(reached)


@PURE
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=40), st.randoms())
def test_joined_links_are_the_components_of_a_union_find_in_any_order(links: Any, random: Any) -> None:
    def joined(pairs: Any) -> Any:
        first, second = (np.array(ends, np.uint64) for ends in zip(*pairs, strict=True))
        items, smallest = join_links(first, second)
        return dict(zip(items.tolist(), smallest.tolist(), strict=True))

    found = joined(links)
    assert found == {item: min(part) for part in components(links) for item in part}
    mixed = [pair[::-1] if random.random() < 0.5 else pair for pair in random.sample(links, len(links))]
    assert joined(mixed) == found


@IN_A_PIPELINE
@given(st.dictionaries(st.text(max_size=3), st.sets(st.sampled_from("abcdefgh"), max_size=3), min_size=2, max_size=25))
def test_items_with_keys_are_the_components_of_a_union_find_in_any_order(keys: Any) -> None:
    elements = [(item, sorted(own)) for item, own in keys.items()]
    found = dict(run(elements, ConnectedComponents()))
    together: dict = {}
    for item, component in found.items():
        together.setdefault(component, set()).add(item)
    links = [(("item", item), ("key", key)) for item, own in keys.items() for key in own]
    links += [(("item", item), ("item", item)) for item in keys]
    expected = {frozenset(name for kind, name in part if kind == "item") for part in components(links)}
    assert set(map(frozenset, together.values())) == expected
    assert dict(run([(item, own[::-1]) for item, own in elements[::-1]], ConnectedComponents())) == found
