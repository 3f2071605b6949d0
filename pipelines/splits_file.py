"""Read a table that gives images their split, and apply it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam

from pipelines.cli import UsageError
from pipelines.csv_tables import in_line
from pipelines.image_names import image_id_of
from pipelines.metadata import require_table, table_rows
from pipelines.rows import SPLITS, ImageRow
from pipelines.table_columns import Columns

SPLIT_COLUMN = "split"


def read_splits(path: str, columns: Columns) -> Iterator[tuple[str, str]]:
    """Read the table.

    Yields:
        The image id and the split of every row that has an id.
    """
    for row in table_rows(path):
        image = (row.get(columns.among(row).id_column(row) or "") or "").strip()
        if image:
            yield image_id_of(image), (row.get(SPLIT_COLUMN) or "").strip().lower()


def require_splits(path: str, columns: Columns) -> list[str]:
    """Return the columns of the file.

    Args:
        path: The file that --splits_file names.
        columns: The column names that options give.

    Raises:
        UsageError: Unless it is a CSV with image ids and known split names.
    """
    names = require_table("--splits_file", path)
    if columns.among(names).id_column(names) is None or SPLIT_COLUMN not in names:
        raise UsageError(f"--splits_file {path}: needs an image id column and {SPLIT_COLUMN}; it has {in_line(names)}")
    for image, split in read_splits(path, columns):
        if split not in SPLITS:
            raise UsageError(f"--splits_file {path}: {image} has split {split!r}; {', '.join(SPLITS)} are known")
    return names


def _give(element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow | beam.pvalue.TaggedOutput]:
    image, found = element
    splits = set(found["splits"])
    rows = list(found["images"])
    if not rows:
        yield beam.pvalue.TaggedOutput("problems", f"image {image!r} is not among the images")
    if len(splits) > 1:
        yield beam.pvalue.TaggedOutput("problems", f"image {image!r} is in {' and '.join(sorted(splits))}")
    for row in rows:
        yield row._replace(given_split=min(splits)) if splits else row


class GiveSplits(beam.PTransform):
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
            | "Join splits" >> beam.CoGroupByKey()
            | "Give" >> beam.FlatMap(_give).with_outputs("problems", main="rows")
        )
