"""Verify one shard of a finished dataset on its own; runs in a worker process, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from google.protobuf.message import Message

from pipelines.common.cli import CheckFailed
from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.tfrecord import HEADER_BYTES, DamagedRecord, open_shard, read_records
from pipelines.domain.dataset_json import Shard
from pipelines.imaging import images
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.packs import Piece, piece_of
from pipelines.verify.known_check import KnownImages, read_known

KIND_NAMES = {"bytes_list": "bytes", "int64_list": "int64", "float_list": "float"}


class Expected(NamedTuple):
    """What every record of a dataset must look like."""

    classes: tuple[str, ...]  # in label order
    image_size: int  # pixels per side
    format: str  # value of `image/format`
    compression: str  # of the shards, one of `dataset_json.COMPRESSIONS`
    kinds: Mapping[str, str]  # key -> field of its Feature (see `record_schema.feature_kinds`)


class RecordFacts(NamedTuple):
    """The facts of a record that are still needed once its image is checked."""

    offset: int  # of its first byte in the uncompressed stream of the shard
    sha256: bytes  # of the source file
    image_id: str
    label: str  # class name
    fold: int  # -1 for none
    copy: int  # 0 for the original
    group_id: str
    lesion_id: str


class ShardFacts(NamedTuple):
    """What a shard that is right by itself says."""

    records: list[RecordFacts]  # in order
    known: KnownImages | None  # what its file of known images says; None if it was not read


def at(shard: str, index: int, offset: int) -> str:
    """Return how messages refer to a record.

    Args:
        shard: The name of its shard.
        index: The number of the record in the shard, from 0.
        offset: The position of its first byte, from 0.
    """
    return f"{shard}: record {index} (byte {offset:,})"


def _values(features: Mapping[str, Message], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return the one value of each key.

    Raises:
        ValueError: A key is missing or unknown, or has another type or another number of values.
    """
    for key in sorted(kinds.keys() | features.keys()):
        if key not in features:
            raise ValueError(f"has no {key}")
        if key not in kinds:
            raise ValueError(f"has a key {key!r} that schema.pbtxt does not name")
        found = features[key].WhichOneof("kind")
        if found != kinds[key]:
            raise ValueError(f"{key} holds {KIND_NAMES.get(found or '', 'nothing')}, not {KIND_NAMES[kinds[key]]}")
        count = len(getattr(features[key], found).value)
        if count != 1:
            raise ValueError(f"{key} holds {count} values, not one")
    return {key: getattr(feature, kinds[key]).value[0] for key, feature in features.items()}


def _require_image(values: Mapping[str, Any], expected: Expected) -> None:
    """Raise ValueError unless the image has the encoding that dataset.json gives and decodes to its size."""
    size, encoded, form = expected.image_size, values["image/encoded"], values["image/format"].decode()
    if form != expected.format:
        raise ValueError(f"image/format is {form!r}, dataset.json says {expected.format!r}")
    for key in ("image/height", "image/width"):
        if values[key] != size:
            raise ValueError(f"{key} is {values[key]}, dataset.json says {size}")
    if form == "raw":
        if len(encoded) != size * size * 3:
            raise ValueError(f"image/encoded has {len(encoded):,} bytes, {size} x {size} x 3 are needed")
        return
    try:
        info = images.read_info(encoded)
        if info.format != form:
            raise ValueError(f"image/encoded is {info.format}, not {form}")
        if (info.height, info.width) != (size, size):
            raise ValueError(f"the image is {info.height} x {info.width}, dataset.json says {size} x {size}")
        images.decode(encoded)
    except images.BadImage as error:
        raise ValueError(f"the image does not decode: {error}") from error


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ValueError(f"image/key/sha256 is {text!r}") from error


def _facts(offset: int, data: bytes, shard: Shard, expected: Expected) -> tuple[RecordFacts, Piece]:
    """Check one record and return its facts, and where its encoded image lies.

    Raises:
        ValueError: The record is wrong.
    """
    values = _values(parse_example(data), expected.kinds)
    text = {key: value.decode() for key, value in values.items() if isinstance(value, bytes) and key != "image/encoded"}
    label, name, fold = values["image/class/label"], text["image/class/text"], values["image/fold"]
    if not 0 <= label < len(expected.classes) or expected.classes[label] != name:
        raise ValueError(
            f"image/class/label is {label} and image/class/text {name!r}: not so in dataset.json's classes"
        )
    if fold != shard.fold:
        raise ValueError(f"image/fold is {fold}, the shard's is {shard.fold}")
    _require_image(values, expected)
    encoded = values["image/encoded"]
    piece = piece_of(encoded, offset + HEADER_BYTES + data.index(encoded))
    facts = RecordFacts(
        offset=offset,
        sha256=_digest(text["image/key/sha256"]),
        image_id=text["image/source_id"],
        label=name,
        fold=fold,
        copy=values["image/augmentation/copy"],
        group_id=text["image/group_id"],
        lesion_id=text["image/lesion_id"],
    )
    return facts, piece


def _check_stored(found: Shard, size: int, sha256: str) -> Iterator[str]:
    if size != found.bytes:
        yield f"{found.name}: has {size:,} bytes, dataset.json says {found.bytes:,}"
    if sha256 != found.sha256:
        yield f"{found.name}: SHA-256 is {sha256}, dataset.json says {found.sha256}"


def verify_shard(folder: str, shard: Shard, expected: Expected, known: str = "") -> ShardFacts:
    """Check a shard and return its facts.

    Errors are reported in this order. An unreadable record comes first, because it locates the damage. The size and
    hash of the file come next: if it is not the file that was written, its contents tell little. The number of records
    and their contents come last.

    Args:
        folder: The folder of the dataset; local or gs://.
        shard: The shard as dataset.json lists it.
        expected: What every record must look like.
        known: The name of its file of known images; empty for none. What is wrong with that is returned, not raised.

    Raises:
        CheckFailed: The shard is wrong; the message names the first error in the order above.
    """
    records: list[RecordFacts] = []
    pieces: dict[bytes, dict[int, Piece]] = {}
    problem, count = "", 0
    try:
        with open_shard(filesystem.join(folder, shard.name), expected.compression) as opened:
            for index, (offset, data) in enumerate(read_records(opened.records)):
                count += 1
                if problem:
                    continue
                try:
                    facts, piece = _facts(offset, data, shard, expected)
                    records.append(facts)
                    pieces.setdefault(facts.sha256, {})[facts.copy] = piece
                except ValueError as error:
                    problem = f"{at(shard.name, index, offset)}: {error}"
            sha256 = opened.stored.finish()
            size = opened.stored.size
    except DamagedRecord as error:
        raise CheckFailed(f"{at(shard.name, error.index, error.offset)}: {error.what}") from None
    except StorageError as error:
        raise CheckFailed(f"{shard.name}: cannot be read: {error}") from error
    for difference in _check_stored(shard, size, sha256):
        raise CheckFailed(difference)
    if count != shard.examples:
        raise CheckFailed(f"{shard.name}: has {count} records, dataset.json says {shard.examples}")
    if problem:
        raise CheckFailed(problem)
    return ShardFacts(records, read_known(folder, known, shard.name, pieces) if known else None)
