"""Make tf.train.Examples from rows and image files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.common.seeding import stable_hash
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.record_spec import RecordSpec
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


def image_example(row: ImageRow, encoded: bytes, copy: int, spec: RecordSpec) -> bytes:
    """Serialise a tf.train.Example with TensorFlow's vision keys.

    The same values give the same bytes.

    Args:
        row: The row of the image.
        encoded: The value of `image/encoded`.
        copy: The number of the copy; 0 for the original.
        spec: How images become records.
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
        "image/format": text(spec.encoding),
        "image/height": number(spec.image_size),
        "image/width": number(spec.image_size),
        "image/key/sha256": text(row.sha256),
        "image/source_id": text(row.image_id),
        "image/class/label": number(spec.classes.index(row.label)),
        "image/class/text": text(row.label),
        "image/lesion_id": text(row.lesion_ids[0] if row.lesion_ids else ""),
        "image/group_id": text(row.group_id),
        "image/fold": number(row.fold),
        "image/augmentation/copy": number(copy),
    }
    example = example_pb2.Example(features=feature_pb2.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _make_pixels(row: ImageRow, spec: RecordSpec) -> np.ndarray:
    data = archives.read_file(row.path, row.member)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise images.BadImage("changed", "the file was replaced while the pipeline ran")
    return images.standardize(data, spec.image_size, spec.aspect)


def make_records(row: ImageRow, spec: RecordSpec, stored: Sequence[bytes] = ()) -> ImageRecords:
    """Make the records of one image from its file: the original and its augmented copies.

    Args:
        row: The row of the image; `copies` says how many records to make.
        spec: How images become records.
        stored: `image/encoded` of the first copies, as an earlier run with the same spec wrote it. If all are
            given, the file is not read.

    Raises:
        BadImage: With reason `changed` if the file is no longer the one that was checked.
        OSError: If the file cannot be read.
    """
    encoded = list(stored[: row.copies])
    reused = len(encoded)
    if reused < row.copies or not row.stored:
        pixels = _make_pixels(row, spec)
        sums, squares = images.channel_sums(pixels)
        shown = (augment(pixels, spec.seed, row.sha256, copy) if copy else pixels for copy in range(reused, row.copies))
        encoded += (encode(one, spec.encoding) for one in shown)
    else:
        sums, squares = list(row.stored.sums[:3]), list(row.stored.sums[3:])
    made = []
    for copy, content in enumerate(encoded):
        order = stable_hash(spec.seed, "order", row.sha256, copy)
        made.append(Record(order, image_example(row, content, copy, spec), row.sha256, copy))
    return ImageRecords(made, sums, squares, reused)
