"""Read a finished dataset: its description, manifest, rejects and records."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common.cli import CheckFailed, UsageError
from pipelines.dataset.description_schema import schema_problem
from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.manifest import LIST_SEPARATOR, MANIFEST_SCHEMA
from pipelines.dataset.tfrecord import DamagedRecord, open_shard, read_records
from pipelines.domain.dataset_json import DATASET_JSON, SCHEMA_VERSION
from pipelines.imaging import images
from pipelines.storage import filesystem, output
from pipelines.storage.filesystem import failure

_MANIFEST = re.compile(r"manifest-\d{5}-of-\d{5}\.parquet$")
# Rows of a manifest to hold in memory at once.
_BATCH = 5_000


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


def read_description(folder: str) -> dict[str, Any] | None:
    """Return the content of dataset.json; None if it does not exist, i.e. the folder has no finished dataset."""
    content = filesystem.read_if_exists(filesystem.join(folder, DATASET_JSON))
    return None if content is None else json.loads(content)


def read_manifest(folder: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Read the rows of the manifest, in order.

    Args:
        folder: The folder of the dataset; local or gs://.
        columns: The columns to read; None for all.

    Yields:
        Column name -> value.
    """
    for name in sorted(filter(_MANIFEST.match, filesystem.list_tree(folder))):
        with filesystem.open_file(filesystem.join(folder, name)) as file:
            for batch in pq.ParquetFile(file).iter_batches(_BATCH, columns=columns):
                yield from batch.to_pylist()


def shards_of(description: Mapping[str, Any], split: str, fold: int | None = None) -> list[str]:
    """Return the names of the shards that hold a split, or one of its folds.

    Args:
        description: The content of dataset.json.
        split: The name of the split.
        fold: A fold of the split; None, or a fold that the split does not have, for the whole split.
    """
    part = description["splits"][split]
    for entry in part.get("folds", ()):
        if entry["fold"] == fold:
            return list(entry["shards"])
    return [shard["name"] for shard in part["shards"]]


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
        DamagedShard: The framing, a CRC or the compression of the shard is damaged.
        OSError: The shard cannot be opened or read.
        ValueError, KeyError, IndexError: An intact record is not one of a dataset; see `parse_record`.
    """
    with open_shard(filesystem.join(folder, name), "gzip" if name.endswith(".gz") else "none") as shard:
        try:
            for position, (_, data) in enumerate(read_records(shard.records)):
                yield parse_record(data, name, position)
        except DamagedRecord as error:
            raise DamagedShard(f"{name}: record {error.index} is damaged: {error.what}") from error


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
            return filesystem.read_bytes(filesystem.join(self.folder, name))
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
        names = frozenset(filesystem.list_tree(folder))
    except Exception as error:  # each filesystem raises its own kinds
        raise UsageError(f"{where}: cannot be read: {failure(error)}") from error
    if not names:
        raise UsageError(f"{where}: no such folder, or nothing in it; name one that python -m pipelines.prepare wrote")
    if DATASET_JSON not in names:
        if any(name.startswith(f"{output.TEMPORARY}/") for name in names):
            raise UsageError(f"{where}: unfinished; the prepare command that began it, given again, finishes it")
        raise UsageError(
            f"{where}: no dataset (no {DATASET_JSON}); name a folder that python -m pipelines.prepare wrote"
        )
    dataset = Dataset(folder, {}, names)
    try:
        description = json.loads(dataset.read(DATASET_JSON))
    except ValueError as error:
        raise CheckFailed(f"{DATASET_JSON}: is no JSON ({error})") from error
    if problem := schema_problem(description):
        raise CheckFailed(f"{DATASET_JSON}: {problem}")
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


def require_description(option: str, folder: str) -> dict[str, Any]:
    """Return the dataset.json of a finished dataset.

    Args:
        option: The option that names the dataset, for messages.
        folder: The dataset.

    Raises:
        UsageError: If there is no readable dataset.json of this version.
    """
    try:
        content = filesystem.read_if_exists(filesystem.join(folder, DATASET_JSON))
        description = json.loads(content) if content is not None else None
    except Exception as error:  # each filesystem raises its own errors
        raise UsageError(f"{option} {folder}: {DATASET_JSON} cannot be read ({error.__class__.__name__})") from error
    if description is None:
        raise UsageError(f"{option} {folder}: holds no finished dataset (no {DATASET_JSON})")
    if not isinstance(description, dict) or description.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(f"{option} {folder}: was made by another version; leave the option out")
    return description
