"""A finished dataset that another run builds on: its splits are kept, and what it knows of images is used again."""

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
    """The split of an image, and its fold or -1."""

    split: str
    fold: int


def read_description(option: str, folder: str) -> dict[str, Any]:
    """The dataset.json of a finished dataset. Raises UsageError when there is none of this version."""
    try:
        content = storage.read_if_exists(storage.join(folder, MARKER))
        description = json.loads(content) if content is not None else None
    except Exception as error:  # each filesystem raises its own kinds
        raise UsageError(f"{option} {folder}: {MARKER} cannot be read ({error.__class__.__name__})") from error
    if description is None:
        raise UsageError(f"{option} {folder}: holds no finished dataset (no {MARKER})")
    if not isinstance(description, dict) or description.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(f"{option} {folder}: was made by another version; leave the option out")
    return description


def _manifest_rows(folder: str) -> int:
    """How many rows the manifest's files have. Raises an error of some kind when one is damaged or missing."""
    paths = storage.match(storage.join(folder, "manifest-*.parquet"))
    if not all(path.endswith(f"-of-{len(paths):05d}.parquet") for path in paths):
        raise ValueError(f"{len(paths)} files")
    return sum(pq.ParquetFile(io.BytesIO(read_bytes(path))).read(_COLUMNS).num_rows for path in paths)


def require_recorded(option: str, folder: str, folds: int) -> None:
    """Raise UsageError unless the dataset says of every file what became of it, and its folds, if any, can be kept."""
    description = read_description(option, folder)
    recorded = description.get("options", {}).get("folds", 0)
    if recorded and folds != recorded:
        raise UsageError(f"--folds {folds}: {folder} has {recorded}; name as many, or make a new dataset")
    try:
        rows = _manifest_rows(folder)
    except Exception as error:  # each filesystem raises its own kinds, and Parquet its own
        raise UsageError(f"{option} {folder}: its manifest is damaged; its splits are not to be had from it") from error
    listed = description["counts"]["listed"]
    if rows != listed:
        raise UsageError(f"{option} {folder}: its manifest has {rows} of {listed} rows; splits would be lost")


def same_versions(description: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    """Whether the dataset was made with these versions; it may name more."""
    return versions.items() <= description.get("versions", {}).items()


def same_pixels(description: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether records of the dataset hold what a run with these settings would write of the same image and copy."""
    names = ("image_size", "aspect", "encoding", "seed", "versions")
    return all(description.get(name) == settings.get(name) for name in names)


def is_seekable(description: Mapping[str, Any]) -> bool:
    """Whether single records can be read from the dataset's shards."""
    return description.get("compression", "none") == "none"


def read_assignments(path: str) -> Iterator[tuple[str, Assignment]]:
    """(key, Assignment) of every image of a manifest that has a split, under its content hash and under its ISIC id."""
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
    """Rows -> the same rows, those of the dataset's images with its split and fold: found by content, or by ISIC id."""

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        manifest = storage.join(self._folder, "manifest-*.parquet")
        recorded = rows.pipeline | "Read assignments" >> ReadTable(manifest, read_assignments)
        by_content = {
            "rows": rows | "By content" >> beam.Map(lambda row: (row.sha256, row)),
            "recorded": recorded,
        }
        found = by_content | "Join content" >> beam.CoGroupByKey() | "Give by content" >> beam.FlatMap(_give)
        by_id = {
            # Other ids are names of files, which say nothing beyond their source.
            "rows": found | "By ISIC id" >> beam.Map(lambda row: (isic_id_of(row.relative) or row.path, row)),
            "recorded": recorded,
        }
        return by_id | "Join ISIC id" >> beam.CoGroupByKey() | "Give by ISIC id" >> beam.FlatMap(_give)
