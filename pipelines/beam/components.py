"""Find connected components: items that share a key, directly or through other items.

Beam does the part that grows with the archive: it finds the items of each key. Most keys have a single item and link
nothing. The remaining links, between items that share a key, go to one worker as pairs of 64-bit hashes (16 bytes per
link, in numpy arrays), where scipy joins them. Ten million links take 160 MB there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipelines.beam.packed_groups import PackedCoGroupByKey, PackedGroupByKey
from pipelines.common.seeding import stable_hash


def _as_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _links(element: tuple[bytes, Iterable[bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield a star of links from the smallest item of a key to its other items."""
    items = sorted(set(element[1]))
    return ((items[0], other) for other in items[1:])


def join_links(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the component of each item that has a link.

    Args:
        first: One end of each link, uint64 [n].
        second: The other end of each link, uint64 [n].

    Returns:
        The distinct items in ascending order, uint64 [m], and the smallest item of the component of each, uint64 [m].
    """
    items, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    count = len(items)
    links = coo_array((np.ones(len(first), np.uint8), (places[: len(first)], places[len(first) :])), (count, count))
    number, labels = connected_components(links, directed=False)
    smallest = np.full(number, count, np.int64)
    np.minimum.at(smallest, labels, np.arange(count))
    return items, items[smallest[labels]]


class _CollectLinks(beam.CombineFn):
    """Links -> one byte string with the two ends of each link, as big-endian uint64s."""

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
    """Return (item, component) for each item that has a link."""
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
    """PTransform: (item, keys) -> (item, component); items with a common key are in one component, transitively.

    A component is named by 16 hex digits, the hash of one of its items. The name depends on items and keys alone. The
    probability that any two of n items have equal hashes by chance is n^2 / 2^65. Such a collision only joins
    components that could have been separate.
    """

    def expand(self, items: beam.PCollection[tuple[str, Iterable[str]]]) -> beam.PCollection[tuple[str, str]]:
        """Turn (item, keys) into (item, component name), one for each input element."""
        hashed = items | "Hash" >> beam.MapTuple(
            lambda item, keys: (
                (_as_bytes(stable_hash("item", item)), item),
                [_as_bytes(stable_hash("key", key)) for key in sorted(set(keys))],
            )
        )
        components = (
            hashed
            | "By key" >> beam.FlatMapTuple(lambda item, keys: [(key, item[0]) for key in keys])
            | "Items of key" >> PackedGroupByKey()
            | "Links" >> beam.FlatMap(_links)
            | "Collect" >> beam.CombineGlobally(_CollectLinks())
            | "Join" >> beam.FlatMap(_join)
        )
        names = hashed | "Names" >> beam.Keys()
        return (
            {"names": names, "components": components}
            | "Look up" >> PackedCoGroupByKey()
            | "Label" >> beam.FlatMap(_label)
        )
