"""A split's records in any order: where each lies in its shard, and how it is read from there.

Reading by position is what lets the order of an epoch be one permutation of the whole split, lets every worker read its
own examples only, and lets an interrupted epoch go on in the middle without reading what came before. TensorFlow reads
each record at its offset, with its CRC checked, many at a time: some 18,000 a second on two cores from the page cache.
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

from pipelines.cli import UsageError
from trainer.dataset_info import DatasetInfo, Split

# Around the payload of a TFRecord: length and its CRC before, CRC of the payload after.
_HEADER, _FOOTER = 12, 4
_READ_AT_ONCE = 16


class Records:
    """The serialised examples of a split, by position: 0 to `count` - 1, in file order.

    Those of a split with `originals_only` are its originals.
    """

    def __init__(self, info: DatasetInfo, split: Split, cache: str):
        """cache: `none`, `memory`, or a directory for copies. UsageError for damaged shards or too small a cache.

        Compressed shards cannot be read by position: without a directory to unpack them into, they go to memory.
        """
        self.count = split.examples
        zipped = info.compression == "gzip"
        in_memory = cache == "memory" or (cache == "none" and zipped)
        if not in_memory and cache != "none":
            split_paths = copy_shards(info, split, Path(cache))
            zipped = False
        else:
            split_paths = list(split.shards)
        positions = [_positions(path, zipped) for path in split_paths]
        compression = "GZIP" if zipped else ""
        kept = _originals(split_paths, compression) if split.originals_only else None
        found = sum(len(offsets) for offsets in positions) if kept is None else len(kept)
        if found != split.examples:
            raise UsageError(
                f"--dataset {info.path}: the {split.name} split holds {found} examples, dataset.json says "
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
        """Dataset of int64 [size] -> dataset of string [size], the records at these positions in this order."""
        memory = self._memory
        if memory is not None:
            return positions.map(lambda batch: tf.gather(memory, batch))

        def read(position):
            record = tf.raw_ops.TFRecordDatasetV2(
                filenames=[tf.gather(self._paths, tf.gather(self._shard, position))],
                compression_type="",
                # Two reads of exactly what is needed, rather than a buffer full.
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
    """int64 [n]: the positions of the records that are no augmented copies."""
    feature = {"image/augmentation/copy": tf.io.FixedLenFeature([], tf.int64)}
    batches = _read(paths, compression).batch(256).map(lambda batch: tf.io.parse_example(batch, feature))
    copies = [batch["image/augmentation/copy"].numpy() for batch in batches]
    return np.flatnonzero(np.concatenate(copies) == 0)


def copy_shards(info: DatasetInfo, split: Split, cache: Path) -> list[Path]:
    """Copy a split's shards, unpacked, below `cache`, unless they are there; several processes may do so at once."""
    folder = cache / hashlib.sha256(info.fingerprint.encode()).hexdigest()[:16]
    copies = [folder / shard.name for shard in split.shards]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for shard, copy in zip(split.shards, copies, strict=True):
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
    """int64 [n]: where each record of a shard begins. UsageError if it ends in the middle of one."""
    offsets, position, size = [], 0, path.stat().st_size
    try:
        if zipped:
            # A stream that can only be read through; its offsets count records and are not used to read.
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
