"""A copy of a finished dataset that can be broken on purpose, byte by byte or as if it had been written so."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from google.protobuf.message import Message

from pipelines.dataset.example_proto import Example
from pipelines.dataset.manifest import MANIFEST_SCHEMA, parquet_bytes
from pipelines.dataset.tfrecord import frame

DATASET = "dataset.json"


def image_of(record: Any) -> str:
    """SHA-256 of the image that a record was made from."""
    return record.features.feature["image/key/sha256"].bytes_list.value[0].decode()


def set_text(record: Any, key: str, value: str) -> None:
    """Give a record another text."""
    record.features.feature[key].bytes_list.value[:] = [value.encode()]


class Copy:
    """The folder, and its dataset.json as `description`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.description = json.loads((folder / DATASET).read_text())

    def save(self) -> None:
        """Write dataset.json."""
        (self.folder / DATASET).write_text(json.dumps(self.description))

    def describe(self, keys: list, edit: Callable) -> None:
        """Edit one value of dataset.json; None stands for one that is not there."""
        *above, last = keys
        place = self.description
        for key in above:
            place = place[key]
        place[last] = edit(place.get(last) if isinstance(place, dict) else place[last])
        self.save()

    @property
    def fingerprint(self) -> bytes:
        """The dataset's, as files have it."""
        return self.description["fingerprint"].encode()

    def entry(self, name: str) -> dict:
        """What dataset.json says of a shard."""
        shards = [shard for split in self.description["splits"].values() for shard in split["shards"]]
        return next(shard for shard in shards if shard["name"] == name)

    def places(self, name: str) -> list[tuple[int, int]]:
        """(First byte, bytes of data) of every record of a shard."""
        data, offset, found = (self.folder / name).read_bytes(), 0, []
        while offset < len(data):
            (length,) = struct.unpack_from("<Q", data, offset)
            found.append((offset, length))
            offset += length + 16
        return found

    def records(self, name: str) -> Iterator[Any]:
        """The Examples of a shard."""
        data = (self.folder / name).read_bytes()
        for offset, length in self.places(name):
            yield Example.FromString(data[offset + 12 : offset + 12 + length])

    def write(self, name: str, records: Iterable[Message | bytes], describe: bool = True) -> None:
        """Write a shard anew, and tell dataset.json so that the file is right by itself."""
        data = [
            record if isinstance(record, bytes) else record.SerializeToString(deterministic=True) for record in records
        ]
        (self.folder / name).write_bytes(b"".join(map(frame, data)))
        if describe:
            self.describe_shard(name)

    def describe_shard(self, name: str) -> None:
        """Let dataset.json say of a shard what there is."""
        data = (self.folder / name).read_bytes()
        self.entry(name).update(
            examples=len(self.places(name)), bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
        self.save()

    def flip(self, name: str, position: int) -> None:
        """Change one bit of a file."""
        data = bytearray((self.folder / name).read_bytes())
        data[position] ^= 1
        (self.folder / name).write_bytes(data)

    def manifest(self) -> list[dict]:
        """Its rows."""
        return pq.read_table(self.folder / "manifest-00000-of-00001.parquet").to_pylist()

    def write_manifest(self, rows: list[dict]) -> None:
        """Write it anew."""
        (self.folder / "manifest-00000-of-00001.parquet").write_bytes(parquet_bytes(rows, MANIFEST_SCHEMA))
