"""Groups of images on two sides of a split that the archive came with: what one knows of the other is leaked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from pipelines.components import ConnectedComponents
from pipelines.groups import group_keys, near_keys
from pipelines.identity import ByComponent
from pipelines.rows import SPLITS, ImageRow, Place, place_of
from pipelines.storage import printable

# What joins two sides when nothing does so directly.
_CHAIN = "a chain of such links"


class Linked(NamedTuple):
    """A file that can be read. split: the one that its folder or the splits file names, or empty; keys: see `links`."""

    sha256: str
    place: Place
    split: str
    keys: tuple[str, ...]


class LeakedGroup(NamedTuple):
    """A group on two sides. because: what joins the sides; files: split and place of each, sorted."""

    group: str
    because: tuple[str, ...]
    files: tuple[tuple[str, Place], ...]


def links(row: ImageRow, by_patient: bool) -> Linked:
    """What ties a file to others: its bytes, its ISIC id, its lesions, on request its patients."""
    keys = [f"image:{row.sha256}", *group_keys(row, by_patient)]
    return Linked(row.sha256, place_of(row), row.given_split or row.folder_split, tuple(keys))


def _reason(key: str) -> str:
    kind, _, name = key.partition(":")
    if kind == "image":
        return "same image"
    return "near-duplicate" if kind == "near" else f"{kind} {name}"


def leak_of(group: str, files: Iterable[Linked]) -> LeakedGroup | None:
    """The group as a leak, or None when its files name fewer than two splits; their order does not matter."""
    files = list(files)
    if len({file.split for file in files} - {""}) < 2:
        return None
    sides = defaultdict(set)
    for file in files:
        for key in file.keys:
            sides[key].add(file.split)
    because = {_reason(key) for key, splits in sides.items() if len(splits - {""}) > 1}
    named = [(file.split, file.place) for file in files if file.split]
    named.sort(key=lambda entry: (SPLITS.index(entry[0]), entry[1].relative, entry[1].path))
    return LeakedGroup(group, tuple(sorted(because or {_CHAIN})), tuple(named))


def leak_json(leak: LeakedGroup) -> dict:
    """A leak as the report and the list of leaks show it."""
    files: dict[str, list[str]] = {}
    for split, place in leak.files:
        files.setdefault(split, []).append(printable(place.path))
    return {"group": leak.group, "because": list(leak.because), "files": files}


def _with_near_keys(element: tuple[str, dict[str, Iterable]]) -> Iterator[Linked]:
    _, found = element
    near = tuple(sorted({key for keys in found["near"] for key in keys}))
    return (file._replace(keys=file.keys + near) for file in found["files"])


class FindLeakage(beam.PTransform):
    """Rows of readable files, and NearPairs -> LeakedGroup of every group whose files name more than one split.

    Unlike the groups of a split, these hold every file: duplicates, and images rejected for their labels.
    """

    def __init__(self, by_patient: bool = False):
        super().__init__()
        self._by_patient = by_patient

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[LeakedGroup]:
        rows, pairs = inputs
        files = rows | "Links" >> beam.Map(links, self._by_patient)
        near = pairs | "Near keys" >> beam.FlatMap(near_keys)
        linked = (
            {"files": files | "By content" >> beam.Map(lambda file: (file.sha256, file)), "near": near}
            | "Join near" >> beam.CoGroupByKey()
            | "With near keys" >> beam.FlatMap(_with_near_keys)
        )
        components = (
            linked
            | "Keys" >> beam.Map(lambda file: (file.sha256, list(file.keys)))
            | "Components" >> ConnectedComponents()
        )
        return (
            (linked, components)
            | "By group" >> ByComponent()
            | "Groups" >> beam.GroupByKey()
            | "Leak" >> beam.MapTuple(leak_of)
            | "Leaks" >> beam.Filter(lambda leak: leak is not None)
        )
