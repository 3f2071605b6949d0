"""Read a finished dataset: its description, manifest, rejects and records."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common.cli import CheckFailed, UsageError, first_line
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.dataset.description_schema import schema_problem
from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.manifest import (
    LIST_SEPARATOR,
    MANIFEST_FILES,
    MANIFEST_SCHEMA,
    REJECTS_FILES,
    parquet_rows,
)
from pipelines.dataset.tfrecord import DamagedRecord, open_shard, read_records
from pipelines.domain.dataset_json import DATASET_JSON, DatasetDescription, description_of, require_version
from pipelines.imaging import images
from pipelines.storage import filesystem, output
from pipelines.storage.errors import StorageError
from pipelines.storage.numbered_files import named_like, names_of


class DamagedShard(Exception):  # noqa: N818  the name says what it is
    """A damaged shard, or one with missing records; the message says where."""


class StoredImage(NamedTuple):
    """One record and its position."""

    shard: str
    position: int  # of the record in the shard, from 0
    sha256: str  # of the source file, hexadecimal
    image_id: str
    label: int
    class_name: str
    fold: int  # -1 for none
    copy: int  # 0 for the original
    format: str  # encoding of the image: `image/format`
    height: int
    width: int
    encoded: bytes

    def pixels(self) -> np.ndarray:
        """Return the stored pixels.

        Returns:
            Array of uint8 [height, width, 3].

        Raises:
            BadImage: The image cannot be decoded.
        """
        return decode_pixels(self.encoded, self.format, self.height, self.width)


def decode_pixels(encoded: bytes, encoding: str, height: int, width: int) -> np.ndarray:
    """Decode the image of a record.

    Args:
        encoded: The record's `image/encoded`.
        encoding: The record's `image/format`.
        height: The record's `image/height`; used for raw pixels only.
        width: The record's `image/width`; used for raw pixels only.

    Returns:
        Pixels, uint8 [height, width, 3].

    Raises:
        BadImage: The image cannot be decoded, or raw pixels have another size.
    """
    if encoding != "raw":
        return images.decode(encoded)
    if len(encoded) != height * width * 3:
        raise images.BadImage("undecodable", f"{len(encoded)} bytes are not {width} x {height} pixels")
    return np.frombuffer(encoded, np.uint8).reshape(height, width, 3)


def _described(content: bytes, place: str) -> DatasetDescription:
    """Return what a dataset.json says, once its schema agrees.

    Raises:
        UsageError: It has another schema version.
        ValueError: It is damaged; the message is one line.
    """
    try:
        values = json.loads(content)
    except ValueError as error:
        raise ValueError(f"is no JSON ({error})") from error
    # The schema names what is missing.
    with contextlib.suppress(KeyError, TypeError):
        require_version(values, place)
    if problem := schema_problem(values):
        raise ValueError(problem)
    try:
        return description_of(values)
    except KeyError as error:
        raise ValueError(f"has no {error}, which it names elsewhere") from error


def read_description(place: str, folder: str) -> DatasetDescription | None:
    """Return what the dataset.json of a folder says; None if it does not exist: the folder has no finished dataset.

    Args:
        place: How messages refer to the dataset.
        folder: The folder of the dataset; local or gs://.

    Raises:
        UsageError: dataset.json cannot be read, is damaged or has another schema version.
    """
    try:
        content = filesystem.read_if_exists(filesystem.join(folder, DATASET_JSON))
    except StorageError as error:
        raise UsageError(f"{place}: {DATASET_JSON} cannot be read: {error}") from error
    try:
        return None if content is None else _described(content, place)
    except ValueError as error:
        raise UsageError(f"{place}: {DATASET_JSON} cannot be read: {error}") from error


def require_description(option: str, folder: str) -> DatasetDescription:
    """Return what the dataset.json of a finished dataset says.

    Args:
        option: The option that names the dataset, for messages.
        folder: The folder of the dataset; local or gs://.

    Raises:
        UsageError: There is no dataset.json, or it cannot be read; see `read_description`.
    """
    description = read_description(f"{option} {folder}", folder)
    if description is None:
        raise UsageError(f"{option} {folder}: holds no finished dataset (no {DATASET_JSON})")
    return description


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


def parse_record(data: bytes, shard: str = "", position: int = 0) -> StoredImage:
    """Parse a record of a dataset.

    Args:
        data: A serialised tf.train.Example.
        shard: The name of the shard, for the result.
        position: The number of the record in the shard, from 0, for the result.

    Raises:
        ValueError: The data are not a tf.train.Example, or the hash or the format is not UTF-8.
        KeyError: A key is missing.
        IndexError: A key has no value of the expected type.
    """
    features = parse_example(data)

    def blob(key: str) -> bytes:
        return features[key].bytes_list.value[0]

    def number(key: str) -> int:
        return features[key].int64_list.value[0]

    return StoredImage(
        shard,
        position,
        blob("image/key/sha256").decode(),
        blob("image/source_id").decode("utf-8", "replace"),
        number("image/class/label"),
        blob("image/class/text").decode("utf-8", "replace"),
        number("image/fold"),
        number("image/augmentation/copy"),
        blob("image/format").decode(),
        number("image/height"),
        number("image/width"),
        blob("image/encoded"),
    )


def read_shard(folder: str, name: str) -> Iterator[StoredImage]:
    """Read the records of one shard, in order.

    Args:
        folder: The folder of the dataset; local or gs://.
        name: The name of the shard; a name that ends in .gz is read as gzip.

    Raises:
        DamagedShard: The framing, a CRC or the compression of the shard is damaged, or a record is none of a dataset.
        OSError: The shard cannot be opened or read.
    """
    with open_shard(filesystem.join(folder, name), "gzip" if name.endswith(".gz") else "none") as shard:
        try:
            for position, (_, data) in enumerate(read_records(shard.records)):
                try:
                    record = parse_record(data, name, position)
                except (ValueError, KeyError, IndexError) as error:
                    what = f"{type(error).__name__}: {error}"
                    raise DamagedShard(f"{name}: record {position} is none that prepare writes ({what})") from error
                yield record
        except DamagedRecord as error:
            raise DamagedShard(f"{name}: record {error.index} is damaged: {error.what}") from error


class Dataset(NamedTuple):
    """A finished dataset."""

    folder: str
    description: DatasetDescription
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
        return _read(self.folder, name)


def _read(folder: str, name: str) -> bytes:
    try:
        return filesystem.read_bytes(filesystem.join(folder, name))
    except (StorageError, ServiceUnavailable) as error:
        raise CheckFailed(f"{name}: cannot be read: {error}") from error


def open_dataset(folder: str, option: str) -> Dataset:
    """Open a finished dataset and validate its dataset.json against the schema.

    Args:
        folder: The folder of the dataset; local or gs://.
        option: The command-line option that names the folder, for error messages.

    Raises:
        UsageError: The folder has no finished dataset, or one of another version, or cannot be listed.
        CheckFailed: dataset.json cannot be read, is not JSON, or violates the schema.
    """
    where = f"{option} {folder}"
    try:
        names = frozenset(filesystem.list_tree(folder))
    except StorageError as error:
        raise UsageError(f"{where}: cannot be read: {error}") from error
    if not names:
        raise UsageError(f"{where}: no such folder, or nothing in it; name one that python -m pipelines.prepare wrote")
    if DATASET_JSON not in names:
        if any(name.startswith(f"{output.TEMPORARY}/") for name in names):
            raise UsageError(f"{where}: unfinished; the prepare command that began it, given again, finishes it")
        raise UsageError(
            f"{where}: no dataset (no {DATASET_JSON}); name a folder that python -m pipelines.prepare wrote"
        )
    try:
        return Dataset(folder, _described(_read(folder, DATASET_JSON), where), names)
    except ValueError as error:
        raise CheckFailed(f"{DATASET_JSON}: {error}") from error


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
    for name in _require_all(dataset, MANIFEST_FILES, "manifest"):
        try:
            file = pq.ParquetFile(io.BytesIO(dataset.read(name)))
            if not file.schema_arrow.equals(MANIFEST_SCHEMA):
                raise CheckFailed(f"{name}: its columns are not those of a manifest")
            for index, values in enumerate(parquet_rows(file)):
                yield f"{name}: row {index} ({values['id']})", _row_of(values)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CheckFailed(f"{name}: is damaged: {first_line(error)}") from error


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
