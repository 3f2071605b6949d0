"""A prepared dataset as it lies on disk: its description, its manifest and the records of its shards.

Small and tolerant: what it is for is looking inside. Everything is read as a stream, in bounded memory.
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
# Rows of a manifest in memory at once.
_BATCH = 5_000


class DamagedShard(Exception):  # noqa: N818  the name says what it is
    """A shard that is not whole: the message names it and the record."""


class StoredImage(NamedTuple):
    """One record, and where it stands, counted from 0. fold: -1 for none; copy: 0 for the original."""

    shard: str
    position: int
    sha256: str
    image_id: str
    label: int
    class_name: str
    fold: int
    copy: int
    format: str
    height: int
    width: int
    encoded: bytes

    def pixels(self) -> np.ndarray:
        """The stored pixels, uint8 [height, width, 3]. Raises BadImage."""
        return decode_pixels(self.encoded, self.format, self.height, self.width)


def decode_pixels(encoded: bytes, encoding: str, height: int, width: int) -> np.ndarray:
    """Pixels of `image/encoded`, uint8 [height, width, 3]; encoding: the record's `image/format`. Raises BadImage."""
    if encoding != "raw":
        return images.decode(encoded)
    if len(encoded) != height * width * 3:
        raise images.BadImage("undecodable", f"{len(encoded)} bytes are not {width} x {height} pixels")
    return np.frombuffer(encoded, np.uint8).reshape(height, width, 3)


def read_description(folder: str) -> dict[str, Any] | None:
    """The content of dataset.json; None when there is none, so that nothing finished is there."""
    content = storage.read_if_exists(storage.join(folder, MARKER))
    return None if content is None else json.loads(content)


def read_manifest(folder: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of the manifest, in its order; of all columns or of those named."""
    for name in sorted(filter(_MANIFEST.match, storage.list_tree(folder))):
        with storage.open_file(storage.join(folder, name)) as file:
            for batch in pq.ParquetFile(file).iter_batches(_BATCH, columns=columns):
                yield from batch.to_pylist()


def shards_of(description: Mapping[str, Any], split: str, fold: int | None = None) -> list[str]:
    """Names of the shards in which images of this split, and of this fold if there are folds, can be."""
    part = description["splits"][split]
    for entry in part.get("folds", ()):
        if entry["fold"] == fold:
            return list(entry["shards"])
    return [shard["name"] for shard in part["shards"]]


def parse_record(data: bytes, shard: str = "", position: int = 0) -> StoredImage:
    """What a serialised Example of ours says."""
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
    """The records of one shard, in order. Raises DamagedShard, OSError or the filesystem's own errors."""
    with open_shard(storage.join(folder, name), "gzip" if name.endswith(".gz") else "none") as shard:
        try:
            for position, (_, data) in enumerate(read_records(shard.records)):
                yield parse_record(data, name, position)
        except DamagedRecord as error:
            raise DamagedShard(f"{name}: record {error.index} is damaged: {error.what}") from error
