"""Make tf.train.Examples from rows and image files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.common.seeding import stable_hash
from pipelines.dataset.image_row import ImageRow
from pipelines.imaging import images
from pipelines.imaging.augment import augment
from pipelines.imaging.encoding import encode
from pipelines.storage import archives


class Record(NamedTuple):
    """Serialised Example with its sort key and its image."""

    order: int  # sort key within the shard
    example: bytes
    sha256: str  # content hash of the image file
    copy: int  # 0: the original


class ImageRecords(NamedTuple):
    """All records of one image, and the channel sums of its original."""

    records: list[Record]
    # Exact sums of the original, one per channel; see `images.channel_sums`.
    sums: list[int]
    sums_of_squares: list[int]
    reused: int = 0  # records whose encoded image was taken from an earlier dataset


def image_example(row: ImageRow, label: int, encoded: bytes, size: int, copy: int, encoding: str = "jpeg") -> bytes:
    """Serialise a tf.train.Example with TensorFlow's vision keys.

    The same values give the same bytes.

    Args:
        row: The row of the image.
        label: The index of the row's class.
        encoded: The value of `image/encoded`.
        size: The side of the image in pixels.
        copy: The number of the copy; 0 for the original.
        encoding: The format of `encoded`, one of `encoding.ENCODINGS`.
    """
    # Imported in the worker: loading TensorFlow takes seconds, which a refused command line should not cost.
    from tensorflow.core.example import example_pb2, feature_pb2

    def text(value: str | bytes) -> feature_pb2.Feature:
        data = value.encode() if isinstance(value, str) else value
        return feature_pb2.Feature(bytes_list=feature_pb2.BytesList(value=[data]))

    def number(value: int) -> feature_pb2.Feature:
        return feature_pb2.Feature(int64_list=feature_pb2.Int64List(value=[value]))

    features = {
        "image/encoded": text(encoded),
        "image/format": text(encoding),
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


def _make_pixels(row: ImageRow, size: int, aspect: str) -> np.ndarray:
    data = archives.read_file(row.path, row.member)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise images.BadImage("changed", "the file was replaced while the pipeline ran")
    return images.standardize(data, size, aspect)


def make_records(
    row: ImageRow,
    classes: Sequence[str],
    size: int,
    aspect: str,
    seed: int,
    encoding: str = "jpeg",
    stored: Sequence[bytes] = (),
) -> ImageRecords:
    """Make the records of one image from its file: the original and its augmented copies.

    Args:
        row: The row of the image; `copies` says how many records to make.
        classes: Class names in label order.
        size: The side of the image in pixels.
        aspect: How the image becomes a square, one of `images.ASPECTS`.
        seed: Decides augmentation and the order of records.
        encoding: One of `encoding.ENCODINGS`.
        stored: `image/encoded` of the first copies, as an earlier run with the same settings wrote it. If all are
            given, the file is not read.

    Raises:
        BadImage: With reason `changed` if the file is no longer the one that was checked.
        OSError: If the file cannot be read.
    """
    encoded = list(stored[: row.copies])
    reused = len(encoded)
    if reused < row.copies or not row.stored:
        pixels = _make_pixels(row, size, aspect)
        sums, squares = images.channel_sums(pixels)
        shown = (augment(pixels, seed, row.sha256, copy) if copy else pixels for copy in range(reused, row.copies))
        encoded += (encode(one, encoding) for one in shown)
    else:
        sums, squares = list(row.stored.sums[:3]), list(row.stored.sums[3:])
    label = classes.index(row.label)
    made = []
    for copy, content in enumerate(encoded):
        order = stable_hash(seed, "order", row.sha256, copy)
        made.append(Record(order, image_example(row, label, content, size, copy, encoding), row.sha256, copy))
    return ImageRecords(made, sums, squares, reused)
