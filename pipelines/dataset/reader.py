"""Read the manifest and the rejects of a finished dataset."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common.cli import CheckFailed, first_line
from pipelines.dataset.file_names import MANIFEST_FILES, PAST_FILES, REJECTS_FILES
from pipelines.dataset.finished import Dataset
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.manifest import (
    LIST_SEPARATOR,
    MANIFEST_SCHEMA,
    PAST_SCHEMA,
    parquet_rows,
)
from pipelines.storage import filesystem
from pipelines.storage.numbered_files import named_like, names_of


def read_manifest(folder: str) -> Iterator[dict[str, Any]]:
    """Read the rows of the manifest, in order.

    Args:
        folder: The folder of the dataset; local or gs://.

    Yields:
        Column name -> value.
    """
    for name in named_like(MANIFEST_FILES, filesystem.list_tree(folder)):
        with filesystem.open_file(filesystem.join(folder, name)) as file:
            yield from parquet_rows(pq.ParquetFile(file))


def _require_all(dataset: Dataset, pattern: str, kind: str) -> list[str]:
    """Return the names of the numbered files of a table, in order.

    Args:
        dataset: The dataset.
        pattern: The pattern of their names.
        kind: What messages call them.

    Raises:
        CheckFailed: A file is missing, or does not belong to the set.
    """
    found = named_like(pattern, dataset.names)
    expected = names_of(pattern, max(found.values(), default=1))
    for name in sorted(found.keys() ^ set(expected)):
        missing = name in expected
        raise CheckFailed(f"{name} is missing" if missing else f"{name}: is none of the {len(expected)} {kind} files")
    return expected


def _row_of(values: Mapping[str, Any]) -> ImageRow:
    """Convert a row of the manifest to an ImageRow (the inverse of `manifest.manifest_row`)."""

    def names(key: str) -> tuple[str, ...]:
        return tuple(values[key].split(LIST_SEPARATOR)) if values[key] else ()

    return ImageRow(
        path=values["path"],
        relative="",
        image_id=values["id"],
        sha256=values["sha256"] or "",
        format=values["format"] or "",
        width=values["width"] or 0,
        height=values["height"] or 0,
        phash=int(values["phash"] or "0", 16),
        label=values["label"] or "",
        lesion_ids=names("lesion_id"),
        group_id=values["group_id"] or "",
        split=values["split"] or "",
        fold=-1 if values["fold"] is None else values["fold"],
        outcome=values["outcome"],
        reason=values["reason"] or "",
        copies=values["copies"],
        correction=values["correction"] or "",
        old_label=values["old_label"] or "",
    )


def manifest_rows(dataset: Dataset) -> Iterator[tuple[str, ImageRow]]:
    """Read the rows of the manifest.

    Args:
        dataset: The dataset.

    Yields:
        (how messages refer to the row, the row) for every listed file, in the order of the manifest.

    Raises:
        CheckFailed: A file of the manifest is missing or damaged, or has other columns.
    """
    for name in _require_all(dataset, MANIFEST_FILES, "manifest"):
        for where, values in _rows(dataset, name, MANIFEST_SCHEMA, "a manifest"):
            yield where, _row_of(values)


def _rows(dataset: Dataset, name: str, schema: pa.Schema, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        file = pq.ParquetFile(io.BytesIO(dataset.read(name)))
        if not file.schema_arrow.equals(schema):
            raise CheckFailed(f"{name}: its columns are not those of {kind}")
        for index, values in enumerate(parquet_rows(file)):
            yield f"{name}: row {index} ({values['id']})", values
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CheckFailed(f"{name}: is damaged: {first_line(error)}") from error


def past_rows(dataset: Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the images that the dataset had once; one that was made at once has none.

    Args:
        dataset: The dataset.

    Yields:
        (how messages refer to the row, column name -> value) for every image.

    Raises:
        CheckFailed: A file is missing or damaged, or has other columns.
    """
    if named_like(PAST_FILES, dataset.names):
        for name in _require_all(dataset, PAST_FILES, "past images"):
            yield from _rows(dataset, name, PAST_SCHEMA, "past images")


def reject_lines(dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    """Read the lines of the rejects files.

    Args:
        dataset: The dataset.

    Yields:
        (how messages refer to the line, path, reason) for every file without a record.

    Raises:
        CheckFailed: A rejects file is missing, or a line is not JSON with a path and a reason.
    """
    for name in _require_all(dataset, REJECTS_FILES, "rejects"):
        for index, line in enumerate(dataset.read(name).splitlines()):
            where = f"{name}: line {index + 1}"
            try:
                values = json.loads(line)
                yield where, values["path"], values["reason"]
            except (ValueError, KeyError, TypeError) as error:
                raise CheckFailed(f"{where}: is no JSON with path and reason") from error
