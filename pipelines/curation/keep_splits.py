"""Give images the splits that a table or a finished dataset has for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam

from pipelines.beam.packed_groups import PackedCoGroupByKey
from pipelines.beam.table_io import ReadTable
from pipelines.curation.ambiguous_ids import meant_twice
from pipelines.curation.given_splits import read_splits
from pipelines.curation.recorded_splits import read_assignments
from pipelines.dataset.file_names import MANIFEST_FILES
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.image_ids import isic_id_of
from pipelines.domain.metadata_columns import Columns
from pipelines.storage import filesystem
from pipelines.storage.numbered_files import any_of


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


def _keep_split(element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow]:
    _, found = element
    assignment = min(found["recorded"], default=None)
    for row in found["rows"]:
        if assignment and not row.given_split:
            row = row._replace(given_split=assignment.split, given_fold=assignment.fold)
        yield row


class KeepDatasetSplits(beam.PTransform):
    """PTransform that gives the images of a recorded dataset their split and fold again.

    Images are found by content or by ISIC id.

    Args:
        folder: The recorded dataset.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Turn rows into the same rows, those of recorded images with `given_split` and `given_fold`."""
        manifest = filesystem.join(self._folder, any_of(MANIFEST_FILES))
        recorded = rows.pipeline | "Read assignments" >> ReadTable(manifest, read_assignments)
        by_content = {
            "rows": rows | "By content" >> beam.Map(lambda row: (row.sha256, row)),
            "recorded": recorded,
        }
        found = by_content | "Join content" >> PackedCoGroupByKey() | "Give by content" >> beam.FlatMap(_keep_split)
        by_id = {
            # Other ids are file names, which mean nothing outside their source.
            "rows": found | "By ISIC id" >> beam.Map(lambda row: (isic_id_of(row.relative) or row.path, row)),
            "recorded": recorded,
        }
        return by_id | "Join ISIC id" >> PackedCoGroupByKey() | "Give by ISIC id" >> beam.FlatMap(_keep_split)
