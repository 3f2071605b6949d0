"""Give images the splits that a table or a finished dataset has for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam

from pipelines.beam.packed_groups import PackedCoGroupByKey
from pipelines.curation.ambiguous_ids import meant_twice
from pipelines.curation.given_splits import read_splits
from pipelines.curation.recorded_splits import assignments_by_name
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.image_ids import isic_id_of
from pipelines.domain.metadata_columns import Columns


def _assign(element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow | beam.pvalue.TaggedOutput]:
    image, found = element
    splits = set(found["splits"])
    rows = list(found["images"])
    if not rows:
        yield beam.pvalue.TaggedOutput("problems", f"image {image!r} is not among the images")
    if splits and (wrong := meant_twice(image, rows)):
        yield beam.pvalue.TaggedOutput("problems", f"{wrong}; give one of them another name")
    if len(splits) > 1:
        yield beam.pvalue.TaggedOutput("problems", f"image {image!r} is in {' and '.join(sorted(splits))}")
    for row in rows:
        yield row._replace(given_split=min(splits)) if splits else row


class AssignSplitsFromFile(beam.PTransform):
    """PTransform that gives images the split that a table names.

    Args:
        path: The table.
        columns: The column names that options give.
    """

    def __init__(self, path: str, columns: Columns):
        super().__init__()
        self._path = path
        self._columns = columns

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.pvalue.DoOutputsTuple:
        """Turn rows into `rows`, with `given_split`, and `problems`, one line per id that cannot get its split."""
        splits = (
            rows.pipeline
            | "Splits file" >> beam.Create([self._path], reshuffle=False)
            | "Read splits" >> beam.FlatMap(read_splits, self._columns)
        )
        keyed = rows | "By image id" >> beam.Map(lambda row: (row.image_id, row))
        return (
            {"images": keyed, "splits": splits}
            | "Join splits" >> PackedCoGroupByKey()
            | "Give" >> beam.FlatMap(_assign).with_outputs("problems", main="rows")
        )


def _keep_split(element: tuple[str, dict[str, Iterable]], sides: Sequence[str]) -> Iterator[ImageRow]:
    _, found = element
    assignment = min(found["recorded"], key=lambda one: (sides.index(one.split), one.fold), default=None)
    for row in found["rows"]:
        if assignment and not row.given_split:
            row = row._replace(given_split=assignment.split, given_fold=assignment.fold)
        yield row


class KeepDatasetSplits(beam.PTransform):
    """PTransform: (rows, RecordedImages) -> the rows, those of recorded images with `given_split` and `given_fold`.

    Images are found by content or by ISIC id.

    Args:
        sides: The splits in order of preference, should an id have several.
    """

    def __init__(self, sides: Sequence[str]):
        super().__init__()
        self._sides = sides

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[ImageRow]:
        """Join by content, then by ISIC id."""
        rows, images = inputs
        recorded = images | "Assignments" >> beam.FlatMap(assignments_by_name)
        by_content = {
            "rows": rows | "By content" >> beam.Map(lambda row: (row.sha256, row)),
            "recorded": recorded,
        }
        found = (
            by_content
            | "Join content" >> PackedCoGroupByKey()
            | "Give by content" >> beam.FlatMap(_keep_split, self._sides)
        )
        by_id = {
            # Other ids are file names, which mean nothing outside their source.
            "rows": found | "By ISIC id" >> beam.Map(lambda row: (isic_id_of(row.relative) or row.path, row)),
            "recorded": recorded,
        }
        return (
            by_id | "Join ISIC id" >> PackedCoGroupByKey() | "Give by ISIC id" >> beam.FlatMap(_keep_split, self._sides)
        )
