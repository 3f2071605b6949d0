"""Read the files of a finished dataset, strictly: the folder's listing, dataset.json, the manifest and the rejects."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import output, storage
from pipelines.cli import CheckFailed, UsageError
from pipelines.dataset_schema import schema_problem
from pipelines.rows import ImageRow
from pipelines.storage import failure
from pipelines.tables import LIST_SEPARATOR, MANIFEST_SCHEMA

MARKER = "dataset.json"
_ROWS_AT_ONCE = 10_000
_NUMBERED = re.compile(r"(manifest|rejects)-(\d{5})-of-(\d{5})\.(?:parquet|jsonl)")


class Dataset(NamedTuple):
    """A finished dataset."""

    folder: str
    description: Mapping[str, Any]  # content of dataset.json
    names: frozenset[str]  # every file in the folder, as a path relative to it

    def read(self, name: str) -> bytes:
        """Read a whole file of the dataset.

        Args:
            name: The path of the file, relative to the folder.

        Raises:
            CheckFailed: The file is missing or cannot be read.
        """
        if name not in self.names:
            raise CheckFailed(f"{name} is missing")
        try:
            return storage.read_bytes(storage.join(self.folder, name))
        except Exception as error:  # each filesystem raises its own kinds
            raise CheckFailed(f"{name}: cannot be read: {failure(error)}") from error


def open_dataset(folder: str, option: str) -> Dataset:
    """Open a finished dataset and validate its dataset.json against the schema.

    Args:
        folder: The folder of the dataset; local or gs://.
        option: The command-line option that names the folder, for error messages.

    Raises:
        UsageError: The folder has no finished dataset, or cannot be listed.
        CheckFailed: dataset.json cannot be read, is not JSON, or violates the schema.
    """
    where = f"{option} {folder}"
    try:
        names = frozenset(storage.list_tree(folder))
    except Exception as error:  # each filesystem raises its own kinds
        raise UsageError(f"{where}: cannot be read: {failure(error)}") from error
    if not names:
        raise UsageError(f"{where}: no such folder, or nothing in it; name one that python -m pipelines.prepare wrote")
    if MARKER not in names:
        if any(name.startswith(f"{output.TEMPORARY}/") for name in names):
            raise UsageError(f"{where}: unfinished; the prepare command that began it, given again, finishes it")
        raise UsageError(f"{where}: no dataset (no {MARKER}); name a folder that python -m pipelines.prepare wrote")
    dataset = Dataset(folder, {}, names)
    try:
        description = json.loads(dataset.read(MARKER))
    except ValueError as error:
        raise CheckFailed(f"{MARKER}: is no JSON ({error})") from error
    if problem := schema_problem(description):
        raise CheckFailed(f"{MARKER}: {problem}")
    return dataset._replace(description=description)


def numbered_files(dataset: Dataset, kind: str) -> list[str]:
    """Return the names of the numbered files of one kind, in order.

    Args:
        dataset: The dataset.
        kind: "manifest" or "rejects".

    Raises:
        CheckFailed: A file is missing, or does not belong to the set.
    """
    found = {name: match for name in dataset.names if (match := _NUMBERED.fullmatch(name)) and match[1] == kind}
    extension = "parquet" if kind == "manifest" else "jsonl"
    count = max((int(match[3]) for match in found.values()), default=1)
    expected = [f"{kind}-{index:05d}-of-{count:05d}.{extension}" for index in range(count)]
    for name in sorted(found.keys() ^ set(expected)):
        raise CheckFailed(f"{name} is missing" if name in expected else f"{name}: is none of the {count} {kind} files")
    return expected


def _row_of(values: Mapping[str, Any]) -> ImageRow:
    """Convert a row of the manifest to an ImageRow (the inverse of `tables.manifest_row`)."""

    def names(key: str) -> tuple[str, ...]:
        return tuple(values[key].split(LIST_SEPARATOR)) if values[key] else ()

    return ImageRow(
        path=values["path"],
        relative="",
        image_id=values["id"],
        sha256=values["sha256"] or "",
        label=values["label"] or "",
        lesion_ids=names("lesion_id"),
        group_id=values["group_id"] or "",
        split=values["split"] or "",
        fold=-1 if values["fold"] is None else values["fold"],
        outcome=values["outcome"],
        reason=values["reason"] or "",
        copies=values["copies"],
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
    for name in numbered_files(dataset, "manifest"):
        try:
            file = pq.ParquetFile(io.BytesIO(dataset.read(name)))
            if not file.schema_arrow.equals(MANIFEST_SCHEMA):
                raise CheckFailed(f"{name}: its columns are not those of a manifest")
            index = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                for values in batch.to_pylist():
                    yield f"{name}: row {index} ({values['id']})", _row_of(values)
                    index += 1
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CheckFailed(f"{name}: is damaged: {str(error).splitlines()[0]}") from error


def reject_lines(dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    """Read the lines of the rejects files.

    Args:
        dataset: The dataset.

    Yields:
        (how messages refer to the line, path, reason) for every file without a record.

    Raises:
        CheckFailed: A rejects file is missing, or a line is not JSON with a path and a reason.
    """
    for name in numbered_files(dataset, "rejects"):
        for index, line in enumerate(dataset.read(name).splitlines()):
            where = f"{name}: line {index + 1}"
            try:
                values = json.loads(line)
                yield where, values["path"], values["reason"]
            except (ValueError, KeyError, TypeError) as error:
                raise CheckFailed(f"{where}: is no JSON with path and reason") from error
