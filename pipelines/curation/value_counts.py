"""Counts of the values of a row that a report lists: labels, licences, sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import apache_beam as beam

from pipelines.curation.folder_splits import split_of_name
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.labels import FOLDER, Claim
from pipelines.domain.metadata_columns import normalize_license
from pipelines.domain.taxonomy import normalize_term

NO_LICENSE = "unknown"
LICENSE = "license"

UNMAPPED_LABEL = "unmapped_label"

# Folders between a class and its images; their names say nothing.
_BETWEEN = frozenset({"images", "image", "imgs", "img", "data", "photos", "pictures", "jpg", "jpeg", "png"})


def _telling_label(claim: Claim) -> str:
    """Return the label of a claim that says most: its first; of folders the innermost that is more than a container."""
    if claim.source != FOLDER:
        return claim.labels[0]
    telling = (name for name in claim.labels if normalize_term(name) not in _BETWEEN and not split_of_name(name))
    return next(telling, claim.labels[0])


def values_of(row: ImageRow) -> Iterator[tuple[str, str]]:
    """Yield (kind, value) for what may take many values: sizes, licences, labels without a class."""
    if row.width:
        yield "size", f"{row.width} {row.height}"
    for name in {normalize_license(name) for name in row.licenses} or {NO_LICENSE}:
        yield LICENSE, name
    if row.reason == UNMAPPED_LABEL:
        claims = [claim for claim in row.claims if claim.labels]
        of_tables = [claim for claim in claims if claim.source != FOLDER]
        for label in {_telling_label(claim) for claim in of_tables or claims} or {""}:
            yield UNMAPPED_LABEL, label


# Number of sizes, licences and labels without a class: the most frequent of each.
VALUES = 40


class FrequentValues(beam.PTransform):
    """PTransform that finds the most frequent values of each kind; see `value_counts.values_of`."""

    def __init__(self, kinds: Collection[str] = ()):
        """Initialize the transform.

        Args:
            kinds: The kinds to count; empty for all.
        """
        super().__init__()
        self._kinds = kinds

    def _values(self, row: ImageRow) -> Iterator[tuple[str, str]]:
        return (found for found in values_of(row) if not self._kinds or found[0] in self._kinds)

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[tuple[str, list[tuple[str, int]]]]:
        """Return (kind, [(value, files)]) with the VALUES most frequent values first, ties ordered by name."""
        return (
            rows
            | "Values" >> beam.FlatMap(self._values)
            | "Count values" >> beam.combiners.Count.PerElement()
            | "By kind" >> beam.MapTuple(lambda kind_value, files: (kind_value[0], (-files, kind_value[1])))
            | "Most frequent" >> beam.combiners.Top.SmallestPerKey(VALUES)
            | "As counts" >> beam.MapTuple(lambda kind, found: (kind, [(value, -files) for files, value in found]))
        )
