"""Read the records of a split in any order, by their positions in the shards.

Reading by position has three uses. The order of an epoch can be one permutation of the whole split, every worker can
read only its own examples, and an interrupted epoch can continue in the middle without reading what came before.
TensorFlow reads each record at its offset, checks its CRC, and reads many at a time: some 18,000 a second on two cores
from the page cache.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from pipelines.common.cli import UsageError
from pipelines.domain.dataset_json import Split
from trainer.data.dataset_copies import hold
from trainer.data.dataset_info import DatasetInfo

# Bytes around the payload of a TFRecord: before it the length and its CRC, after it the CRC of the payload.
_HEADER, _FOOTER = 12, 4
_READ_AT_ONCE = 16


class RecordReader:
    """The serialised examples of a split by position, from 0 to `count` - 1 in file order.

    Of a fold that validates these are its originals.
    """

    def __init__(self, info: DatasetInfo, split: Split, cache: str):
        """Find the records of a split, and load or copy them as `cache` says.

        Compressed shards cannot be read by position: without a directory to unpack them into, they are loaded into
        memory.

        Args:
            info: Dataset of the split.
            split: Split to read.
            cache: `none`, `memory`, or a directory for copies of the shards.

        Raises:
            UsageError: If shards are damaged, or the directory cannot hold the copies.
        """
        self.count = split.examples
        zipped = info.compression == "gzip"
        in_memory = cache == "memory" or (cache == "none" and zipped)
        if not in_memory and cache != "none":
            split_paths = copy_shards(info, split, Path(cache))
            zipped = False
        else:
            split_paths = info.paths(split)
        positions = [_positions(path, zipped) for path in split_paths]
        compression = "GZIP" if zipped else ""
        kept = _originals(split_paths, compression) if info.is_originals_only(split) else None
        found = sum(len(offsets) for offsets in positions) if kept is None else len(kept)
        if found != split.examples:
            raise UsageError(
                f"--dataset {info.place}: the {split.name} split holds {found} examples, dataset.json says "
                f"{split.examples}; prepare it again"
            )
        self._memory: tf.Tensor | None = None
        if in_memory:
            records = np.array([record.numpy() for record in _read(split_paths, compression)], object)
            self._memory = tf.constant(records if kept is None else records[kept])
            return
        shard = np.repeat(np.arange(len(positions), dtype=np.int32), [len(one) for one in positions])
        offset = np.concatenate(positions)
        self._paths = tf.constant([str(path) for path in split_paths])
        self._shard = tf.constant(shard if kept is None else shard[kept])
        self._offset = tf.constant(offset if kept is None else offset[kept])

    def batches(self, positions: tf.data.Dataset, size: int) -> tf.data.Dataset:
        """Return the records at the given positions, in the same order.

        Args:
            positions: Dataset of int64 [size].
            size: Number of positions in each element.

        Returns:
            Dataset of string [size], serialised examples.
        """
        memory = self._memory
        if memory is not None:
            return positions.map(lambda batch: tf.gather(memory, batch))

        def read(position: tf.Tensor) -> tf.data.Dataset:
            record = tf.raw_ops.TFRecordDatasetV2(
                filenames=[tf.gather(self._paths, tf.gather(self._shard, position))],
                compression_type="",
                # Two reads of exactly what is needed, rather than a full buffer.
                buffer_size=0,
                byte_offsets=[tf.gather(self._offset, position)],
            )
            return tf.data.experimental.from_variant(record, tf.TensorSpec([], tf.string)).take(1)

        one_by_one = positions.unbatch().interleave(
            read, cycle_length=_READ_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return one_by_one.batch(size, drop_remainder=True)


def _read(paths: list[Path], compression: str) -> tf.data.Dataset:
    return tf.data.TFRecordDataset([str(path) for path in paths], compression_type=compression)


def _originals(paths: list[Path], compression: str) -> np.ndarray:
    """Return the positions of the records that are not augmented copies: int64 [n]."""
    feature = {"image/augmentation/copy": tf.io.FixedLenFeature([], tf.int64)}
    batches = _read(paths, compression).batch(256).map(lambda batch: tf.io.parse_example(batch, feature))
    copies = [batch["image/augmentation/copy"].numpy() for batch in batches]
    return np.flatnonzero(np.concatenate(copies) == 0)


def copy_shards(info: DatasetInfo, split: Split, cache: Path) -> list[Path]:
    """Copy the shards of a split, unpacked, to a folder below `cache`, unless they are there.

    Several processes may do so at the same time.

    Args:
        info: Dataset of the split; its fingerprint names the folder.
        split: Split to copy.
        cache: Directory for the copies of all datasets.

    Returns:
        Paths of the copies, in the order of `split.shards`.

    Raises:
        UsageError: If the copies cannot be written.
    """
    folder = cache / hashlib.sha256(info.fingerprint.encode()).hexdigest()[:16]
    copies = [folder / shard.name for shard in split.shards]
    try:
        hold(folder)
        for shard, copy in zip(info.paths(split), copies, strict=True):
            if copy.exists():
                continue
            temporary = folder / f".{shard.name}.{os.getpid()}.tmp"
            try:
                with _opened(shard, info.compression == "gzip") as source, temporary.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                os.replace(temporary, copy)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"--cache {cache}: cannot keep a copy of the dataset there ({error.strerror or error}); "
            "give another directory, memory or none"
        ) from None
    return copies


def _opened(path: Path, zipped: bool) -> BinaryIO:
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def _positions(path: Path, zipped: bool) -> np.ndarray:
    """Return where each record of a shard begins: int64 [n].

    Raises:
        UsageError: If the shard ends in the middle of a record.
    """
    offsets, position, size = [], 0, path.stat().st_size
    try:
        if zipped:
            # The stream can only be read from start to end. Its offsets count the records; they are not used to read.
            with gzip.open(path) as stream:
                while header := stream.read(_HEADER):
                    offsets.append(position)
                    length = struct.unpack_from("<Q", header)[0] + _FOOTER
                    if len(stream.read(length)) < length:
                        raise EOFError
                    position += _HEADER + length
            return np.array(offsets, np.int64)
        with path.open("rb", buffering=0) as file:
            while position < size:
                offsets.append(position)
                position += _HEADER + _FOOTER + struct.unpack("<Q", os.pread(file.fileno(), 8, position))[0]
    except (struct.error, EOFError, gzip.BadGzipFile):
        position = -1
    if position != size:
        raise UsageError(f"{path} is damaged: it ends in the middle of a record; prepare the dataset again")
    return np.array(offsets, np.int64)
