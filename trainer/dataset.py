"""Input: TFRecord shards -> parsed examples -> normalised pixels -> batches.

Training input is a pure function of (seed, global step): step k of an epoch trains on the same examples with the same
augmentation however many replicas share it and however often the run was interrupted. The order of an epoch is one
permutation of the whole split; each reader takes its own rows of every global batch and reads no others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from trainer.augment import augment, example_keys
from trainer.dataset_info import COMPRESSION_TYPES, DatasetInfo, Split
from trainer.mixing import Mixer, unmixed
from trainer.records import Records
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


@dataclass(frozen=True)
class Batching:
    """How global batches of `size` examples are divided.

    Each is computed in `parts` one after another (gradient accumulation), each part by `replicas` at once. Of these,
    `local` are fed by this process, from number `first` on.
    """

    size: int
    parts: int = 1
    replicas: int = 1
    first: int = 0
    local: int = 1

    @property
    def per_replica(self) -> int:
        return self.size // self.replicas

    def rows(self, replica: tf.Tensor) -> tf.Tensor:
        """int64 [per_replica]: which rows of a global batch are those of a replica, part after part."""
        share = self.per_replica // self.parts
        starts = tf.range(self.parts, dtype=tf.int64) * (self.size // self.parts) + replica * share
        return tf.reshape(starts[:, tf.newaxis] + tf.range(share, dtype=tf.int64), [self.per_replica])


def parse_examples(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Serialized tf.train.Example, string [N] -> the tensors named in FEATURES, each [N]."""
    return tf.io.parse_example(serialized, FEATURES)


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Batches in one pass, the last (perhaps partial) one included."""
    return -(-split.examples // batch_size)


def train_stream(
    records: Records,
    preprocessing: Preprocessing,
    batching: Batching,
    seed: int,
    first_step: int,
    augmented: bool = True,
    mix: Mixer = unmixed,
    size: int | None = None,
) -> tf.data.Dataset:
    """Epoch after epoch without end, from global step `first_step` (0: the first of the first epoch) on.

    Yields what each local replica gets in turn, dicts: image float32 [b, S, S, 3], label int64 [b], partner int64 [b]
    and share float32 [b] (see `trainer.mixing`), weight float32 [b], with b = `batching.per_replica` and S = `size`, if
    given, else the dataset's. An epoch has every example once, in an order drawn from (seed, epoch). Its last global
    batch is filled up with examples of weight 0, which keeps shapes static and gives every replica the same amount of
    work.
    """
    steps = -(-records.count // batching.size)
    padded = steps * batching.size

    def order(epoch):
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(records.count, dtype=tf.int64), seed=tf.stack([tf.constant(seed, tf.int64), epoch])
        )
        # What fills up the last batch is read, but weighs nothing.
        filled = tf.gather(shuffled, tf.range(padded) % records.count)
        return tf.data.Dataset.from_tensor_slices(tf.reshape(filled, [steps, batching.size]))

    def decode(examples, step):
        images = resized(preprocessing.normalise(examples["image/encoded"]), size)
        keys = example_keys(examples["image/key/sha256"], examples["image/augmentation/copy"], seed, step // steps)
        return mix(augment(images, keys) if augmented else images, examples["image/class/label"], keys)

    batches = tf.data.Dataset.counter(first_step // steps).flat_map(order).skip(first_step % steps)
    return _finish(records, batches, batching, first_step, decode)


def evaluation_stream(
    records: Records, preprocessing: Preprocessing, batching: Batching, size: int | None = None
) -> tf.data.Dataset:
    """A split for inference inside the training loop: in file order, pass after pass, shaped as in `train_stream`."""

    def decode(examples, _):
        images = resized(preprocessing.normalise(examples["image/encoded"]), size)
        return unmixed(images, examples["image/class/label"], None)

    steps = -(-records.count // batching.size)
    positions = tf.reshape(tf.range(steps * batching.size, dtype=tf.int64) % records.count, [steps, batching.size])
    batches = tf.data.Dataset.from_tensor_slices(positions).repeat()
    return _finish(records, batches, batching, 0, decode)


def resized(images: tf.Tensor, size: int | None) -> tf.Tensor:
    """float32 [N, S, S, 3] -> [N, size, size, 3], smoothed before it is made smaller; without a size as it is."""
    return images if size in (None, images.shape[1]) else tf.image.resize(images, [size, size], antialias=True)


def train_batches(
    info: DatasetInfo, preprocessing: Preprocessing, batch_size: int, seed: int, epoch: int, augmented: bool = True
) -> tf.data.Dataset:
    """One epoch of the train split as a single replica gets it: `steps_per_epoch` batches of `train_stream`."""
    split = info.split("train")
    steps = steps_per_epoch(split, batch_size)
    records = Records(info, split, "none")
    stream = train_stream(records, preprocessing, Batching(batch_size), seed, epoch * steps, augmented)
    return stream.take(steps)


def evaluation_batches(info: DatasetInfo, split: str, batch_size: int) -> tf.data.Dataset:
    """A split for evaluation, in file order, the last batch perhaps smaller.

    Yields dicts of everything in FEATURES (`image/encoded` is what the exported model's `records` signature takes).
    Needs no preprocessing: the exported model holds it.
    """
    paths = [str(shard) for shard in info.split(split).shards]
    records = tf.data.TFRecordDataset(paths, compression_type=COMPRESSION_TYPES[info.compression])
    return records.batch(batch_size).map(parse_examples, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _finish(
    records: Records,
    batches: tf.data.Dataset,
    batching: Batching,
    first_step: int,
    decode: Callable[[dict[str, tf.Tensor], tf.Tensor], dict[str, tf.Tensor]],
) -> tf.data.Dataset:
    """Positions of global batches -> decoded batches of the local replicas, in parallel, prefetched."""
    steps = -(-records.count // batching.size)
    # Element j of the stream belongs to step j // local and to local replica j % local.
    first_element = first_step * batching.local

    def mine(positions):
        replicas = tf.range(batching.first, batching.first + batching.local, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices(
            tf.map_fn(lambda replica: tf.gather(positions, batching.rows(replica)), replicas)
        )

    def prepare(element, serialized):
        examples = parse_examples(serialized)
        step = element // batching.local
        rows = (step % steps) * batching.size + batching.rows(batching.first + element % batching.local)
        return {**decode(examples, step), "weight": tf.cast(rows < records.count, tf.float32)}

    options = tf.data.Options()
    options.deterministic = True
    read = records.batches(batches.flat_map(mine), batching.per_replica)
    stream = tf.data.Dataset.zip(tf.data.Dataset.counter(first_element), read)
    stream = stream.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # A stream known to be endless spares the workers a vote, before every step, on whether there is more.
    stream = stream.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return stream.prefetch(2 * batching.local).with_options(options)
