"""Connected components: which items share a key, directly or through others.

Beam does what grows with the archive: it finds the items of each key. A key with one item links nothing, and most
keys are such. What is left, the links between items that do share a key, goes to one worker as pairs of 64-bit hashes
(16 bytes a link, in numpy arrays), which scipy joins. Ten million links take 160 MB there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipelines.seeding import stable_hash


def _as_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _links(element: tuple[bytes, Iterable[bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """A star from the smallest item of a key to its others."""
    items = sorted(set(element[1]))
    return ((items[0], other) for other in items[1:])


def join_links(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint64 [n] ends of links -> uint64 [m] items and, for each, the smallest item of its component."""
    items, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    count = len(items)
    links = coo_array((np.ones(len(first), np.uint8), (places[: len(first)], places[len(first) :])), (count, count))
    number, labels = connected_components(links, directed=False)
    smallest = np.full(number, count, np.int64)
    np.minimum.at(smallest, labels, np.arange(count))
    return items, items[smallest[labels]]


class _CollectLinks(beam.CombineFn):
    """Links -> their two columns, each the bytes of big-endian uint64s."""

    def create_accumulator(self) -> bytearray:
        return bytearray()

    def add_input(self, links: bytearray, link: tuple[bytes, bytes]) -> bytearray:
        links += link[0]
        links += link[1]
        return links

    def merge_accumulators(self, accumulators: Iterable[bytearray]) -> bytearray:
        return bytearray().join(accumulators)

    def extract_output(self, links: bytearray) -> bytes:
        return bytes(links)


def _join(links: bytes) -> list[tuple[bytes, bytes]]:
    """All links -> (item, component) of every item that has one."""
    if not links:
        return []
    ends = np.frombuffer(links, ">u8").astype(np.uint64).reshape(-1, 2)
    items, components = (column.tolist() for column in join_links(ends[:, 0], ends[:, 1]))
    return [(_as_bytes(item), _as_bytes(component)) for item, component in zip(items, components, strict=True)]


def _label(element: tuple[bytes, dict[str, Iterable]]) -> Iterator[tuple[str, str]]:
    item, found = element
    component = next(iter(found["components"]), item)
    return ((name, component.hex()) for name in found["names"])


class ConnectedComponents(beam.PTransform):
    """(item, keys) -> (item, component), both str; items with a common key are in one component, transitively.

    A component's name is a hash of one of its items: 16 hex digits that depend on items and keys alone. Two of
    n items fall together by chance with probability n^2 / 2^65; that only joins what could have been apart.
    """

    def expand(self, items: beam.PCollection[tuple[str, Iterable[str]]]) -> beam.PCollection[tuple[str, str]]:
        hashed = items | "Hash" >> beam.MapTuple(
            lambda item, keys: (
                (_as_bytes(stable_hash("item", item)), item),
                [_as_bytes(stable_hash("key", key)) for key in sorted(set(keys))],
            )
        )
        components = (
            hashed
            | "By key" >> beam.FlatMapTuple(lambda item, keys: [(key, item[0]) for key in keys])
            | "Items of key" >> beam.GroupByKey()
            | "Links" >> beam.FlatMap(_links)
            | "Collect" >> beam.CombineGlobally(_CollectLinks())
            | "Join" >> beam.FlatMap(_join)
        )
        names = hashed | "Names" >> beam.Keys()
        return (
            {"names": names, "components": components}
            | "Look up" >> beam.CoGroupByKey()
            | "Label" >> beam.FlatMap(_label)
        )
