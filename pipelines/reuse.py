"""Records of an earlier dataset, read back so that an update need not make them again."""

from __future__ import annotations

from typing import BinaryIO

from pipelines import storage
from pipelines.records import read_frame
from pipelines.rows import ImageRow


def _encoded(file: BinaryIO, offset: int, row: ImageRow, copy: int) -> bytes | None:
    from tensorflow.core.example import example_pb2

    data = read_frame(file, offset)
    if data is None:
        return None
    feature = example_pb2.Example.FromString(data).features.feature
    same = feature["image/key/sha256"].bytes_list.value[:] == [row.sha256.encode()]
    if not same or feature["image/augmentation/copy"].int64_list.value[:] != [copy]:
        return None
    return feature["image/encoded"].bytes_list.value[0]


def stored_images(row: ImageRow, folder: str) -> list[bytes]:
    """`image/encoded` of the first copies of an image, in order, from the dataset in `folder`.

    As many as `row.copies` asks for and the dataset has undamaged, where `row.stored` says; an empty list if none.
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
    except Exception:  # each filesystem raises its own kinds; what cannot be read back is made again
        return found
    return found
