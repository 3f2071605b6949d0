"""Read a finished dataset that another run builds on, to keep its splits and reuse what it knows of images."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.account import SCHEMA_VERSION
from pipelines.cli import UsageError
from pipelines.image_names import isic_id_of
from pipelines.rows import ImageRow
from pipelines.sources import read_bytes
from pipelines.tables import ReadTable

MARKER = "dataset.json"
_COLUMNS = ["id", "sha256", "split", "fold"]


class Assignment(NamedTuple):
    """Split and fold of an image."""

    split: str
    fold: int  # -1: none


def read_description(option: str, folder: str) -> dict[str, Any]:
    """Return the dataset.json of a finished dataset.

    Args:
        option: The option that names the dataset, for messages.
        folder: The dataset.

    Raises:
        UsageError: If there is no readable dataset.json of this version.
    """
    try:
        content = storage.read_if_exists(storage.join(folder, MARKER))
        description = json.loads(content) if content is not None else None
    except Exception as error:  # each filesystem raises its own errors
        raise UsageError(f"{option} {folder}: {MARKER} cannot be read ({error.__class__.__name__})") from error
    if description is None:
        raise UsageError(f"{option} {folder}: holds no finished dataset (no {MARKER})")
    if not isinstance(description, dict) or description.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(f"{option} {folder}: was made by another version; leave the option out")
    return description


def _manifest_rows(folder: str) -> int:
    """Count the rows in the files of the manifest; raise an error of some kind if one is damaged or missing."""
    paths = storage.match(storage.join(folder, "manifest-*.parquet"))
    if not all(path.endswith(f"-of-{len(paths):05d}.parquet") for path in paths):
        raise ValueError(f"{len(paths)} files")
    return sum(pq.ParquetFile(io.BytesIO(read_bytes(path))).read(_COLUMNS).num_rows for path in paths)


def require_recorded(option: str, folder: str, folds: int) -> None:
    """Raise UsageError unless the dataset records what became of every file, and its folds, if any, can be kept.

    Args:
        option: The option that names the dataset, for messages.
        folder: The dataset.
        folds: The number of folds that the new run asks for; 0 for none.

    Raises:
        UsageError: If dataset.json or the manifest is missing, damaged or incomplete, or if the folds differ.
    """
    description = read_description(option, folder)
    recorded = description.get("options", {}).get("folds", 0)
    if recorded and folds != recorded:
        raise UsageError(f"--folds {folds}: {folder} has {recorded}; name as many, or make a new dataset")
    try:
        rows = _manifest_rows(folder)
    except Exception as error:  # each filesystem raises its own errors, and so does Parquet
        raise UsageError(f"{option} {folder}: its manifest is damaged; its splits are not to be had from it") from error
    listed = description["counts"]["listed"]
    if rows != listed:
        raise UsageError(f"{option} {folder}: its manifest has {rows} of {listed} rows; splits would be lost")


def same_versions(description: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    """Return whether the dataset was made with these versions; it may name more."""
    return versions.items() <= description.get("versions", {}).items()


def same_pixels(description: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Return whether records of the dataset hold what these settings would write for the same image and copy."""
    names = ("image_size", "aspect", "encoding", "seed", "versions")
    return all(description.get(name) == settings.get(name) for name in names)


def is_seekable(description: Mapping[str, Any]) -> bool:
    """Return whether single records can be read from the dataset's shards."""
    return description.get("compression", "none") == "none"


def read_assignments(path: str) -> Iterator[tuple[str, Assignment]]:
    """Read the split and fold of every image in a manifest file that has a split.

    Yields:
        Pairs of key and Assignment: one under the image's content hash and, if it has one, another under its ISIC id.
    """
    table = pq.ParquetFile(io.BytesIO(read_bytes(path)))
    for batch in table.iter_batches(batch_size=8192, columns=_COLUMNS):
        for row in batch.to_pylist():
            if row["split"]:
                assignment = Assignment(row["split"], -1 if row["fold"] is None else row["fold"])
                yield row["sha256"], assignment
                if isic_id_of(row["id"]):
                    yield isic_id_of(row["id"]), assignment


def _give(element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow]:
    _, found = element
    assignment = min(found["recorded"], default=None)
    for row in found["rows"]:
        if assignment and not row.given_split:
            row = row._replace(given_split=assignment.split, given_fold=assignment.fold)
        yield row


class GiveRecorded(beam.PTransform):
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
        manifest = storage.join(self._folder, "manifest-*.parquet")
        recorded = rows.pipeline | "Read assignments" >> ReadTable(manifest, read_assignments)
        by_content = {
            "rows": rows | "By content" >> beam.Map(lambda row: (row.sha256, row)),
            "recorded": recorded,
        }
        found = by_content | "Join content" >> beam.CoGroupByKey() | "Give by content" >> beam.FlatMap(_give)
        by_id = {
            # Other ids are file names, which mean nothing outside their source.
            "rows": found | "By ISIC id" >> beam.Map(lambda row: (isic_id_of(row.relative) or row.path, row)),
            "recorded": recorded,
        }
        return by_id | "Join ISIC id" >> beam.CoGroupByKey() | "Give by ISIC id" >> beam.FlatMap(_give)
