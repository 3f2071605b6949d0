"""Rows and image files to tf.train.Examples, and those to TFRecord bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c

from pipelines import images, sources
from pipelines.augment import augment
from pipelines.rows import ImageRow
from pipelines.seeding import stable_hash


class Record(NamedTuple):
    """One serialised Example. order: where it stands in its shard."""

    order: int
    example: bytes


class ImageRecords(NamedTuple):
    """All records of one image and the exact channel sums of its original (see `images.channel_sums`)."""

    records: list[Record]
    sums: list[int]
    sums_of_squares: list[int]


def image_example(row: ImageRow, label: int, encoded: bytes, size: int, copy: int) -> bytes:
    """A serialised tf.train.Example with TensorFlow's vision keys; the same bytes for the same values."""
    # Imported here, in the worker: it brings all of TensorFlow, seconds that a refused command line should not cost.
    from tensorflow.core.example import example_pb2, feature_pb2

    def text(value: str | bytes) -> feature_pb2.Feature:
        data = value.encode() if isinstance(value, str) else value
        return feature_pb2.Feature(bytes_list=feature_pb2.BytesList(value=[data]))

    def number(value: int) -> feature_pb2.Feature:
        return feature_pb2.Feature(int64_list=feature_pb2.Int64List(value=[value]))

    features = {
        "image/encoded": text(encoded),
        "image/format": text("jpeg"),
        "image/height": number(size),
        "image/width": number(size),
        "image/key/sha256": text(row.sha256),
        "image/source_id": text(row.image_id),
        "image/class/label": number(label),
        "image/class/text": text(row.label),
        "image/lesion_id": text(row.lesion_ids[0] if row.lesion_ids else ""),
        "image/group_id": text(row.group_id),
        "image/fold": number(row.fold),
        "image/augmentation/copy": number(copy),
    }
    example = example_pb2.Example(features=feature_pb2.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def make_records(row: ImageRow, classes: Sequence[str], size: int, aspect: str, seed: int) -> ImageRecords:
    """Read one image and make its original record and its augmented copies.

    Raises BadImage (`changed`) when the file is no longer the one that was checked, OSError when it cannot be read.
    """
    data = sources.read_file(row.path, row.member)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise images.BadImage("changed", "the file was replaced while the pipeline ran")
    pixels = images.standardize(data, size, aspect)
    label = classes.index(row.label)
    records = []
    for copy in range(row.copies):
        shown = pixels if copy == 0 else augment(pixels, seed, row.sha256, copy)
        example = image_example(row, label, images.encode_jpeg(shown), size, copy)
        records.append(Record(stable_hash(seed, "order", row.sha256, copy), example))
    return ImageRecords(records, *images.channel_sums(pixels))


def masked_crc(data: bytes) -> bytes:
    """CRC-32C, rotated and offset, as TFRecord wants it (tensorflow/core/lib/hash/crc32c.h)."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(example: bytes) -> bytes:
    """One TFRecord: length (uint64), its CRC, data, its CRC (tensorflow/core/lib/io/record_writer.h)."""
    length = struct.pack("<Q", len(example))
    return b"".join((length, masked_crc(length), example, masked_crc(example)))
