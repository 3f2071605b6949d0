"""A plain union-find, to compare connected components with."""

from __future__ import annotations

from collections.abc import Hashable, Iterable


def components(links: Iterable[tuple[Hashable, Hashable]]) -> set[frozenset]:
    """The sets of items that are linked, directly or through others."""
    parent: dict = {}

    def root(item: Hashable) -> Hashable:
        while parent.setdefault(item, item) != item:
            item = parent[item]
        return item

    for one, other in links:
        parent[root(one)] = root(other)
    found: dict = {}
    for item in list(parent):
        found.setdefault(root(item), set()).add(item)
    return set(map(frozenset, found.values()))
