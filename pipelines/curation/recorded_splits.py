"""Splits and folds that a finished dataset has recorded in its manifest."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.dataset.description_reader import require_description
from pipelines.dataset.file_names import MANIFEST_FILES
from pipelines.dataset.manifest import parquet_rows
from pipelines.domain.image_ids import isic_id_of
from pipelines.storage import filesystem
from pipelines.storage.filesystem import read_bytes
from pipelines.storage.numbered_files import any_of

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
    listed = sum(description.counts[name] for name in ("written", "duplicates", "rejected", "undersampled"))
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
