"""Read the records of a finished dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.tfrecord import DamagedRecord, open_shard, read_records
from pipelines.storage import filesystem

if TYPE_CHECKING:
    import numpy as np


class DamagedShard(Exception):  # noqa: N818  the name says what it is
    """A damaged shard, or one with missing records; the message says where."""


class StoredImage(NamedTuple):
    """One record and its position."""

    shard: str
    position: int  # of the record in the shard, from 0
    sha256: str  # of the source file, hexadecimal
    image_id: str
    label: int
    class_name: str
    fold: int  # -1 for none
    copy: int  # 0 for the original
    format: str  # encoding of the image: `image/format`
    height: int
    width: int
    encoded: bytes

    def pixels(self) -> np.ndarray:
        """Return the stored pixels.

        Returns:
            Array of uint8 [height, width, 3].

        Raises:
            BadImage: The image cannot be decoded.
        """
        # Imported late: what only lists or passes on records needs no imaging library.
        from pipelines.imaging.encoding import decode

        return decode(self.encoded, self.format, self.height, self.width)


def parse_record(data: bytes, shard: str = "", position: int = 0) -> StoredImage:
    """Parse a record of a dataset.

    Args:
        data: A serialised tf.train.Example.
        shard: The name of the shard, for the result.
        position: The number of the record in the shard, from 0, for the result.

    Raises:
        ValueError: The data are not a tf.train.Example, or the hash or the format is not UTF-8.
        KeyError: A key is missing.
        IndexError: A key has no value of the expected type.
    """
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
    """Read the records of one shard, in order.

    Args:
        folder: The folder of the dataset; local or gs://.
        name: The name of the shard; a name that ends in .gz is read as gzip.

    Raises:
        DamagedShard: The framing, a CRC or the compression of the shard is damaged, or a record is none of a dataset.
        OSError: The shard cannot be opened or read.
    """
    with open_shard(filesystem.join(folder, name), "gzip" if name.endswith(".gz") else "none") as shard:
        try:
            for position, (_, data) in enumerate(read_records(shard.records)):
                try:
                    record = parse_record(data, name, position)
                except (ValueError, KeyError, IndexError) as error:
                    what = f"{type(error).__name__}: {error}"
                    raise DamagedShard(f"{name}: record {position} is none that prepare writes ({what})") from error
                yield record
        except DamagedRecord as error:
            raise DamagedShard(f"{name}: record {error.index} is damaged: {error.what}") from error
