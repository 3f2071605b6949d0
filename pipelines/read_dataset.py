"""A prepared dataset as it lies on disk: its description, its manifest and the records of its shards.

Small and tolerant: what it is for is looking inside. Everything is read as a stream, in bounded memory.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines import images, storage
from pipelines.records import masked_crc

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


def _open(path: str) -> IO[bytes]:
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read_description(folder: str) -> dict[str, Any] | None:
    """The content of dataset.json; None when there is none, so that nothing finished is there."""
    content = storage.read_if_exists(storage.join(folder, MARKER))
    return None if content is None else json.loads(content)


def read_manifest(folder: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of the manifest, in its order; of all columns or of those named."""
    for name in sorted(filter(_MANIFEST.match, storage.list_tree(folder))):
        with _open(storage.join(folder, name)) as file:
            for batch in pq.ParquetFile(file).iter_batches(_BATCH, columns=columns):
                yield from batch.to_pylist()


def shards_of(description: Mapping[str, Any], split: str, fold: int | None = None) -> list[str]:
    """Names of the shards in which images of this split, and of this fold if there are folds, can be."""
    part = description["splits"][split]
    for entry in part.get("folds", ()):
        if entry["fold"] == fold:
            return list(entry["shards"])
    return [shard["name"] for shard in part["shards"]]


def read_frames(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """The records of an open TFRecord file, checked. Raises DamagedShard, naming the record."""
    index = 0
    while head := file.read(12):
        damaged = DamagedShard(f"record {index} is damaged")
        if len(head) < 12 or masked_crc(head[:8]) != head[8:]:
            raise damaged
        (length,) = struct.unpack("<Q", head[:8])
        data, check = file.read(length), file.read(4)
        if len(data) < length or masked_crc(data) != check:
            raise damaged
        yield data
        index += 1


def parse_record(data: bytes, shard: str = "", position: int = 0) -> StoredImage:
    """What a serialised Example of ours says."""
    # Imported here: it brings all of TensorFlow, seconds that a refused command line should not cost.
    from tensorflow.core.example import example_pb2

    features = example_pb2.Example.FromString(data).features.feature

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
    with _open(storage.join(folder, name)) as file:
        try:
            content = gzip.GzipFile(fileobj=file) if name.endswith(".gz") else file
            for position, data in enumerate(read_frames(content)):
                yield parse_record(data, name, position)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DamagedShard(f"{name}: {error}") from error
        except DamagedShard as error:
            raise DamagedShard(f"{name}: {error}") from error
