"""Splits and folds that a finished dataset has recorded: of its images in the manifest, of earlier ones beside it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.dataset.description_reader import require_description
from pipelines.dataset.file_names import MANIFEST_FILES, PAST_FILES
from pipelines.dataset.manifest import LIST_SEPARATOR, PAST_SCHEMA, parquet_bytes, parquet_rows
from pipelines.domain.dataset_json import DatasetDescription
from pipelines.domain.image_ids import isic_id_of
from pipelines.storage import filesystem
from pipelines.storage.filesystem import read_bytes
from pipelines.storage.numbered_files import any_of


class Assignment(NamedTuple):
    """Split and fold of an image."""

    split: str
    fold: int  # -1: none


class RecordedImage(NamedTuple):
    """An image that a dataset has, or had once, and what decides which others belong to it."""

    sha256: str
    image_id: str
    lesion_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    assignment: Assignment


def _count_rows(folder: str, files: str) -> int:
    """Count the rows in numbered Parquet files; raise an error of some kind if one is damaged or missing."""
    paths = filesystem.match(filesystem.join(folder, any_of(files)))
    if not all(path.endswith(f"-of-{len(paths):05d}.parquet") for path in paths):
        raise ValueError(f"{len(paths)} files")
    return sum(pq.ParquetFile(io.BytesIO(read_bytes(path))).read(PAST_SCHEMA.names).num_rows for path in paths)


def require_folds(option: str, folder: str, description: DatasetDescription, folds: int) -> None:
    """Raise UsageError if a dataset has folds that a run with another number of folds could not keep.

    Args:
        option: The option that names the dataset, for messages.
        folder: The dataset.
        description: Its dataset.json.
        folds: The number of folds that the new run asks for; 0 for none.
    """
    recorded = description.options.get("folds", 0)
    if recorded and folds != recorded:
        raise UsageError(f"--folds {folds}: {option} {folder} has {recorded}; name as many, or make a new dataset")


def require_dataset_splits(option: str, folder: str, folds: int) -> None:
    """Raise UsageError unless the dataset records what became of every file, and its folds, if any, can be kept.

    Args:
        option: The option that names the dataset, for messages.
        folder: The dataset.
        folds: The number of folds that the new run asks for; 0 for none.

    Raises:
        UsageError: If dataset.json or a table is missing, damaged or incomplete, or if the folds differ.
    """
    description = require_description(option, folder)
    require_folds(option, folder, description, folds)
    try:
        rows = _count_rows(folder, MANIFEST_FILES)
        _count_rows(folder, PAST_FILES)
    except (OSError, ServiceUnavailable, pa.ArrowException, ValueError) as error:
        raise UsageError(f"{option} {folder}: its manifest is damaged; its splits are not to be had from it") from error
    listed = sum(description.counts[name] for name in ("written", "duplicates", "rejected", "undersampled"))
    if rows != listed:
        raise UsageError(f"{option} {folder}: its manifest has {rows} of {listed} rows; splits would be lost")


def read_recorded(path: str) -> Iterator[RecordedImage]:
    """Read the images in a file of the manifest or of past images that have a split."""
    for row in parquet_rows(pq.ParquetFile(io.BytesIO(read_bytes(path))), PAST_SCHEMA.names):
        if row["split"]:
            lesions, patients = (
                tuple(row[name].split(LIST_SEPARATOR)) if row[name] else () for name in ("lesion_id", "patient_id")
            )
            assignment = Assignment(row["split"], -1 if row["fold"] is None else row["fold"])
            yield RecordedImage(row["sha256"], row["id"], lesions, patients, assignment)


def assignments_by_name(image: RecordedImage) -> Iterator[tuple[str, Assignment]]:
    """Yield the names of a recorded image, its content hash and its ISIC id if it has one, each with its assignment."""
    yield image.sha256, image.assignment
    if isic_id := isic_id_of(image.image_id):
        yield isic_id, image.assignment


def past_bytes(images: Iterable[RecordedImage]) -> bytes:
    """Return a file of past images as Parquet."""
    return parquet_bytes(
        (
            {
                "id": image.image_id,
                "sha256": image.sha256,
                "lesion_id": LIST_SEPARATOR.join(image.lesion_ids) or None,
                "patient_id": LIST_SEPARATOR.join(image.patient_ids) or None,
                "split": image.assignment.split,
                "fold": image.assignment.fold if image.assignment.fold >= 0 else None,
            }
            for image in images
        ),
        PAST_SCHEMA,
    )


def by_content(image: RecordedImage) -> tuple[str]:
    """Return the sort key of a past image in its table; no two share one."""
    return (image.sha256,)
