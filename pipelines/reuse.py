"""Read back records of an earlier dataset, so that an update need not make them again."""

from __future__ import annotations

from typing import BinaryIO

from pipelines import storage
from pipelines.example_proto import parse_example
from pipelines.rows import ImageRow
from pipelines.tfrecord import next_record


def _encoded(file: BinaryIO, offset: int, row: ImageRow, copy: int) -> bytes | None:
    """Return `image/encoded` of the record at `offset`, or None if it is another image's or copy's.

    Raises:
        ValueError: If the record is damaged.
    """
    file.seek(offset)
    features = parse_example(next_record(file) or b"")
    same = features["image/key/sha256"].bytes_list.value[:] == [row.sha256.encode()]
    if not same or features["image/augmentation/copy"].int64_list.value[:] != [copy]:
        return None
    return features["image/encoded"].bytes_list.value[0]


def stored_images(row: ImageRow, folder: str) -> list[bytes]:
    """Return `image/encoded` of the first copies of an image, in order, from an earlier dataset.

    Args:
        row: The row of the image; `stored` says where its records are, `copies` how many are wanted.
        folder: The folder of the earlier dataset.

    Returns:
        At most `row.copies` values, up to the first record that is missing or damaged; empty if there is none.
    """
    found: list[bytes] = []
    if row.stored is None:
        return found
    try:
        with storage.open_file(storage.join(folder, row.stored.shard)) as file:
            for copy, offset in enumerate(row.stored.offsets[: row.copies]):
                encoded = _encoded(file, offset, row, copy)
                if encoded is None:
                    break
                found.append(encoded)
    except Exception:  # each filesystem raises its own errors; what cannot be read back is made again
        return found
    return found
