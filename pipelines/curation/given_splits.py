"""Splits that are given: by a table, or by a finished dataset that keeps its own."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.beam.table_io import ReadTable
from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import in_line
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.manifest import MANIFEST_FILES, parquet_rows
from pipelines.dataset.reader import require_description
from pipelines.domain.dataset_json import SPLITS
from pipelines.domain.image_ids import image_id_of, isic_id_of
from pipelines.domain.metadata_columns import Columns
from pipelines.sources.metadata_tables import require_table, table_rows
from pipelines.storage import filesystem
from pipelines.storage.filesystem import read_bytes
from pipelines.storage.numbered_files import any_of

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


def _assign(element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow | beam.pvalue.TaggedOutput]:
    image, found = element
    splits = set(found["splits"])
    rows = list(found["images"])
    if not rows:
        yield beam.pvalue.TaggedOutput("problems", f"image {image!r} is not among the images")
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
            | "Join splits" >> beam.CoGroupByKey()
            | "Give" >> beam.FlatMap(_assign).with_outputs("problems", main="rows")
        )


_COLUMNS = ["id", "sha256", "split", "fold"]


class Assignment(NamedTuple):
    """Split and fold of an image."""

    split: str
    fold: int  # -1: none


def _count_manifest_rows(folder: str) -> int:
    """Count the rows in the files of the manifest; raise an error of some kind if one is damaged or missing."""
    paths = filesystem.match(filesystem.join(folder, any_of(MANIFEST_FILES)))
    if not all(path.endswith(f"-of-{len(paths):05d}.parquet") for path in paths):
        raise ValueError(f"{len(paths)} files")
    return sum(pq.ParquetFile(io.BytesIO(read_bytes(path))).read(_COLUMNS).num_rows for path in paths)


def require_dataset_splits(option: str, folder: str, folds: int) -> None:
    """Raise UsageError unless the dataset records what became of every file, and its folds, if any, can be kept.

    Args:
        option: The option that names the dataset, for messages.
        folder: The dataset.
        folds: The number of folds that the new run asks for; 0 for none.

    Raises:
        UsageError: If dataset.json or the manifest is missing, damaged or incomplete, or if the folds differ.
    """
    description = require_description(option, folder)
    recorded = description.options.get("folds", 0)
    if recorded and folds != recorded:
        raise UsageError(f"--folds {folds}: {folder} has {recorded}; name as many, or make a new dataset")
    try:
        rows = _count_manifest_rows(folder)
    except (OSError, ServiceUnavailable, pa.ArrowException, ValueError) as error:
        raise UsageError(f"{option} {folder}: its manifest is damaged; its splits are not to be had from it") from error
    listed = description.counts["listed"]
    if rows != listed:
        raise UsageError(f"{option} {folder}: its manifest has {rows} of {listed} rows; splits would be lost")


def read_assignments(path: str) -> Iterator[tuple[str, Assignment]]:
    """Read the split and fold of every image in a manifest file that has a split.

    Yields:
        Pairs of key and Assignment: one under the image's content hash and, if it has one, another under its ISIC id.
    """
    for row in parquet_rows(pq.ParquetFile(io.BytesIO(read_bytes(path))), _COLUMNS):
        if row["split"]:
            assignment = Assignment(row["split"], -1 if row["fold"] is None else row["fold"])
            yield row["sha256"], assignment
            if isic_id_of(row["id"]):
                yield isic_id_of(row["id"]), assignment


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
        found = by_content | "Join content" >> beam.CoGroupByKey() | "Give by content" >> beam.FlatMap(_keep_split)
        by_id = {
            # Other ids are file names, which mean nothing outside their source.
            "rows": found | "By ISIC id" >> beam.Map(lambda row: (isic_id_of(row.relative) or row.path, row)),
            "recorded": recorded,
        }
        return by_id | "Join ISIC id" >> beam.CoGroupByKey() | "Give by ISIC id" >> beam.FlatMap(_keep_split)
