"""Groups that no split may cut: photographs of one lesion, on request of one patient, and near-duplicates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import apache_beam as beam

from pipelines.components import ConnectedComponents
from pipelines.identity import ByComponent, image_keys
from pipelines.near_duplicates import FindNearDuplicates, NearPair
from pipelines.rows import ImageRow


def group_keys(row: ImageRow, by_patient: bool) -> list[str]:
    """What puts an image in one group with others."""
    keys = [f"image:{key}" for key in image_keys(row)] + [f"lesion:{lesion}" for lesion in row.lesion_ids]
    return keys + [f"patient:{patient}" for patient in row.patient_ids if by_patient]


class Near(NamedTuple):
    """rows: one of each image, without what the search needed; pairs: NearPair of their content hashes; counts: one
    {pairs, skipped}."""

    rows: beam.PCollection
    pairs: beam.PCollection
    counts: beam.PCollection


class FindNear(beam.PTransform):
    """Rows that have been resolved -> Near: which images show one photograph under several ids (see `near_duplicates`).

    Images that were rejected, for their labels or licences, count: what they link belongs together all the same.
    skipped: comparisons that the limits of the search left out.
    """

    def expand(self, resolved: beam.PCollection[ImageRow]) -> Near:
        rows = resolved | "One of each image" >> beam.Filter(lambda row: row.path == row.image_of)
        pictures = rows | "Pictures" >> beam.Map(lambda row: (row.sha256, row.phash, row.thumbnail))
        pairs, skipped = pictures | "Find" >> FindNearDuplicates()
        counts = (
            rows.pipeline
            | "Once" >> beam.Create([None])
            | "Counts"
            >> beam.Map(
                lambda _, found, left_out: {"pairs": found, "skipped": left_out},
                beam.pvalue.AsSingleton(pairs | "Count pairs" >> beam.combiners.Count.Globally()),
                beam.pvalue.AsSingleton(
                    skipped
                    | "Skips" >> beam.Map(lambda bucket: bucket.skipped)
                    | "Sum skips" >> beam.CombineGlobally(sum)
                ),
            )
        )
        return Near(
            rows | "Leave thumbnails" >> beam.Map(lambda row: row._replace(thumbnail=b"")),
            pairs,
            counts,
        )


def near_keys(pair: NearPair) -> list[tuple[str, list[str]]]:
    """(content hash, what puts it in one group with the other) of either picture."""
    key = f"near:{pair.first}:{pair.second}"
    return [(pair.first, [key]), (pair.second, [key])]


class AssignGroups(beam.PTransform):
    """Rows of distinct images, NearPairs of content hashes, all rows that have been resolved -> the first, with
    `group_id`.

    A group is a connected component over content, ISIC ids, lesion ids, patient ids (`by_patient`) and pairs. An image
    without any is a group of its own. Rows that were rejected link the others: that a lesion has two ids, or that two
    photographs show one lesion, stays true.
    """

    def __init__(self, by_patient: bool = False):
        super().__init__()
        self._by_patient = by_patient

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.PCollection[ImageRow]:
        rows, pairs, resolved = inputs
        keys = resolved | "Group keys" >> beam.Map(
            lambda row, patient: (row.sha256, group_keys(row, patient)), self._by_patient
        )
        near = pairs | "Pair keys" >> beam.FlatMap(near_keys)
        components = (
            (keys, near)
            | "All keys" >> beam.Flatten()
            | "Keys of image" >> beam.CombinePerKey(_Concatenate())
            | "Groups" >> ConnectedComponents()
        )
        return (
            (rows, components)
            | "By group" >> ByComponent()
            | "With group" >> beam.MapTuple(lambda group, row: row._replace(group_id=group))
        )


class _Concatenate(beam.CombineFn):
    def create_accumulator(self) -> list[str]:
        return []

    def add_input(self, keys: list[str], more: Iterable[str]) -> list[str]:
        return [*keys, *more]

    def merge_accumulators(self, accumulators: Iterable[list[str]]) -> list[str]:
        return [key for keys in accumulators for key in keys]

    def extract_output(self, keys: list[str]) -> list[str]:
        return keys
