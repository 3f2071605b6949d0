"""Read a prepared dataset: its dataset.json, its manifest and the records of its shards.

Small and tolerant, because it is meant for inspection, not verification. Everything is streamed, in bounded memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipelines import images, storage
from pipelines.example_proto import parse_example
from pipelines.tfrecord import DamagedRecord, open_shard, read_records

MARKER = "dataset.json"
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
    content = storage.read_if_exists(storage.join(folder, MARKER))
    return None if content is None else json.loads(content)


def read_manifest(folder: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Read the rows of the manifest, in order.

    Args:
        folder: The folder of the dataset; local or gs://.
        columns: The columns to read; None for all.

    Yields:
        Column name -> value.
    """
    for name in sorted(filter(_MANIFEST.match, storage.list_tree(folder))):
        with storage.open_file(storage.join(folder, name)) as file:
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
    with open_shard(storage.join(folder, name), "gzip" if name.endswith(".gz") else "none") as shard:
        try:
            for position, (_, data) in enumerate(read_records(shard.records)):
                yield parse_record(data, name, position)
        except DamagedRecord as error:
            raise DamagedShard(f"{name}: record {error.index} is damaged: {error.what}") from error
