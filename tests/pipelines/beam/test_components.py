"""Components are those of the graph of items and keys, whatever the order."""

from __future__ import annotations

import random

import numpy as np

from pipelines.beam.components import ConnectedComponents, join_links
from tests.support.collecting import run


def parts(elements):
    """Components as a set of sets of items."""
    found: dict[str, set[str]] = {}
    for item, component in run(elements, ConnectedComponents()):
        found.setdefault(component, set()).add(item)
    return {frozenset(items) for items in found.values()}


def test_items_join_through_keys_and_through_others():
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


def test_a_long_chain_is_one_component():
    chain = [(f"{n:04}", [f"k{n}", f"k{n + 1}"]) for n in range(400)]
    random.Random(0).shuffle(chain)
    assert parts(chain) == {frozenset(item for item, _ in chain)}


def test_names_do_not_depend_on_order_or_on_other_items():
    elements = [("a", ["1"]), ("b", ["1", "2"]), ("c", ["2"]), ("z", ["9"])]
    first = dict(run(elements, ConnectedComponents()))
    assert dict(run(elements[::-1], ConnectedComponents())) == first
    assert dict(run([*elements, ("y", ["8"])], ConnectedComponents()))["a"] == first["a"]


def test_nothing_shared_nothing_joined():
    assert parts([]) == set()
    assert parts([("a", ["1"]), ("b", ["2"])]) == {frozenset("a"), frozenset("b")}


def test_join_links_against_a_plain_walk():
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
