"""Make tf.train.Examples from rows and image files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.common.seeding import stable_hash
from pipelines.dataset.example_proto import Example
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.originals import Original, original_of
from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging import images
from pipelines.imaging.augment import augment
from pipelines.imaging.encoding import decode, encode
from pipelines.storage import archives


class Record(NamedTuple):
    """Serialised Example with its sort key and its image."""

    order: int  # sort key within the shard
    example: bytes
    encoded: bytes  # its `image/encoded`
    sha256: str  # content hash of the image file
    copy: int  # 0: the original


class ImageRecords(NamedTuple):
    """All records of one image, and the channel sums of its original."""

    records: list[Record]
    sums: tuple[int, ...]  # see `Stored`


def image_example(row: ImageRow, encoded: bytes, copy: int, spec: RecordSpec) -> bytes:
    """Serialise a tf.train.Example with TensorFlow's vision keys.

    The same values give the same bytes.

    Args:
        row: The row of the image.
        encoded: The value of `image/encoded`.
        copy: The number of the copy; 0 for the original.
        spec: How images become records.
    """
    example = Example()

    def text(key: str, value: str | bytes) -> None:
        data = value.encode() if isinstance(value, str) else value
        example.features.feature[key].bytes_list.value.append(data)

    def number(key: str, value: int) -> None:
        example.features.feature[key].int64_list.value.append(value)

    text("image/encoded", encoded)
    text("image/format", spec.encoding)
    number("image/height", spec.image_size)
    number("image/width", spec.image_size)
    text("image/key/sha256", row.sha256)
    text("image/source_id", row.image_id)
    number("image/class/label", spec.classes.index(row.label))
    text("image/class/text", row.label)
    text("image/lesion_id", row.lesion_ids[0] if row.lesion_ids else "")
    text("image/group_id", row.group_id)
    number("image/fold", row.fold)
    number("image/augmentation/copy", copy)
    return example.SerializeToString(deterministic=True)


def _read_original(row: ImageRow, spec: RecordSpec) -> Original:
    data = archives.read_file(row.path, row.member)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise images.BadImage("changed", "the file was replaced while the pipeline ran")
    return original_of(data, spec)


def make_records(row: ImageRow, spec: RecordSpec, stored: Sequence[bytes] = ()) -> ImageRecords:
    """Make the records of one image: the original and its augmented copies.

    Copies are made of the encoded original, so that they are the same whether it was just made or stored earlier.

    Args:
        row: The row of the image; `copies` says how many records to make.
        spec: How images become records.
        stored: `image/encoded` of the original and of its first copies, made with the same spec. Without the original,
            the file is read.

    Raises:
        BadImage: With reason `changed` if the file is no longer the one that was checked.
        StorageError: If the file cannot be read.
    """
    encoded = list(stored[: row.copies])
    if encoded and row.stored:
        sums = row.stored.sums
    else:
        original = _read_original(row, spec)
        encoded, sums = [original.encoded], original.sums
    made = len(encoded)
    if made < row.copies:
        pixels = decode(encoded[0], spec.encoding, spec.image_size, spec.image_size)
        copies = (augment(pixels, spec.seed, row.sha256, copy) for copy in range(made, row.copies))
        encoded += (encode(copy, spec.encoding) for copy in copies)
    records = []
    for copy, content in enumerate(encoded):
        order = stable_hash(spec.seed, "order", row.sha256, copy)
        records.append(Record(order, image_example(row, content, copy, spec), content, row.sha256, copy))
    return ImageRecords(records, sums)
