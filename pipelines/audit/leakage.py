"""Find leakage across the split that an archive came with: groups of related images on more than one side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from pipelines.beam.components import ConnectedComponents
from pipelines.beam.packed_groups import PackedCoGroupByKey, PackedGroupByKey
from pipelines.common.text import printable
from pipelines.curation.deduplicate import ByComponent
from pipelines.curation.groups import group_keys, near_keys
from pipelines.dataset.image_row import ImageRow, Place, place_of
from pipelines.domain.dataset_json import SPLITS

# Reason for a group whose sides share no key directly.
_CHAIN = "a chain of such links"


class Linked(NamedTuple):
    """A readable file and the keys that link it to others."""

    sha256: str
    place: Place
    split: str  # given by the splits file or the folder; empty if neither names one
    keys: tuple[str, ...]  # see `links`


class LeakedGroup(NamedTuple):
    """A group of files on more than one side of a split."""

    group: str
    because: tuple[str, ...]  # what links the sides
    files: tuple[tuple[str, Place], ...]  # split and place of each file that names a split, sorted


def links(row: ImageRow, by_patient: bool) -> Linked:
    """Return a readable file with its link keys: bytes, ISIC id and lesions.

    Args:
        row: Row of a readable file.
        by_patient: Whether to add keys for its patients.
    """
    keys = [f"image:{row.sha256}", *group_keys(row, by_patient)]
    return Linked(row.sha256, place_of(row), row.given_split or row.folder_split, tuple(keys))


def _reason(key: str) -> str:
    kind, _, name = key.partition(":")
    if kind == "image":
        return "same image"
    return "near-duplicate" if kind == "near" else f"{kind} {name}"


def leak_of(group: str, files: Iterable[Linked]) -> LeakedGroup | None:
    """Return the group as a leak; None if its files name fewer than two splits.

    Args:
        group: Name of the group.
        files: Its files, in any order.
    """
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
    """Return a leak as audit.json and the list of leaks show it."""
    files: dict[str, list[str]] = {}
    for split, place in leak.files:
        files.setdefault(split, []).append(printable(place.path))
    return {"group": leak.group, "because": list(leak.because), "files": files}


def _with_near_keys(element: tuple[str, dict[str, Iterable]]) -> Iterator[Linked]:
    _, found = element
    near = tuple(sorted({key for keys in found["near"] for key in keys}))
    return (file._replace(keys=file.keys + near) for file in found["files"])


class FindLeakage(beam.PTransform):
    """PTransform that finds all groups whose files name more than one split.

    Unlike the groups of a new split, these include every readable file: duplicates too, and images rejected for their
    labels.
    """

    def __init__(self, by_patient: bool = False):
        """Initialize the transform.

        Args:
            by_patient: Whether images of one patient belong to one group.
        """
        super().__init__()
        self._by_patient = by_patient

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[LeakedGroup]:
        """Find the leaked groups.

        Args:
            inputs: Rows of readable files; NearPairs of their content hashes.

        Returns:
            LeakedGroups.
        """
        rows, pairs = inputs
        files = rows | "Links" >> beam.Map(links, self._by_patient)
        near = pairs | "Near keys" >> beam.FlatMap(near_keys)
        linked = (
            {"files": files | "By content" >> beam.Map(lambda file: (file.sha256, file)), "near": near}
            | "Join near" >> PackedCoGroupByKey()
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
            | "Groups" >> PackedGroupByKey()
            | "Leak" >> beam.MapTuple(leak_of)
            | "Leaks" >> beam.Filter(lambda leak: leak is not None)
        )
