"""Input: TFRecord shards -> parsed examples -> normalised pixels -> batches.

Training input is a pure function of (seed, epoch): the same examples in the same order with the same augmentation on
every run, so that an interrupted run continues exactly. What waits in the shuffle buffer is the encoded example, not
pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.augment import augment, example_keys
from trainer.dataset_info import DatasetInfo, Split
from trainer.transform import Preprocessing

FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/key/sha256": tf.io.FixedLenFeature([], tf.string),
    "image/source_id": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    "image/class/text": tf.io.FixedLenFeature([], tf.string),
    "image/lesion_id": tf.io.FixedLenFeature([], tf.string),
    "image/group_id": tf.io.FixedLenFeature([], tf.string),
    "image/augmentation/copy": tf.io.FixedLenFeature([], tf.int64),
}

Decode = Callable[[tf.Tensor], dict[str, tf.Tensor]]

# At about 15 KB for a JPEG of 180 px: 120 MB. Beyond that the order is shuffled in part only, on top of shards in
# random order read side by side.
SHUFFLE_BUFFER = 8192
# Fewer where examples are large: raw 180 px images would take 800 MB.
SHUFFLE_BYTES = 512 << 20
INTERLEAVED_SHARDS = 8
_COMPRESSION_TYPES = {"none": "", "gzip": "GZIP"}


def parse_examples(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Serialized tf.train.Example, string [N] -> the tensors named in FEATURES, each [N]."""
    return tf.io.parse_example(serialized, FEATURES)


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Batches in one pass, the last (perhaps partial) one included."""
    return -(-split.examples // batch_size)


def shuffle_buffer(split: Split) -> int:
    """How many examples of the train split wait to be drawn from."""
    fitting = SHUFFLE_BYTES // max(split.record_bytes, 1)
    return max(1, min(split.examples, SHUFFLE_BUFFER, fitting))


def train_batches(
    info: DatasetInfo, preprocessing: Preprocessing, batch_size: int, seed: int, epoch: int, augmented: bool = True
) -> tf.data.Dataset:
    """One epoch of the train split, every example once, in an order drawn from (seed, epoch).

    Yields dicts: image float32 [B, S, S, 3], label int64 [B], weight float32 [B]. Every batch has exactly B =
    `batch_size` rows: the last one is filled up with repeated examples of weight 0, which keeps shapes static and gives
    every replica the same amount of work.
    """
    random = np.random.default_rng([seed, epoch])
    split = info.split("train")
    shards = [str(split.shards[index]) for index in random.permutation(len(split.shards))]
    shuffle_seed = int(random.integers(2**31))

    def decode(serialized):
        examples = parse_examples(serialized)
        images = preprocessing.normalise(examples["image/encoded"])
        if augmented:
            keys = example_keys(examples["image/key/sha256"], examples["image/augmentation/copy"], seed, epoch)
            images = augment(images, keys)
        return {"image": images, "label": examples["image/class/label"]}

    dataset = tf.data.Dataset.from_tensor_slices(shards).interleave(
        lambda shard: _records(info, shard),
        cycle_length=min(INTERLEAVED_SHARDS, len(shards)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    dataset = dataset.shuffle(shuffle_buffer(split), seed=shuffle_seed, reshuffle_each_iteration=False)
    return _finish(dataset, decode, batch_size)


def padded_batches(info: DatasetInfo, preprocessing: Preprocessing, split: str, batch_size: int) -> tf.data.Dataset:
    """A split for inference inside the training loop: in file order, batches shaped as in `train_batches`."""

    def decode(serialized):
        examples = parse_examples(serialized)
        return {"image": preprocessing.normalise(examples["image/encoded"]), "label": examples["image/class/label"]}

    return _finish(_records(info, _paths(info, split)), decode, batch_size)


def evaluation_batches(info: DatasetInfo, split: str, batch_size: int) -> tf.data.Dataset:
    """A split for evaluation, in file order, the last batch perhaps smaller.

    Yields dicts of everything in FEATURES (`image/encoded` is what the exported model's `records` signature takes).
    Needs no preprocessing: the exported model holds it.
    """
    dataset = _records(info, _paths(info, split)).batch(batch_size)
    return dataset.map(parse_examples, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _records(info: DatasetInfo, paths: list[str] | tf.Tensor) -> tf.data.Dataset:
    """Serialised examples of shards, one or several, in order."""
    return tf.data.TFRecordDataset(paths, compression_type=_COMPRESSION_TYPES[info.compression])


def _paths(info: DatasetInfo, split: str) -> list[str]:
    return [str(shard) for shard in info.split(split).shards]


def _finish(dataset: tf.data.Dataset, decode: Decode, batch_size: int) -> tf.data.Dataset:
    """Batch, decode in parallel, fill up the last batch, prefetch."""

    def prepare(serialized):
        batch = decode(serialized)
        count = tf.shape(batch["label"])[0]
        rows = tf.range(batch_size)
        filled = {name: tf.gather(value, rows % count) for name, value in batch.items()}
        return {**filled, "weight": tf.cast(rows < count, tf.float32)}

    options = tf.data.Options()
    options.deterministic = True
    # One dataset of global batches, cut into per-replica parts: the order does not depend on the number of replicas.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    dataset = dataset.batch(batch_size).map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.prefetch(2).with_options(options)
